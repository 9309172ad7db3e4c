"""The induction circuit on item–label pairs: three parameters a head, in closed form."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, PyTree

from particles import Ensemble, InvalidInput, Points, gaussian

from .._base import Landscape
from .._observables import Observable
from ._theory import checked_pairs, escape_curvature, plateau_readout


class Circuit(NamedTuple):
    """Parameters of one induction circuit.

    Args:
        alpha: logit of the previous token in layer 1.
        beta: logit of a matching item in layer 2.
        gamma: readout of layer 2, which copies what it attends to.
    """

    alpha: Any
    beta: Any
    gamma: Any


class InductionMoments(NamedTuple):
    """Moments of a measure over circuits.

    Args:
        label: output along the right label.
        item: output along the queried item, which stands twice in the prompt.
        rest: output along each of the 2N − 2 other tokens.
        parameters: mean of (α, β, γ); the risk does not depend on it.
    """

    label: Array
    item: Array
    rest: Array
    parameters: Circuit


class InductionLandscape(Landscape):
    """In-context recall by two layers of attention, all in closed form.

    The prompt is x₁ y₁ … x_N y_N x_j: N item–label pairs, which stand in a circle, and a query that
    repeats one item; all tokens are orthonormal and n = 2N + 1. The output should be y_j. A
    particle is a circuit (α, β, γ). Layer 1 attends to the previous token with weight e^α against 1
    for every other position, so with D = e^α + n − 1 position s holds o = 2/D of x_j, except that
    the label y_j holds o = (1 + e^α)/D. Layer 2 attends with softmax(β o) and γ multiplies what it
    finds. Every j is alike, so the loss needs three moments:

        L(μ) = ½ (1 − label)² + ½ item² + (N − 1) rest²,

    the error of the output averaged over circuits. α = β = 0 with mean readout n/(n + 2) is an
    exact strict saddle (`plateau_level`, `escape_curvature`). (theory.md, section 9; MPNSSH25)

    Args:
        pairs: number N of pairs, at least 2; a traced number, so a sweep over N compiles once.

    Raises:
        InvalidInput: fewer than two pairs.

    Example:
        >>> from landscapes.induction import plateau_level
        >>> landscape = InductionLandscape(4)
        >>> saddle = landscape.saddle(3)
        >>> abs(float(landscape.value(saddle)) - plateau_level(4)) < 1e-6
        True
    """

    pairs: Float[Array, ""]
    convex: ClassVar[bool] = True

    def __init__(self, pairs: float | Array):
        self.pairs = jnp.asarray(checked_pairs(pairs), float)

    def require_valid(self) -> None:
        """Refuse fewer than two pairs."""
        if not isinstance(self.pairs, jax.core.Tracer):
            checked_pairs(self.pairs)

    @property
    def particle(self) -> Circuit:
        """Shape and dtype of one circuit."""
        return _circuit_shape(self.pairs.dtype)

    def features(self, particle: Circuit) -> InductionMoments:
        """Φ(α, β, γ): what layer 2 finds along the label, the item and every other token."""
        alpha, beta, gamma = particle
        n = 2 * self.pairs + 1
        # Only the difference of contents matters: o_label − o_other = (e^α − 1)/(e^α + n − 1).
        contrast = jnp.expm1(alpha) / (jnp.expm1(alpha) + n)
        other = 1 / (n - 1 + jnp.exp(beta * contrast))
        label = 1 - (n - 1) * other
        return InductionMoments(gamma * label, 2 * gamma * other, gamma * other, particle)

    def risk(self, moments: InductionMoments, fast: None = None) -> Float[Array, ""]:
        """½ of the squared error of the output."""
        square = (1 - moments.label) ** 2 + moments.item**2
        return 0.5 * (square + 2 * (self.pairs - 1) * moments.rest**2)

    def observables(self, moments: InductionMoments) -> dict[str, Observable]:
        """Outputs `label`, `item`, `rest`, and the mean `alpha`, `beta`, `gamma`."""
        outputs = {name: getattr(moments, name) for name in ("label", "item", "rest")}
        named = {**outputs, **moments.parameters._asdict()}
        return {name: Observable(value) for name, value in named.items()}

    def saddle(self, size: int = 1) -> Ensemble:
        """The exact saddle: `size` circuits at α = β = 0, γ = n/(n + 2).

        Raises:
            InvalidInput: `size` is below one.
        """
        return circuits(size, gamma=plateau_readout(float(self.pairs)), dtype=self.pairs.dtype)

    @property
    def escape_rate(self) -> float:
        """Rate at which the flow leaves the saddle, in 1/time: minus the curvature there."""
        return -escape_curvature(float(self.pairs))


class CausalInductionLandscape(Landscape):
    """The induction circuit under a causal mask, exactly.

    As `InductionLandscape`, but layer 1 sees only a position and those before it, so the position
    says something of its own and the queried pair j = 1 … N matters: the moments are the outputs
    along all 2N tokens for every j. The first position can attend to nothing but itself; so if
    j = 1 the item keeps half of the attention, and L stays above about 1/(4N). There is no saddle
    at α = β = 0: the flow from zero learns γ, then β, then α. (theory.md, section 9; MPNSSH25)

    Args:
        pairs: number N of pairs, at least 2.

    Raises:
        InvalidInput: fewer than two pairs.

    Example:
        >>> landscape = CausalInductionLandscape(4)
        >>> float(landscape.value(circuits(1)))  # no output at all
        0.5
    """

    pairs: int = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(self, pairs: int):
        self.pairs = int(checked_pairs(pairs))

    @property
    def particle(self) -> Circuit:
        """Shape and dtype of one circuit."""
        return _circuit_shape(jnp.result_type(float))

    def features(self, particle: Circuit) -> tuple[Float[Array, "pairs tokens"], Circuit]:
        """Outputs along all 2N tokens, one row for each queried pair, and (α, β, γ) itself."""
        alpha, beta, gamma = particle
        n = 2 * self.pairs + 1
        item, position = 2 * np.arange(self.pairs)[:, None], np.arange(n)[None]
        own = np.minimum(position, 1)  # the first position has no previous token
        total = jnp.where(own > 0, jnp.exp(alpha) + position, 1.0)
        seen = (position >= item) * (position != item + 1) + 1.0 * (position == n - 1)
        content = jnp.where(position == item + 1, jnp.exp(alpha), seen) / total
        attention = gamma * jax.nn.softmax(beta * content, axis=1)
        merged = attention[:, -1:] * (np.arange(n - 1)[None] == item)
        return attention[:, :-1] + merged, particle

    def risk(
        self, moments: tuple[Float[Array, "pairs tokens"], Circuit], fast: None = None
    ) -> Float[Array, ""]:
        """½ of the squared error of the output, mean over the queried pair."""
        target = np.eye(2 * self.pairs)[1::2]
        return 0.5 * jnp.mean(jnp.sum((moments[0] - target) ** 2, axis=1))

    def observables(self, moments: PyTree) -> dict[str, Observable]:
        """The mean `alpha`, `beta`, `gamma`, and the outputs `label` and `item`, mean over j."""
        outputs, parameters = moments
        pair = np.arange(self.pairs)
        found = {
            "label": jnp.mean(outputs[pair, 2 * pair + 1]),
            "item": jnp.mean(outputs[pair, 2 * pair]),
            **parameters._asdict(),
        }
        return {name: Observable(value) for name, value in found.items()}


def circuits(
    size: int,
    alpha: float = 0.0,
    beta: float = 0.0,
    gamma: float = 0.0,
    *,
    dtype: DTypeLike = float,
) -> Ensemble:
    """`size` equal circuits.

    Args:
        size: number of circuits.
        alpha: logit of the previous token.
        beta: logit of a matching item.
        gamma: readout.
        dtype: of the numbers.

    Raises:
        InvalidInput: `size` is below one.
    """
    if size < 1:
        raise InvalidInput(f"size is {size}; it must be a positive number of circuits.")
    return Ensemble(Circuit(*(jnp.full(size, v, dtype) for v in (alpha, beta, gamma))))


def circuit_start(
    key: Key[Array, ""],
    landscape: Landscape,
    size: int,
    *,
    scale: float = 0.1,
    points: Points = "random",
) -> Ensemble:
    """Circuits with normal parameters of standard deviation `scale`.

    Args:
        key: random key.
        landscape: gives the shapes.
        size: number of circuits.
        scale: standard deviation of α, β and γ.
        points: how circuits are drawn, as in `particles.gaussian`.

    Raises:
        InvalidInput: `size` is below one, or does not suit `points`.

    Example:
        >>> circuit_start(jax.random.key(0), InductionLandscape(4), 5).size
        5
    """
    return gaussian(key, size, landscape.particle, scale=scale, points=points)


def _circuit_shape(dtype: DTypeLike) -> Circuit:
    return Circuit(*[jax.ShapeDtypeStruct((), jnp.dtype(dtype))] * 3)
