# %% [markdown]
# # A saddle, and the way out
#
# An MLP layer followed by linear attention learns features in context. Where one feature is missing
# there is an exact saddle, and theory knows its level (KS24). We stand on it, ask the Hessian for
# the way down, and measure how fast the flow takes it.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)  # curvature wants double precision

from meanfield import GradientFlow, every, simulate
from meanfield.problems import Attention, build_problem
from saddle_analysis import HessianOperator, along, displaced, smallest_eigenpair

problem = build_problem(Attention(dim=4, samples=128, teacher_neurons=6, spectrum=(1.0, 0.5)), 0)
saddle = problem.saddle(jax.random.key(1), 32, missing=[1])
print("loss", float(problem.landscape.value(saddle)), "and in theory", problem.predicted(saddle))

# %% [markdown]
# The smallest eigenvalue of the Wasserstein Hessian is the rate of escape; its residual says how
# far it can be from the truth.

# %%
pair = smallest_eigenpair(HessianOperator(problem.landscape, saddle))
rate = -float(pair.values[0])
print(f"escape rate {rate:.3f} per unit of flow time, residual {float(pair.residuals[0]):.1e}")

# %% [markdown]
# A tiny step along the eigenvector, and the flow does the rest. As long as it is close, the loss
# falls by ½ λ d² e^(2|λ|t), with d the size of the step.

# %%
step = 1e-5
start = displaced(saddle, along(saddle, pair.fields[0], step))
flow = GradientFlow(problem.landscape, scheme="adaptive")
horizon = 20 / rate
run = simulate(flow, start, horizon=horizon, dt=1e-3 / rate, record=every(horizon / 100))
time, loss = run.trajectory.time.values, run.trajectory.loss.values

# %%
level = float(problem.landscape.value(saddle))
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(time, loss, label="loss of the run")
left.axhline(level, color="tab:red", ls="--", label="saddle level (theory)")
left.axhline(0, color="tab:green", ls="--", label="global minimum")
left.set(xlabel="flow time $t$", ylabel="loss $L$")
left.legend()
fallen = level - loss
right.semilogy(time[fallen > 1e-14], fallen[fallen > 1e-14], ".", label="measured")
predicted = 0.5 * rate * step**2 * np.exp(2 * rate * time)
early = predicted < level
right.semilogy(time[early], predicted[early], color="tab:red", label=r"$e^{2|\lambda|t}$ (Hessian)")
right.set(xlabel="flow time $t$", ylabel="fall below the saddle")
right.legend()
