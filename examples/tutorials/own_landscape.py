# %% [markdown]
# # A landscape of my own, in ten lines
#
# Particles on a line shall match a mixture of bumps: sparse deconvolution. What one particle
# contributes is `features`, what the sum costs is `risk`; everything else is derived.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from landscapes import Landscape
from meanfield import GradientFlow, every, simulate, snapshots
from particles import Ensemble


class Gaussians(Landscape):
    """Match the mean of exp(−½(x − θ)²) on a grid."""

    grid: jax.Array
    target: jax.Array

    def features(self, particle):
        return jnp.exp(-0.5 * (self.grid - particle) ** 2)

    def risk(self, moments, fast=None):
        return 0.5 * jnp.mean((moments - self.target) ** 2)


# %% [markdown]
# Two bumps, a third of the mass left and two thirds right; fifty particles that know nothing of it.

# %%
grid = jnp.linspace(-5, 5, 65)
bump = lambda place: jnp.exp(-0.5 * (grid - place) ** 2)
landscape = Gaussians(grid, bump(-2.0) / 3 + 2 * bump(1.5) / 3)
start = Ensemble(jnp.linspace(-4, 4, 50))
times = every(10.0)
run = simulate(
    GradientFlow(landscape), start, horizon=1500.0, dt=0.5, record=times, snapshots=times
)
print(run.message, "loss", run.trajectory.loss.values[[0, -1]])

# %%
when, ensembles = snapshots(run)
paths = np.stack([np.asarray(mu.particles) for mu in ensembles])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(when, paths, color="tab:blue", lw=0.7)
for place in (-2.0, 1.5):
    left.axhline(place, color="tab:red", ls="--")
left.set(xlabel="flow time $t$", ylabel=r"position $\theta$", title="particles and target (dashed)")
right.plot(grid, landscape.target, color="tab:red", lw=3, alpha=0.5, label="target")
for ensemble, name in ((start, "at the start"), (run.ensemble, "at the end")):
    right.plot(grid, landscape.moments(ensemble), label=name)
right.set(xlabel="$x$", ylabel=r"$\int \Phi\, d\mu$")
right.legend()
