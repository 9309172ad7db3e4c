# %% [markdown]
# # Grokking
#
# A two-layer network learns addition modulo 11 on nine tenths of all pairs. It fits the training
# pairs early; the pairs it has never seen come later, when its neurons have turned into waves of
# one frequency each (GRO23).

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

from meanfield import GradientFlow, every, simulate
from meanfield.problems import ModularArithmetic, build_problem

p = 11
problem = build_problem(ModularArithmetic(p=p, fraction=0.9), 0)
start = problem.start(jax.random.key(1), 128)
flow = GradientFlow(problem.landscape, scheme="adaptive")
run = simulate(flow, start, horizon=6000.0, dt=0.1, record=every(20.0))
found = run.trajectory
print(run.message, "test accuracy", float(found.test_accuracy[-1]))

# %% [markdown]
# The share of a neuron's power in its strongest frequency says how much of a wave it is.

# %%


def purity(ensemble):
    """Share of the strongest frequency in the power of every neuron's first weights."""
    power = np.abs(np.fft.rfft(np.asarray(ensemble.particles.u), axis=1))[:, 1:] ** 2
    return power.max(axis=1) / power.sum(axis=1)


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.semilogx(found.time[1:], found.train_accuracy[1:], label="training pairs")
left.semilogx(found.time[1:], found.test_accuracy[1:], label="pairs never seen")
left.axhline(1 / p, color="tab:gray", ls=":", label="chance")
left.set(xlabel="flow time $t$", ylabel="accuracy")
left.legend()
bins = np.linspace(0, 1, 21)
right.hist(purity(start), bins, alpha=0.6, label="at the start")
right.hist(purity(run.ensemble), bins, alpha=0.6, label="at the end")
right.set(xlabel="share of the strongest frequency", ylabel="neurons")
right.legend()
