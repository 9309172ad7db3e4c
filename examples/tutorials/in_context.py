# %% [markdown]
# # In-context learning emerges, four ways
#
# The same ability appears along four different curves. Merged keys and queries give one abrupt
# drop; separate ones a staircase, one eigen-direction after the other (ZSLS25); softmax attention
# learns its features together (HCL23); an induction circuit waits at an exact saddle (MPNSSH25).

# %%
import jax
import matplotlib.pyplot as plt

jax.config.update("jax_enable_x64", True)

from landscapes import InductionLandscape
from meanfield import GradientFlow, every, simulate
from meanfield.problems import LinearAttention, SoftmaxAttention, build_problem
from particles import Ensemble, gaussian

key = jax.random.key(1)


def course(landscape, start, horizon):
    """Time and loss of the flow from a start."""
    flow = GradientFlow(landscape, scheme="adaptive")
    run = simulate(flow, start, horizon=horizon, dt=0.01, record=every(horizon / 200))
    return run.trajectory.time, run.trajectory.loss


# %%
curves = {}
for name, parameters in (("merged: one drop", "merged"), ("separate: a staircase", "separate")):
    problem = build_problem(LinearAttention(parameters=parameters), 0)
    start = gaussian(key, 64, problem.landscape.particle, scale=0.02)
    curves[name] = *course(problem.landscape, start, 60.0), problem.levels

softmax = build_problem(SoftmaxAttention(features=4, length=16.0, prompts=0), 0)
start = gaussian(key, 1, softmax.landscape.particle, scale=0.0)
curves["softmax: together"] = *course(softmax.landscape, start, 200.0), softmax.levels

circuit = InductionLandscape(4)
nearly = jax.tree.map(lambda leaf: leaf + 1e-4, circuit.saddle().particles)
level = {"saddle": float(circuit.value(circuit.saddle()))}
curves["induction: a wait"] = *course(circuit, Ensemble(nearly), 14 / circuit.escape_rate), level

# %%
figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), layout="constrained")
for ax, (name, (time, loss, levels)) in zip(axes.flat, curves.items(), strict=True):
    for number, height in enumerate(levels.values()):
        ax.axhline(height, color="tab:red", ls="--", lw=1, label=None if number else "theory")
    ax.plot(time, loss, label="measured")
    ax.set(xlabel="flow time $t$", ylabel="loss $L$", title=name)
    ax.legend()
