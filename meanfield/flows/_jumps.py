"""What happens to an ensemble between two steps: diffusion, resampling, projection, your own."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from particles import Ensemble, InvalidInput

from ._base import Balance, scalar
from ._noise import normals


class Jump(eqx.Module):
    """A change of the ensemble after every step, (key, dt, ensemble) ↦ ensemble.

    Derive from it, write `__call__`, and declare what differs from the defaults.

    Example:
        >>> class Damped(Jump):
        ...     '''Shrinks all particles at unit rate.'''
        ...
        ...     def __call__(self, key, dt, ensemble):
        ...         shrunk = jax.tree.map(lambda leaf: leaf * jnp.exp(-dt), ensemble.particles)
        ...         return ensemble.with_particles(shrunk)
        >>> Damped().random
        False
    """

    #: Whether it draws from its key.
    random: ClassVar[bool] = False
    #: Share of the energy balance that it leaves standing: 1 where it leaves the energy alone, 0
    #: where it may undo what the flow has won, but adds nothing; `None` where it may add energy.
    share: ClassVar[float | None] = 0.0
    #: Whether an error estimate would take it for error, so that the step must be fixed.
    fixed_step: ClassVar[bool] = False
    #: Whether particle i stays particle i: otherwise momenta would no longer fit.
    keeps_order: ClassVar[bool] = True
    #: Whether it also takes a key for each particle, draws a particle's noise from that alone, and
    #: jumps of dt/2 twice are in law one of dt: then ensembles can share their noise.
    shares_noise: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(
        self, key: Key[Array, ""] | None, dt: Float[Array, ""], ensemble: Ensemble
    ) -> Ensemble:
        """The ensemble after a step of size `dt`; pure, with arrays of unchanged shapes."""

    def describe(self) -> dict[str, str | int | float]:
        """How it is set up, as plain values for the attributes of files."""
        return {type(self).__name__.lower(): 1}


class Diffusion(Jump):
    """√(2τ) dB on every particle: mean-field Langevin dynamics (HRSS21), with the flow's drift.

    With the gradient flow it descends the free energy L(μ) + τ ∫ log μ dμ (see `free_energy`). The
    noise follows each step of the scheme, so with `euler` this is Euler–Maruyama; it is of weak
    order one with any scheme.

    Args:
        temperature: τ ≥ 0, in units of the loss.

    Raises:
        InvalidInput: a negative or infinite temperature.
    """

    temperature: Float[Array, ""]
    random: ClassVar[bool] = True
    share: ClassVar[float | None] = None
    fixed_step: ClassVar[bool] = True
    shares_noise: ClassVar[bool] = True

    def __init__(self, temperature: float):
        require_rate("temperature", temperature)
        self.temperature = scalar(temperature)

    def __call__(
        self, key: Key[Array, "..."] | None, dt: Float[Array, ""], ensemble: Ensemble
    ) -> Ensemble:
        """Independent normal noise of variance 2τ dt on every coordinate of every particle."""
        assert key is not None
        scale = jnp.sqrt(2 * self.temperature * dt)
        noise = normals(key, ensemble.particles)
        moved = jax.tree.map(
            lambda leaf, z: leaf + scale.astype(leaf.dtype) * z, ensemble.particles, noise
        )
        return ensemble.with_particles(moved)

    def describe(self) -> dict[str, str | int | float]:
        """The temperature."""
        return {"temperature": float(self.temperature)}


class Resampling(Jump):
    """Particles redrawn in proportion to their weights, once few carry most of the mass.

    Systematic resampling: particle i appears ⌊N p_i⌋ or ⌈N p_i⌉ times, N p_i on average, with equal
    weights. Nothing changes while 1/Σp² ≥ `below`·N, or without weights.

    Args:
        below: share of N, in (0, 1].

    Raises:
        InvalidInput: a share out of range.
    """

    below: Float[Array, ""]
    random: ClassVar[bool] = True
    share: ClassVar[float | None] = None
    keeps_order: ClassVar[bool] = False

    def __init__(self, below: float):
        if not 0 < below <= 1:
            raise InvalidInput(f"below is {below}; it must lie in (0, 1].")
        self.below = scalar(below)

    def __call__(
        self, key: Key[Array, ""] | None, dt: Float[Array, ""] | float, ensemble: Ensemble
    ) -> Ensemble:
        """The ensemble, redrawn if its effective size is too small."""
        if ensemble.weights is None:
            return ensemble
        assert key is not None
        size = ensemble.size
        shift = jax.random.uniform(key, (), ensemble.weights.dtype)
        points = (jnp.arange(size) + shift) / size
        rows = jnp.minimum(jnp.searchsorted(jnp.cumsum(ensemble.weights), points), size - 1)
        redrawn = ensemble.with_particles(jax.tree.map(lambda leaf: leaf[rows], ensemble.particles))
        redrawn = redrawn.with_weights(jnp.full_like(ensemble.weights, 1 / size))
        few = ensemble.effective_size < self.below * size
        return jax.tree.map(lambda new, old: jnp.where(few, new, old), redrawn, ensemble)

    def describe(self) -> dict[str, str | int | float]:
        """The share."""
        return {"resample_below": float(self.below)}


class Projection(Jump):
    """A map of ensembles applied after every step.

    Such as the restriction to an invariant set, which round-off would leave.

    Args:
        fn: of the ensemble.

    Example:
        >>> from particles import restrict
        >>> pinned = Projection(lambda mu: restrict(mu, jnp.array([1.0, 0.0])))
        >>> pinned(None, jnp.array(0.1), Ensemble(jnp.ones((1, 2)))).particles.tolist()
        [[1.0, 0.0]]
    """

    fn: Callable[[Ensemble], Ensemble]

    def __call__(
        self, key: Key[Array, ""] | None, dt: Float[Array, ""], ensemble: Ensemble
    ) -> Ensemble:
        """fn(ensemble)."""
        return self.fn(ensemble)


def remaining_balance(balance: Balance, jumps: Sequence[Jump]) -> Balance | None:
    """What is left of a flow's balance by the jumps between its steps."""
    share = balance.share
    for jump in jumps:
        if jump.share is None:
            return None
        share = min(share, balance.share * jump.share)
    return balance._replace(share=share)


def require_rate(name: str, value: float) -> None:
    """Refuse a negative or non-finite option."""
    if not 0 <= value < math.inf:
        raise InvalidInput(f"{name} is {value}; it must be finite and not negative.")
