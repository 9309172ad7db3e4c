"""What problems of two-layer networks share: drawn samples of a drawn teacher, or given data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from landscapes import (
    AbstractLandscape,
    Neuron,
    NeuronLandscape,
    Redraw,
    bootstrap,
    canonical_form,
    draw_inputs,
    fresh_samples,
    neuron_start,
)
from landscapes.mlp_attention import teach
from landscapes.networks import (
    HermiteModes,
    hidden_at,
    neuron_gram,
    samples_of,
    with_constant,
)
from particles import Ensemble, InvalidInput, Points, gaussian
from particles.internal import compiled_once, to_device

from ._hermite_targets import hermite_targets
from ._network_data import load_data
from ._options import Count, Feature, Positive
from ._problem import Draw

#: Options of all Gaussian inputs alone.
GAUSSIAN = {"degree", "variances", "targets"}


class Samples(NamedTuple):
    """Samples of a task.

    Args:
        x: inputs.
        f: targets.
        positions: input weights of the neurons that drawn targets are made of; `None` for data.
        teacher: the neurons that give drawn targets; `None` for data.
        fresh: draws inputs and targets of four times as many fresh samples; `None` for data.
        key: for further draws.
    """

    x: Float[Array, "samples inputs"] | HermiteModes
    f: Float[Array, "samples outputs"]
    positions: Float[Array, "neurons inputs"] | None
    teacher: Ensemble | None
    fresh: Callable[[], tuple[Array, Array]] | None
    key: Key[Array, ""]


@dataclass(frozen=True)
class NetworkOptions:
    """Base of the options of network problems: where samples come from, and the neurons."""

    data: str = ""
    """An .npz file with arrays x (samples × inputs) and f (samples × features); empty to draw."""
    inputs: Literal["samples", "gaussian-modes", "gaussian-pairs"] = "samples"
    """Samples, or all inputs of N(0, Σ): in Hermite modes, or in pairs of neurons."""
    degree: Count = 5
    """Largest degree of the Hermite modes."""
    variances: tuple[Positive, ...] = ()
    """The diagonal of Σ, one for each input; all 1 if empty."""
    targets: tuple[str, ...] = ()
    """On modes, Hermite targets in place of a teacher: '1+0,3' is z₁ + He₃(z₂)/√6, then scaled."""
    bias: bool = False
    """Give neurons a bias: a constant is appended to the inputs of `data`."""
    activation: Literal["tanh", "sigmoid", "relu", "erf", "quadratic", "cosine"] = "tanh"
    """Of the hidden neurons."""
    dim: Count = 8
    """Input dimension d of drawn samples."""
    samples: Count = 512
    """Number M of drawn samples."""
    teacher_neurons: Count = 12
    """Neurons the drawn targets are made of."""
    spectrum: tuple[Positive, ...] = (1.0, 0.5, 0.2)
    """Eigenvalues of the drawn targets' second moment."""
    distribution: Literal["normal", "uniform", "rademacher"] = "normal"
    """Of the drawn inputs."""
    points: Points = "random"
    """How inputs are drawn: averages over evenly spread ones err less."""
    whiten: bool = False
    """Make the drawn inputs' mean zero and their covariance the identity."""
    symmetric: tuple[Feature, ...] = ()
    """Input coordinates, numbered from 0, whose sign flips the drawn samples respect."""

    def __post_init__(self) -> None:
        if self.data:  # so that a run can be repeated from anywhere
            object.__setattr__(self, "data", str(Path(self.data).absolute()))

    def draw(self, key: Key[Array, ""]) -> Samples:
        """Given data, or samples of a teacher in canonical form.

        Raises:
            InvalidInput: the file lacks `x` or `f`, or an option is out of range.
        """
        keys = _four(key)
        if self.data:
            used = ("activation", "bias", "data")
            require_unused(self, NetworkOptions, used, "problem.data is given")
            x, f = load_data(self.data)
            return Samples(with_constant(x) if self.bias else x, f, None, None, None, keys[3])
        if self.bias:
            raise InvalidInput(
                "problem.bias is True, but the samples are drawn, and their targets need none; "
                "give problem.data, or leave it out."
            )
        if not self.spectrum:
            raise InvalidInput("problem.spectrum is empty; give at least one eigenvalue.")
        if self.inputs == "gaussian-modes" and self.targets:
            return self._expanded(keys)
        if self.teacher_neurons < len(self.spectrum):
            raise InvalidInput(
                f"problem.teacher_neurons is {self.teacher_neurons}; it must be at least the "
                f"{len(self.spectrum)} entries of the spectrum."
            )
        dtype = jnp.result_type(float)
        struct = Neuron(
            a=jax.ShapeDtypeStruct((len(self.spectrum),), dtype),
            w=jax.ShapeDtypeStruct((self.dim,), dtype),
        )
        teacher = gaussian(keys[0], self.teacher_neurons, struct, scale=Neuron(a=1.0, w=0.5))
        if self.inputs != "samples":
            return self._exact(teacher, keys)
        used = {field.name for field in dataclasses.fields(NetworkOptions)} - GAUSSIAN
        require_unused(self, NetworkOptions, used, "problem.inputs is 'samples'")
        inputs = functools.partial(
            draw_inputs,
            dim=self.dim,
            distribution=self.distribution,
            symmetric=self.symmetric,
            points=self.points,
            whiten=self.whiten,
        )
        x = inputs(keys[1], self.samples)
        f, transform = canonical_form(teach(teacher, x, self.activation), self.spectrum)

        def fresh() -> tuple[Array, Array]:
            drawn = inputs(keys[2], 4 * self.samples)
            return drawn, multiplied(teach(teacher, drawn, self.activation), transform)

        given = Ensemble(Neuron(multiplied(teacher.particles.a, transform), teacher.particles.w))
        return Samples(x, f, teacher.particles.w, given, fresh, keys[3])

    @property
    def covariance(self) -> np.ndarray | None:
        """Σ of all Gaussian inputs; `None` for the identity.

        Raises:
            InvalidInput: not one variance for each input.
        """
        if not self.variances:
            return None
        if len(self.variances) != self.dim:
            raise InvalidInput(
                f"problem.variances has {len(self.variances)} entries; it must have one for each "
                f"of the {self.dim} inputs."
            )
        return np.diag(self.variances)

    def _exact(self, teacher: Ensemble, keys: Sequence[Key[Array, ""]]) -> Samples:
        """A teacher in canonical form on the modes, or over pairs of neurons."""
        used = {"activation", "dim", "teacher_neurons", "spectrum", "inputs", "variances"}
        if self.inputs == "gaussian-modes":
            used |= {"degree"}
            x = HermiteModes(self.dim, self.degree, self.activation, self.covariance)
            given = teach(teacher, x, self.activation)
        else:
            x = HermiteModes(1, 1)  # of no use: the teacher itself is
            gram = np.asarray(neuron_gram(teacher, teacher, self.activation, self.covariance))
            values, vectors = np.linalg.eigh(gram)
            root = len(gram) ** 0.5 * np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
            given = jnp.asarray(root)
        require_unused(self, NetworkOptions, used, f"problem.inputs is {self.inputs!r}")
        f, transform = canonical_form(given, self.spectrum)
        a, w = teacher.particles
        teacher = Ensemble(Neuron(multiplied(a, transform), w))

        def fresh() -> tuple[Array, Array]:
            drawn = self._drawn(keys[2])
            return drawn, teach(teacher, drawn, self.activation)

        return Samples(x, f, w, teacher, fresh, keys[3])

    def _expanded(self, keys: Sequence[Key[Array, ""]]) -> Samples:
        """Targets that are Hermite polynomials themselves, on the modes."""
        used = {"activation", "dim", "spectrum", "inputs", "variances", "degree", "targets"}
        require_unused(self, NetworkOptions, used, "problem.targets are given")
        modes = HermiteModes(self.dim, self.degree, self.activation, self.covariance)
        f = hermite_targets(modes, self.targets, self.spectrum)

        def fresh() -> tuple[Array, Array]:
            drawn = self._drawn(keys[2])
            return drawn, modes.polynomials(drawn @ jnp.linalg.inv(modes.root)) @ f

        return Samples(modes, f, None, None, fresh, keys[3])

    def _drawn(self, key: Key[Array, ""]) -> Float[Array, "samples inputs"]:
        """Fresh samples of all Gaussian inputs."""
        z = draw_inputs(key, 4 * self.samples, self.dim)
        return z if not self.variances else z * jnp.sqrt(jnp.asarray(self.variances, z.dtype))


def network_start(landscape: AbstractLandscape, law: Key[Array, ""]) -> Draw:
    """The start of network problems: all draws share one law."""

    def start(key: Key[Array, ""], size: int, points: Points = "random") -> Ensemble:
        return neuron_start(key, landscape, size, law=law, points=points)

    return start


def network_redraws(
    landscape: NeuronLandscape, samples: Samples, distribution: str
) -> Mapping[str, Redraw]:
    """Resampling always; where the targets are a drawn teacher's, fresh samples of both kinds.

    None where there are no samples.
    """
    if samples_of(landscape) is None:
        return {}
    ways = {"bootstrap": bootstrap(landscape)}
    if samples.positions is None:
        return ways
    target = teacher_of(landscape, samples.positions)
    fresh = functools.partial(fresh_samples, landscape, target, distribution=distribution)
    return ways | {
        "fresh samples": fresh(method="plain"),
        "quasi-Monte Carlo": fresh(method="quasi"),
    }


def teacher_of(
    landscape: NeuronLandscape, positions: Float[Array, "neurons inputs"]
) -> Callable[[Array], Array]:
    """The targets as a function: the network on the teacher's neurons that gives them.

    Raises:
        InvalidInput: no network on these neurons does.
    """
    hidden = np.asarray(hidden_at(landscape, positions), float).T
    targets = np.asarray(landscape.f, float)
    output, *_ = np.linalg.lstsq(hidden, targets, rcond=None)
    missed = float(np.abs(hidden @ output - targets).max())
    if missed > 1e-4 * float(np.abs(targets).max()):
        raise InvalidInput(f"problem: its teacher misses the targets by {missed:.1e}.")
    weights = to_device(output, landscape.f.dtype)
    return jax.jit(lambda x: landscape.activation(x @ positions.T) @ weights)


@compiled_once
def _four(key: Key[Array, ""]) -> tuple[Array, ...]:
    """Independent keys; one program, where slices of their array would be several."""
    return tuple(jax.random.split(key, 4))


def multiplied(left: Array, right: Array) -> Array:
    """Their product, by NumPy: small, and compiled for every shape otherwise."""
    return to_device(np.asarray(left) @ np.asarray(right))


def require_unused(options: object, cls: type, used: Collection[str], reason: str) -> None:
    """Refuse options that do nothing here and are not at their defaults.

    Raises:
        InvalidInput: names the first such option.
    """
    for field in dataclasses.fields(cls):
        value = getattr(options, field.name)
        if field.name not in used and value != field.default:
            raise InvalidInput(
                f"problem.{field.name} is {value}, but {reason}, where it does nothing; leave it "
                "out."
            )
