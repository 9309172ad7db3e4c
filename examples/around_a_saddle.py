# %% [markdown]
# # Around a saddle
#
# A walk around one saddle of the attention landscape: where it is, what surrounds it, the way from
# it to the minimum, and whether its negative curvature is the landscape's or only the sample's.
# Every cell works as well on your own `Landscape` and your own ensemble; the last one reads
# particles trained elsewhere.
#
# Run it with `python examples/around_a_saddle.py [FOLDER]`, or open it as a notebook (jupytext).
# It takes about a minute.

# %%
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from landscapes import (
    MLPAttentionLandscape,
    Neuron,
    StartWarning,
    bootstrap,
    canonical_form,
    draw_inputs,
    first_variation_field,
    fresh_samples,
    interpolate,
    loss_lines,
    loss_plane,
    optimality_gap,
    principal_directions,
    principal_plane,
)
from landscapes.mlp_attention import feature_space, saddle_ensemble, teach
from meanfield import GradientFlow, at, plots, simulate, snapshots
from particles import Ensemble, gaussian, load_ensemble
from saddle_analysis import HessianOperator, along, displaced, extreme_eigenpairs, isotropic
from saddle_analysis.sensitivity import held_out_curvature, sample_sensitivity

jax.config.update("jax_enable_x64", True)  # curvature needs it
OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/around_a_saddle")
OUT.mkdir(parents=True, exist_ok=True)
KEYS = jax.random.split(jax.random.key(0), 6)

# %% [markdown]
# ## A landscape with a saddle on it
#
# Two target features of strength λ = (1, 0.5), made of eight tanh neurons. Theory (KS24) puts a
# saddle at L = ½ · 0.5 where the second feature is missing, and the construction is exact.

# %%
like = Neuron(a=jnp.zeros(2), w=jnp.zeros(4))
teacher = gaussian(KEYS[0], 8, like, scale=Neuron(a=1.0, w=1.0))
x = draw_inputs(KEYS[1], 128, 4)
f, transform = canonical_form(teach(teacher, x), [1.0, 0.5])
landscape = MLPAttentionLandscape(x, f)
saddle = saddle_ensemble(KEYS[2], landscape, teacher.particles.w, [1], 24, spread=0.3)

value, velocity = landscape.value_and_velocity(saddle)
print(f"L = {float(value):.6f}, gradient norm {float(saddle.norm(velocity)):.1e}")
here = feature_space(landscape, [saddle]).isel(ensemble=0)
print(f"canonical correlations with the targets: {here.correlation.values.round(6)}")
print(f"nearest critical set: missing {here.missing.item()}, {float(here.distance):.1e} away")

# %% [markdown]
# ## Slices
#
# One eigenvector of the Wasserstein Hessian is unstable. The dashed parabolas are what gradient
# and Hessian predict; a random direction shows nothing of the saddle.

# %%
pairs = extreme_eigenpairs(HessianOperator(landscape, saddle), 2)
unstable = pairs.fields[0]
lines = loss_lines(
    landscape, saddle, {"unstable": unstable, "random": isotropic(KEYS[3], landscape, saddle, 1.0)}
)
figure, axes = plt.subplots(1, 2, figsize=(13, 4.2), layout="constrained")
plots.plot_lines(axes[0], lines)
print(f"curvature along the slice {float(lines.curvature[0]):.6f}, λ_min {pairs.values[0]:.6f}")

# %% [markdown]
# ## Where mass would go
#
# At the saddle itself the first variation vanishes everywhere. A small step along the unstable
# eigenvector shows what the instability feeds on: blue is where mass lowers the loss.

# %%
step = 0.1 * float(lines.distance[-1])
aside = displaced(saddle, along(saddle, unstable, step))
where = principal_directions(saddle, unstable, name="unstable")
field = first_variation_field(landscape, aside, where, points=31)
plots.plot_field(axes[1], field, f"First variation {step:.2g} along the eigenvector")
figure.savefig(OUT / "saddle.png", dpi=120)
print(optimality_gap(KEYS[4], landscape, aside, descents=8).sentence)

# %% [markdown]
# ## The way down
#
# A run from there to the minimum, drawn on the plane in which it moves most, and the loss between
# its two ends: along the geodesic of W2, along mixtures, and straight.

# %%
rate = -float(pairs.values[0])  # of leaving the saddle: time is measured in 1/rate
with warnings.catch_warnings():
    warnings.simplefilter("ignore", StartWarning)  # a construction, not a draw
    run = simulate(
        GradientFlow(landscape, scheme="adaptive"),
        aside,
        horizon=30 / rate,
        dt=1e-3 / rate,
        snapshots=at(*(np.array([0, 1, 2, 3, 4, 6, 10, 30]) / rate)),
    )
times, ensembles = snapshots(run)
plane = principal_plane(ensembles)
margin = 0.2 * np.ptp(plane.path, axis=0)
low, high = plane.path.min(axis=0) - margin, plane.path.max(axis=0) + margin
reach = ((float(low[0]), float(high[0])), (float(low[1]), float(high[1])))
around = loss_plane(landscape, plane.origin, plane.fields, extent=reach, points=21)
paths = interpolate(landscape, aside, run.ensemble, points=21)
figure, axes = plt.subplots(1, 3, figsize=(19, 4.2), layout="constrained")
plots.plot_plane(axes[0], around, plane.path)
plots.plot_interpolation(axes[1], paths, ("the saddle", "the end"))
plots.plot_feature_space(axes[2], feature_space(landscape, ensembles), times)
figure.savefig(OUT / "way.png", dpi=120)
for kind, height in zip(paths.kind.values, paths.barrier.values, strict=True):
    print(f"barrier on the {kind} path: {height:.4f}")

# %% [markdown]
# ## Dependence on the samples
#
# A negative eigenvalue was sought on these 128 samples. Is it there on others? Resampled, freshly
# drawn and quasi-Monte Carlo samples say how much of it is the sample's; so does the half of the
# samples that the eigenvector has not seen.


# %%
def target(points):
    return teach(teacher, points) @ transform


ways = {
    "bootstrap": bootstrap(landscape),
    "fresh samples": fresh_samples(landscape, target),
    "quasi-Monte Carlo": fresh_samples(landscape, target, method="quasi"),
}
seen = sample_sensitivity(KEYS[5], saddle, [unstable], ways, [64, 128], replicates=12)
figure, axes = plt.subplots(1, 2, figsize=(13, 4.2), layout="constrained")
plots.plot_sample_curvature(axes[0], seen, float(pairs.values[0]))
plots.plot_sampling_error(axes[1], seen)
figure.savefig(OUT / "samples.png", dpi=120)
halves = held_out_curvature(KEYS[5], landscape, saddle)
print(f"found on halves {halves.found.round(2)}, on the other half {halves.held_out.round(2)}")

# %% [markdown]
# ## Particles trained elsewhere
#
# An ensemble is an `.npz` with one array per part of a particle, here `a` (N × outputs) and `w`
# (N × inputs). From PyTorch, with `layer1` reading the inputs and `layer2` giving the outputs of a
# network whose outputs are averaged over neurons (multiply `a` by N where they are summed):
#
#     np.savez("ensemble.npz", w=layer1.weight.detach().numpy(), a=layer2.weight.detach().numpy().T)
#
# With the data in another `.npz` (`x` and `f`) the whole report is one command:
# `meanfield diagnose ensemble.npz --data data.npz`.

# %%
np.savez(OUT / "ensemble.npz", a=np.asarray(saddle.particles.a), w=np.asarray(saddle.particles.w))
np.savez(OUT / "data.npz", x=np.asarray(x), f=np.asarray(f))
loaded: Ensemble = load_ensemble(OUT / "ensemble.npz", like=landscape.particle)
assert float(landscape.value(loaded)) == float(value)
print(f"next: meanfield diagnose {OUT / 'ensemble.npz'} --data {OUT / 'data.npz'}")
