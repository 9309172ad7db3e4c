"""What problems of two-layer networks share: drawn samples of a drawn teacher, or given data."""

from __future__ import annotations

import dataclasses
import functools
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from landscapes import (
    Neuron,
    NeuronLandscape,
    Redraw,
    bootstrap,
    canonical_form,
    draw_inputs,
    fresh_samples,
    neuron_start,
)
from landscapes.mlp_attention import MLPAttentionLandscape, teach
from landscapes.networks import (
    GaussianRegressionLandscape,
    HermiteModes,
    neuron_gram,
    samples_of,
    truncation,
    with_constant,
)
from particles import Ensemble, InvalidInput, Points, gaussian

from ..results import Claim
from ..runs import Run
from ._options import Count, Feature, Positive
from ._problem import Draw

#: Most neurons whose pairs are summed for a claim.
PAIRED = 4096


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
    """Samples, or all inputs of N(0, I): in Hermite modes or, for regression, in pairs."""
    degree: Count = 5
    """Largest degree of the Hermite modes."""
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
        keys = jax.random.split(key, 4)
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
        if self.degree != NetworkOptions.degree:
            raise InvalidInput(
                f"problem.degree is {self.degree}, but problem.inputs is 'samples', where it does "
                "nothing; leave it out."
            )
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
            return drawn, teach(teacher, drawn, self.activation) @ transform

        given = Ensemble(Neuron(teacher.particles.a @ transform, teacher.particles.w))
        return Samples(x, f, teacher.particles.w, given, fresh, keys[3])

    def _exact(self, teacher: Ensemble, keys: Key[Array, "4"]) -> Samples:
        """All Gaussian inputs: targets in canonical form on the modes, or over pairs of neurons."""
        modes = self.inputs == "gaussian-modes"
        used = ("activation", "dim", "teacher_neurons", "spectrum", "inputs", *["degree"] * modes)
        require_unused(self, NetworkOptions, used, f"problem.inputs is {self.inputs!r}")
        if modes:
            x = HermiteModes(self.dim, self.degree, self.activation)
            given = teach(teacher, x, self.activation)
        else:
            x = HermiteModes(1, 1)  # of no use: the teacher itself is
            gram = np.asarray(neuron_gram(teacher, teacher, self.activation))
            values, vectors = np.linalg.eigh(gram)
            root = len(gram) ** 0.5 * np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
            given = jnp.asarray(root)
        f, transform = canonical_form(given, self.spectrum)
        a, w = teacher.particles
        teacher = Ensemble(Neuron(a @ transform, w))

        def fresh() -> tuple[Array, Array]:
            drawn = draw_inputs(keys[2], 4 * self.samples, self.dim)
            return drawn, teach(teacher, drawn, self.activation)

        return Samples(x, f, w, teacher, fresh, keys[3])


def network_start(
    landscape: NeuronLandscape | GaussianRegressionLandscape, law: Key[Array, ""]
) -> Draw:
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


def truncation_claims(landscape: NeuronLandscape, samples: Samples, run: Run) -> list[Claim]:
    """On modes: the loss on all inputs, over pairs of neurons, lies within the stated bound."""
    modes, teacher, mu = landscape.x, samples.teacher, run.ensemble
    fits = run.trajectory.attrs.get("landscape") == type(landscape).__name__
    if not (isinstance(modes, HermiteModes) and teacher is not None and fits):
        return []
    if mu.size > PAIRED:
        return []
    activation = landscape.activation
    target = float(modes.remainder(teacher, activation))
    value = float(landscape.value(mu))
    bound = truncation(landscape, mu, target=target).loss
    own, cross, gram = (
        np.asarray(neuron_gram(left, right, activation))
        for left, right in ((teacher, teacher), (teacher, mu), (mu, mu))
    )
    if isinstance(landscape, MLPAttentionLandscape):
        ridge = float(landscape.ridge) * np.eye(len(gram))
        exact = 0.5 * np.trace(own - cross @ np.linalg.solve(gram + ridge, cross.T))
    else:
        exact = 0.5 * np.trace(own - 2 * cross + gram)
    digits = 1e4 * float(np.finfo(np.dtype(modes.dtype)).eps) * float(np.trace(own))
    return [
        Claim.within(
            f"loss of all inputs, given that of degrees up to {modes.degrees[-1]}",
            "theory 12",
            low=value - digits,
            high=value + bound + digits,
            measured=float(exact),
        )
    ]


def teacher_of(
    landscape: NeuronLandscape, positions: Float[Array, "neurons inputs"]
) -> Callable[[Array], Array]:
    """The targets as a function: the network on the teacher's neurons that gives them.

    Raises:
        InvalidInput: no network on these neurons does.
    """
    preactivations = np.asarray(landscape.x) @ np.asarray(positions).T
    hidden = np.asarray(landscape.activation(jnp.asarray(preactivations)), float)
    targets = np.asarray(landscape.f, float)
    output, *_ = np.linalg.lstsq(hidden, targets, rcond=None)
    missed = float(np.abs(hidden @ output - targets).max())
    if missed > 1e-4 * float(np.abs(targets).max()):
        raise InvalidInput(f"problem: its teacher misses the targets by {missed:.1e}.")
    weights = jnp.asarray(output, landscape.f.dtype)
    return lambda x: landscape.activation(x @ positions.T) @ weights


def load_data(path: str | os.PathLike) -> tuple[Array, Array]:
    """Arrays `x` (samples × inputs) and `f` (samples × features) of an `.npz` file.

    Raises:
        InvalidInput: not an `.npz`, one of the two arrays is missing or not numeric, or a target
            is all zero or appears twice.
        FileNotFoundError: there is no such file.
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = sorted(file.files)
            arrays = {name: np.asarray(file[name]) for name in names if name in ("x", "f")}
    except (ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"data {path} is not an .npz file of plain named arrays.") from error
    if len(arrays) < 2:
        raise InvalidInput(
            f"data {path} has the arrays {names}; it must have x (samples × inputs) and f "
            "(samples × features)."
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise InvalidInput(f"data {path}: {name} has dtype {array.dtype}; give real numbers.")
    _require_samples(path, arrays["x"], arrays["f"])
    _require_targets(path, arrays["f"])
    dtype = jnp.result_type(float)
    return jnp.asarray(arrays["x"], dtype), jnp.asarray(arrays["f"], dtype)


def _require_samples(path: str | os.PathLike, x: np.ndarray, f: np.ndarray) -> None:
    """Shapes that fit, and numbers: said by the name of the file."""
    if x.ndim != 2 or f.ndim != 2 or not x.size * f.size or len(x) != len(f):
        raise InvalidInput(
            f"data {path}: x has shape {x.shape} and f has shape {f.shape}; they must be samples × "
            "inputs and samples × features, with the same, non-zero number of samples."
        )
    for name, array in {"x": x, "f": f}.items():
        bad = np.argwhere(~np.isfinite(array))
        if bad.size:
            place = bad[0].tolist()
            raise InvalidInput(
                f"data {path}: {name}{place} is {array[tuple(place)]}; all entries must be finite."
            )


def _require_targets(path: str | os.PathLike, f: np.ndarray) -> None:
    """Columns that carry nothing make a landscape that is flat in them."""
    if f.ndim != 2 or f.shape[0] < 2 or not np.all(np.isfinite(f)):
        return
    zero = np.flatnonzero(~np.any(f, axis=0))
    if zero.size == f.shape[1]:
        raise InvalidInput(f"data {path}: f is zero everywhere; there is nothing to learn.")
    if zero.size:
        raise InvalidInput(
            f"data {path}: column {zero[0]} of f (counting from 0) is zero everywhere; leave it "
            "out."
        )
    if np.unique(f, axis=1).shape[1] < f.shape[1]:
        raise InvalidInput(f"data {path}: two columns of f are equal; leave one out.")


def require_unused(options: object, cls: type, used: tuple[str, ...], reason: str) -> None:
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
