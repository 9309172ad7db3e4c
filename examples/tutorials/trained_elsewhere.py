# %% [markdown]
# # A network trained elsewhere
#
# Weights of PyTorch or Flax, as `.safetensors` or `.npz`, become an ensemble by the names of their
# tensors. Here plain NumPy plays the other framework: a network with biases, trained by gradient
# descent. The same from a shell: `meanfield diagnose model.npz --problem regression --problem.bias
# --data data.npz --map.hidden fc1.weight --map.bias fc1.bias --map.output fc2.weight`.

# %%
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

from landscapes import RegressionLandscape
from landscapes.networks import neurons_from, with_constant
from particles import read_tensors
from saddle_analysis import criticality_report

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (60, 1))
y = np.sin(3 * x)
w, b, v = rng.normal(size=(8, 1)), rng.normal(size=8), 0.3 * rng.normal(size=(1, 8))
for _ in range(20000):
    hidden = np.tanh(x @ w.T + b)
    error = (hidden @ v.T - y) / len(x)
    back = (error @ v) * (1 - hidden**2)
    w, b, v = w - 0.2 * back.T @ x, b - 0.2 * back.sum(0), v - 0.2 * error.T @ hidden
file = Path(tempfile.mkdtemp()) / "model.npz"
np.savez(file, **{"fc1.weight": w, "fc1.bias": b, "fc2.weight": v})

# %% [markdown]
# The measure's output is the network's, number for number; a wrong shape or name would be said.

# %%
state = read_tensors(file)
mu = neurons_from(state, hidden="fc1.weight", bias="fc1.bias", output="fc2.weight")
landscape = RegressionLandscape(with_constant(x), y)
print("largest difference:", np.abs(landscape.moments(mu) - np.tanh(x @ w.T + b) @ v.T).max())

# %% [markdown]
# Has it arrived? The gradient says how far from critical it is, the lowest curvatures what way is
# left.

# %%
report = criticality_report(landscape, mu, count=8)
print(report)

# %%
values = np.asarray(report.smallest.values)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
order = np.argsort(x[:, 0])
left.plot(x[order], y[order], "k:", label="target")
left.plot(x[order], np.asarray(landscape.moments(mu))[order], label="the network")
left.set(xlabel="$x$", ylabel="output")
left.legend()
right.stem(np.arange(1, len(values) + 1), values)
right.axhline(0, color="tab:gray", lw=0.8)
right.set(xlabel="number, from the smallest", ylabel=r"curvature $\lambda$ (1 / time)")
