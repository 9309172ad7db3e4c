"""Gaussian inputs without samples: a basis of L²(N(0, Σ)) in place of points."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from particles import Ensemble, InvalidInput
from particles.internal import to_device

from .._precisely import compiled_precisely
from ._activations import Activation
from ._hermite import hermite_expansion

#: More modes than this are refused: their moments alone would fill the memory.
MOST = 2**17


class HermiteModes(eqx.Module):
    """The Hermite polynomials of x ~ N(0, Σ) up to a degree, in the place of samples.

    Network landscapes take it as their `x`. A row then holds the coefficient of an orthonormal
    polynomial instead of a value at a sample, times the root of the number of rows, so that the
    mean over rows of a product is the expectation of the product in both cases. The landscape is
    that of all inputs, up to what higher degrees hold; `truncation` bounds it. (theory.md,
    section 12)

    Neurons keep their input weights: with Σ = SS they enter as Sw, and the flow is that of w.

    Args:
        dim: number of inputs d.
        degree: largest degree K.
        activation: keeps the degrees that neurons of this activation have, and leaves out the
            others; `None` keeps all.
        covariance: Σ, symmetric and not negative; the identity by default.

    Raises:
        InvalidInput: sizes out of range, more than 2¹⁷ modes, an activation without a known
            expansion, or no covariance.

    Example:
        >>> from landscapes import Neuron, RegressionLandscape
        >>> modes = HermiteModes(2, 3, "erf")
        >>> modes.shape, modes.degrees  # x₁, x₂, and the four cubics
        ((6, 2), (1, 3))
        >>> f = modes.targets([{(1, 0): 1.0}])
        >>> landscape = RegressionLandscape(modes, f, "erf")
        >>> nothing = Ensemble(Neuron(a=jnp.zeros((1, 1)), w=jnp.ones((1, 2))))
        >>> round(float(landscape.value(nothing)), 6)  # ½ E x₁²
        0.5
    """

    root: Float[Array, "inputs inputs"]
    degrees: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        degree: int,
        activation: str | Activation | None = None,
        covariance: ArrayLike | None = None,
    ):
        if dim < 1 or degree < 1:
            raise InvalidInput(f"dim is {dim} and degree is {degree}; both must be at least 1.")
        everything = tuple(range(degree + 1))
        self.degrees = (
            everything if activation is None else hermite_expansion(activation).degrees(degree)
        )
        self.root = covariance_root(dim, covariance)
        if (count := self.shape[0]) > MOST:
            raise InvalidInput(
                f"dim is {dim} and degree is {degree}, which is {count} Hermite modes; at most "
                f"{MOST} are held: lower the degree, or use samples or pairs."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of modes and of inputs, as the shape of samples."""
        dim = self.root.shape[0]
        return sum(math.comb(dim + k - 1, k) for k in self.degrees), dim

    @property
    def dtype(self) -> np.dtype:
        """Of the coefficients."""
        return self.root.dtype

    def astype(self, dtype: np.dtype) -> HermiteModes:
        """The modes in another precision."""
        return eqx.tree_at(lambda modes: modes.root, self, self.root.astype(dtype))

    def hidden(
        self, w: Float[Array, "neurons inputs"], activation: Activation
    ) -> Float[Array, "neurons modes"]:
        """The coefficients of σ(wᵀx): amplitude · (k!/α!)^½ v^α, v the stretched Sw."""
        expansion = hermite_expansion(activation)
        own = expansion.degrees(self.degrees[-1])
        w = w @ self.root.astype(w.dtype)
        squared = jnp.sum(w**2, axis=1)
        v = expansion.stretch(squared)[:, None] * w
        scale = self.shape[0] ** 0.5
        power = jnp.ones_like(v[:, :1])
        columns = []
        for k in range(self.degrees[-1] + 1):
            power = _next_powers(v, power, k) if k else power
            if k not in self.degrees:
                continue
            if k in own:
                factors = scale * np.sqrt(_multinomials(v.shape[1], k))
                amplitude = expansion.amplitude(k, squared)[:, None]
                columns.append(amplitude * (power * factors.astype(v.dtype)))
            else:
                columns.append(jnp.zeros_like(power))
        return jnp.concatenate(columns, axis=1)

    def polynomials(self, z: Float[Array, "points inputs"]) -> Float[Array, "points modes"]:
        """The orthonormal polynomials at whitened points, x = Sz; over the root of their number.

        A function with rows m has the values `polynomials(z) @ m`.
        """
        tables = [jnp.ones_like(z), z]
        for k in range(2, self.degrees[-1] + 1):
            tables.append((z * tables[-1] - (k - 1) ** 0.5 * tables[-2]) / k**0.5)
        table = jnp.stack(tables)
        indices = self.indices
        product = jnp.ones((z.shape[0], len(indices)), z.dtype)
        for axis in range(z.shape[1]):
            product = product * table[indices[:, axis], :, axis].T
        return product / len(indices) ** 0.5

    @property
    def indices(self) -> Int[np.ndarray, "modes inputs"]:
        """Degrees of every mode in each whitened input."""
        return np.concatenate([_indices(self.shape[1], k) for k in self.degrees])

    def targets(
        self, expansions: Sequence[Mapping[tuple[int, ...], float]]
    ) -> Float[Array, "modes outputs"]:
        """Target features given by their coefficients, as the `f` of a landscape.

        Args:
            expansions: for each feature, coefficients of ∏_i He_{α_i}(z_i)/√α_i! by (α_1, …, α_d),
                in whitened inputs.

        Raises:
            InvalidInput: a term that is none of the modes: the degree is too low, or it is one that
                neurons of this activation do not have.
        """
        rows = {tuple(index): row for row, index in enumerate(self.indices.tolist())}
        found = np.zeros((len(rows), len(expansions)), self.dtype)
        for column, terms in enumerate(expansions):
            for index, coefficient in terms.items():
                row = rows.get(tuple(index))
                if row is None:
                    raise InvalidInput(
                        f"expansions[{column}] has the term {tuple(index)}, but the modes are of "
                        f"{self.shape[1]} inputs and degrees {list(self.degrees)}; give more."
                    )
                found[row, column] = coefficient
        return to_device(found * len(rows) ** 0.5)

    def remainder(
        self, ensemble: Ensemble, activation: str | Activation, *, chunk: int | None = None
    ) -> Float[Array, ""]:
        """A bound on the norm in L² of what these modes miss of h_μ: ∫ ‖a‖ τ(‖Sw‖) dμ.

        Args:
            ensemble: of neurons.
            activation: σ.
            chunk: particles held at once.
        """
        return _remainder(self, ensemble, hermite_expansion(activation).activation, chunk)


@compiled_precisely
def _remainder(
    modes: HermiteModes, ensemble: Ensemble, activation: Activation, chunk: int | None
) -> Float[Array, ""]:
    expansion = hermite_expansion(activation)

    def missed(neuron: object) -> Array:
        a, w = neuron  # type: ignore[misc]
        norm = jnp.sum((w @ modes.root.astype(w.dtype)) ** 2)
        return jnp.sqrt(jnp.sum(a**2)) * expansion.remainder(modes.degrees, norm)

    return ensemble.mean(missed, chunk=chunk)


def hidden_layer(
    x: Float[Array, "rows inputs"] | HermiteModes,
    w: Float[Array, "neurons inputs"],
    activation: Activation,
) -> Float[Array, "neurons rows"]:
    """σ(wᵀx) of every neuron: at samples, or its coefficients in modes."""
    return x.hidden(w, activation) if isinstance(x, HermiteModes) else activation(w @ x.T)


def _next_powers(v: Array, power: Array, k: int) -> Array:
    """v^α of degree k from those of degree k − 1.

    Both are sorted by the last input they contain, so that those with none beyond it come first.
    """
    counts = [math.comb(j + k - 1, k - 1) for j in range(v.shape[1])]
    return jnp.concatenate(
        [v[:, j : j + 1] * power[:, :count] for j, count in enumerate(counts)], axis=1
    )


@functools.cache
def _indices(dim: int, k: int) -> Int[np.ndarray, "modes inputs"]:
    if k == 0:
        return np.zeros((1, dim), int)
    before = _indices(dim, k - 1)
    unit = np.eye(dim, dtype=int)
    counts = [math.comb(j + k - 1, k - 1) for j in range(dim)]
    return np.concatenate([before[:count] + unit[j] for j, count in enumerate(counts)])


@functools.cache
def _multinomials(dim: int, k: int) -> Float[np.ndarray, " modes"]:
    """k!/α! of every mode of degree k."""
    factorials = np.array([math.factorial(j) for j in range(k + 1)], float)
    return math.factorial(k) / np.prod(factorials[_indices(dim, k)], axis=1)


def covariance_root(dim: int, covariance: ArrayLike | None) -> Float[Array, "inputs inputs"]:
    """The symmetric S with Σ = SS; the identity for `None`.

    Raises:
        InvalidInput: Σ is no covariance of `dim` inputs.
    """
    dtype = jnp.result_type(float)
    if covariance is None:
        return to_device(np.eye(dim), dtype)
    given = np.asarray(covariance, float)
    if given.shape != (dim, dim) or not np.isfinite(given).all():
        raise InvalidInput(
            f"covariance has shape {given.shape}; it must be a finite {dim} × {dim} matrix."
        )
    values, vectors = np.linalg.eigh((given + given.T) / 2)
    if np.abs(given - given.T).max() > 1e-6 * np.abs(given).max() or values[0] < -1e-6 * values[-1]:
        raise InvalidInput("covariance is not symmetric and positive semi-definite, as it must be.")
    return to_device((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T, dtype)
