"""The same task on other samples: resampled, drawn afresh, or by quasi-Monte Carlo."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from particles import InvalidInput
from particles.internal import compiled_once

from .._base import Landscape
from ._neurons import NeuronLandscape, samples_of
from ._samples import EVENLY, draw_inputs

#: Draws a landscape of a given number of samples, as its key says.
Redraw = Callable[[Key[Array, ""], int], Landscape]
Method = Literal["plain", "quasi"]


def bootstrap(landscape: Landscape) -> Redraw:
    """Draws landscapes on samples taken with replacement from this one's.

    Their spread is that which other samples of the same number would have caused. A landscape that
    is no network, or of Hermite modes, draws fresh prompts instead (`Landscape.minibatch`).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.eye(3), jnp.ones((3, 1)))
        >>> bootstrap(landscape)(jax.random.key(0), 5).x.shape
        (5, 3)
    """
    samples = samples_of(landscape)
    if samples is None:
        return landscape.minibatch
    x, f = samples

    def redraw(key: Array, size: int) -> Landscape:
        own_x, own_f = _with_replacement(key, x, f, _checked(size))
        return landscape.replace(x=own_x, f=own_f)

    return redraw


@functools.partial(compiled_once, static_argnums=3)
def _with_replacement(key: Array, x: Array, f: Array, size: int) -> tuple[Array, Array]:
    rows = jax.random.randint(key, (size,), 0, x.shape[0])
    return x[rows], f[rows]


def fresh_samples(
    landscape: Landscape,
    target: Callable[[Array], Array],
    *,
    distribution: str | Callable[..., Array] = "normal",
    method: Method = "plain",
) -> Redraw:
    """Draws landscapes on fresh inputs with the same targets.

    Args:
        landscape: of networks; gives activation, ridge, prompt length and input dimension.
        target: f°, from inputs `(samples, inputs)` to `(samples, outputs)`.
        distribution: of the inputs, as in `draw_inputs`; with `"quasi"` one of its names.
        method: `"plain"` for independent samples; `"quasi"` for scrambled Sobol points, whose
            averages of smooth functions err less. Their numbers are powers of two.

    Raises:
        InvalidInput: an unknown method, quasi-Monte Carlo of a distribution without a name, or a
            landscape that is not of networks.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape
        >>> landscape = RegressionLandscape(jnp.ones((4, 2)), jnp.ones((4, 2)))
        >>> redraw = fresh_samples(landscape, jnp.tanh, method="quasi")
        >>> redraw(jax.random.key(0), 8).x.shape
        (8, 2)
    """
    network = landscape.unwrapped
    if not isinstance(network, NeuronLandscape):
        raise InvalidInput(
            f"landscape is a {type(network).__name__}, which has no samples to draw afresh; give "
            "one of two-layer networks."
        )
    if method not in ("plain", "quasi"):
        raise InvalidInput(f"method is {method!r}; choose 'plain' or 'quasi'.")
    if method == "quasi" and (callable(distribution) or distribution not in EVENLY):
        raise InvalidInput(
            f"distribution is {distribution!r}; quasi-Monte Carlo needs one of {list(EVENLY)}."
        )

    def redraw(key: Array, size: int) -> Landscape:
        dim = network.x.shape[1]
        _checked(size)
        if method == "quasi" and size & (size - 1):
            raise InvalidInput(f"size is {size}; Sobol points are balanced for powers of two only.")
        points = "sobol" if method == "quasi" else "random"
        x = draw_inputs(key, size, dim, distribution, points=points)
        x = jnp.asarray(x, network.x.dtype)
        return landscape.replace(x=x, f=target(x))

    return redraw


def _checked(size: int) -> int:
    if size < 1:
        raise InvalidInput(f"size is {size}; a landscape needs at least one sample.")
    return size
