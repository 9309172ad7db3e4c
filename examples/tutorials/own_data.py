# %% [markdown]
# # My own data
#
# Arrays `x` (samples × inputs) and `f` (samples × targets) in an `.npz` file are a problem for
# every command: `meanfield simulate --problem regression --data mine.npz`. The same from Python.

# %%
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

from landscapes.networks import with_constant
from meanfield import Config, load, simulate
from meanfield.problems import NeuronsStart, Regression

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (40, 1))
f = np.sin(4 * x) + 0.1 * rng.normal(size=x.shape)
file = Path(tempfile.mkdtemp()) / "mine.npz"
np.savez(file, x=x, f=f)

# %% [markdown]
# `bias` appends a constant to the inputs, so that neurons can bend anywhere.

# %%
config = Config(
    particles=200,
    problem=Regression(data=str(file), bias=True),
    start=NeuronsStart(scale_w=6.0),
)
problem, start, flow = load(config)
run = simulate(flow, start, horizon=60.0, dt=0.02)
print(run.message, "loss", run.trajectory.loss.values[[0, -1]])

# %%
points = np.linspace(-1.2, 1.2, 200)[:, None]
inputs = with_constant(points)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(x, f, ".", color="tab:gray", label="data")
left.plot(points, np.sin(4 * points), "k:", label="truth")
for ensemble, name in ((start, "at the start"), (run.ensemble, "at the end")):
    left.plot(points, problem.landscape.output(ensemble, inputs), label=name)
left.set(xlabel="$x$", ylabel=r"$h_\mu(x)$")
left.legend()
right.loglog(run.trajectory.time[1:], run.trajectory.loss[1:])
right.axhline(0.5 * 0.1**2, color="tab:red", ls="--", label="noise of the data, ½σ²")
right.set(xlabel="flow time $t$", ylabel="loss $L$")
right.legend()
