# %% [markdown]
# # Many devices
#
# An ensemble that is split over devices runs by the same call: each streams through its own
# particles, and only the moments travel. Here four devices are pretended on one CPU; on a machine
# with GPUs leave the first two lines out.

# %%
import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

jax.config.update("jax_enable_x64", True)

from landscapes import RegressionLandscape, neuron_start
from meanfield import GradientFlow, simulate
from particles import drawn_on, gathered, particle_mesh

key, x = jax.random.key(0), jnp.linspace(-1, 1, 32)[:, None]
landscape = RegressionLandscape(x, jnp.sin(3 * x))
mesh = particle_mesh()  # all devices, of all hosts
start = drawn_on(mesh, lambda: neuron_start(key, landscape, 1024))
run = simulate(GradientFlow(landscape), start, horizon=2.0, dt=0.1)
print(mesh.devices.size, "devices,", run.message)

# %% [markdown]
# The draw is that of one device to the bit; the trajectory agrees up to the order of summation.

# %%
alone = neuron_start(key, landscape, 1024)
same = simulate(GradientFlow(landscape), alone, horizon=2.0, dt=0.1)
difference = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()), gathered(run.ensemble), same.ensemble
)
print("largest difference:", max(jax.tree.leaves(difference)))

# %%
neurons = gathered(run.ensemble).particles
shards = run.ensemble.particles.a.addressable_shards
owner = np.zeros(1024, int)
for number, shard in enumerate(shards):
    owner[shard.index[0]] = number
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
shown = ax.scatter(neurons.w[:, 0], neurons.a[:, 0], c=owner, s=6, cmap="viridis")
ax.set(xlabel="input weight $w$", ylabel="output weight $a$", title="neurons, by their device")
figure.colorbar(shown, label="device", ticks=range(len(shards)))
