"""What `bench_accuracy` holds estimates to: `python -m benchmarks.accuracy_references` in tests/.

Nothing of the estimators is used here but the law of the start: the loss is written out over pairs
of neurons in closed form, diffrax integrates its gradient, and starts are Sobol points with exactly
the mean and the covariance of their law. The error is that of the mean over keys, or half of the
change from half as many particles where that is more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from landscapes import Neuron
from landscapes.networks import hermite_expansion, neuron_gram
from particles import Ensemble, gaussian

ACTIVATION, TEACHERS, SPECTRUM, RIDGE, HORIZON, DT = "erf", 12, (1.0, 0.5, 0.2), 0.05, 2.0, 0.2
LAW = 5  # key of the correlation of output weights with input weights
SIZE, KEYS = 1024, 16


class Task(NamedTuple):
    """L(μ_T) of one landscape.

    Args:
        name: as it is printed.
        dim: number of inputs d.
        outputs: number of target features k; particles have k + d coordinates.
        attention: KS24, else regression.
    """

    name: str
    dim: int
    outputs: int
    attention: bool


TASKS = (
    Task("KS24, d = 5", 5, 3, True),
    Task("KS24, d = 10", 10, 3, True),
    Task("KS24, d = 20", 20, 3, True),
    Task("regression, d = 5", 5, 1, False),
    Task("regression, d = 2", 2, 1, False),
)

#: L(μ_T) and its error: means over 6 to 16 keys at N = 1024. This file prints them anew.
REFERENCES = {
    "KS24, d = 5": (0.18226, 0.00033),
    "KS24, d = 10": (0.22695, 0.00024),
    "KS24, d = 20": (0.21586, 0.00021),
    "regression, d = 5": (0.09954, 0.00036),
    "regression, d = 2": (0.08361, 0.00020),
}


def teacher(task: Task) -> Ensemble:
    """Neurons whose outputs have the second moment diag(SPECTRUM) on all Gaussian inputs."""
    struct = Neuron(
        a=jax.ShapeDtypeStruct((task.outputs,), float), w=jax.ShapeDtypeStruct((task.dim,), float)
    )
    drawn = gaussian(jax.random.key(7), TEACHERS, struct, scale=Neuron(1.0, task.dim**-0.5))
    values, vectors = np.linalg.eigh(np.asarray(neuron_gram(drawn, drawn, ACTIVATION)))
    scaled = vectors[:, ::-1] * np.sqrt(np.asarray(SPECTRUM[: task.outputs]) / values[::-1])
    a, w = drawn.particles
    return Ensemble(Neuron(jnp.asarray(np.asarray(a) @ scaled), w))


def loss(task: Task, taught: Ensemble, neurons: Neuron) -> Array:
    """L(μ) over pairs of neurons, for x ~ N(0, I)."""
    table = hermite_expansion(ACTIVATION).table
    (a, w), (b, v) = neurons, taught.particles
    own = neuron_gram(taught, taught, ACTIVATION)
    gram = a.T @ table(w, w) @ a / len(a) ** 2
    cross = b.T @ table(v, w) @ a / (len(a) * len(b))
    if not task.attention:
        return 0.5 * jnp.trace(own - 2 * cross + gram)
    gram = gram + RIDGE * jnp.eye(task.outputs)
    return 0.5 * jnp.trace(own - cross @ jnp.linalg.solve(gram, cross.T))


def balanced_start(task: Task, key: Key[Array, ""], size: int) -> Neuron:
    """The law of `neuron_start`, with draws that have its mean and covariance exactly."""
    like = jax.ShapeDtypeStruct((task.outputs + task.dim,), float)
    z = np.asarray(gaussian(key, size, like, points="sobol").particles)
    z = z - z.mean(axis=0)
    z = jnp.asarray(z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / size)).T)
    noise, standard = z[:, : task.outputs], z[:, task.outputs :]
    directions = jax.random.normal(jax.random.key(LAW), (task.dim, task.outputs))
    directions = jnp.linalg.qr(directions)[0]
    return Neuron(noise + standard @ directions, standard * task.dim**-0.5)


def reference(task: Task) -> tuple[float, float]:
    """L(μ_T) of the mean field, and its error."""
    taught = teacher(task)

    @jax.jit
    def final(neurons: Neuron) -> Array:
        slope = jax.grad(lambda own: loss(task, taught, own))
        field = lambda t, own, _: jax.tree.map(lambda g: -len(own.a) * g, slope(own))  # noqa: E731
        term, solver = diffrax.ODETerm(field), diffrax.Tsit5()
        found = diffrax.diffeqsolve(term, solver, 0.0, HORIZON, DT, neurons)
        return loss(task, taught, jax.tree.map(lambda leaf: leaf[-1], found.ys))

    means, error = [], 0.0
    for size in (SIZE // 2, SIZE):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(11), size), KEYS)
        found = np.array([final(balanced_start(task, key, size)) for key in keys])
        means.append(float(found.mean()))
        error = float(found.std(ddof=1)) / math.sqrt(KEYS)
    return means[1], max(error, abs(means[1] - means[0]) / 2)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for task in TASKS:
        value, error = reference(task)
        print(f"{task.name}: {value:.6f} ± {error:.6f}", flush=True)
