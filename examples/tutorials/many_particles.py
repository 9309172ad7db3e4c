# %% [markdown]
# # N → ∞ in practice
#
# How many neurons are enough? Draw N of them, run the flow, and look how far the network's output
# at the end lies from that of many. The distance falls like 1/√N: the mean-field limit is near when
# it is below what you care about. `meanfield converge` does this with intervals, and separates bias
# from fluctuation.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

from landscapes import RegressionLandscape, neuron_start
from meanfield import GradientFlow, simulate
from saddle_analysis.curves import fit_power_law

x = jnp.linspace(-1, 1, 32)[:, None]
landscape = RegressionLandscape(x, jnp.sin(3 * x))
flow, law = GradientFlow(landscape), jax.random.key(7)


def output(size: int, seed: int):
    """What the network says after the flow, from a draw of N neurons."""
    start = neuron_start(jax.random.key(seed), landscape, size, law=law)
    return np.asarray(landscape.moments(simulate(flow, start, horizon=2.0, dt=0.1).ensemble))


# %%
sizes, seeds = [16, 64, 256, 1024], range(8)
reference = output(16384, 1000)
errors = np.array(
    [[np.sqrt(np.mean((output(n, seed) - reference) ** 2)) for seed in seeds] for n in sizes]
)
median = np.median(errors, axis=1)
fit = fit_power_law(np.array(sizes, float), median)
print(fit)

# %%
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.loglog(sizes, errors, ".", color="tab:gray", alpha=0.6)
ax.loglog(sizes, median, "o-", label="median of 8 draws")
ax.loglog(
    sizes,
    median[0] * (np.array(sizes) / sizes[0]) ** -0.5,
    "--",
    color="tab:red",
    label=r"$N^{-1/2}$ (theory)",
)
ax.set(xlabel="number of neurons $N$", ylabel="distance from the limit")
ax.legend()
