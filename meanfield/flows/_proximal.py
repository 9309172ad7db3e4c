"""The JKO scheme: every step minimises the energy plus the squared distance over 2dt."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Bool, Float, Int, PyTree

from landscapes import Observable

from ._scheme import AbstractScheme, Field

ITERATIONS = 200  # of Newton's method, at most
PRODUCTS = 200  # Hessian products for one direction, at most
HALVINGS = 30  # of one direction, at most
SUFFICIENT = 1e-4  # share of the promised decrease that a step must show
STEEP = 1e-3  # least cosine between a direction and the steepest descent
TOLERANCE = 5e-7  # residual left, relative, or what rounding lets be
FORCING = 0.1  # residual left in a direction, relative, at most


class Seen(NamedTuple):
    """A candidate of the minimisation.

    Args:
        particles: where.
        value: energy plus ‖θ' − θ‖²/(2dt).
        residual: θ' − θ + dt ∇δL/δμ, dt times its gradient.
        size: norm of the residual.
    """

    particles: PyTree
    value: Float[Array, ""]
    residual: PyTree
    size: Float[Array, ""]


class Progress(NamedTuple):
    """The loop of Newton's method."""

    now: Seen
    iteration: Int[Array, ""]
    going: Bool[Array, ""]


class Proximal(AbstractScheme):
    """θ' = argmin L(θ') + ‖θ' − θ‖²_μ/(2dt): the JKO scheme in the metric of the particles (JKO98).

    Newton's method; directions by conjugate gradients on Hessian products, turned downhill where
    the curvature is negative, and shortened until the minimised sum falls. So L falls at every
    step, whatever its size and however stiff the energy: L(θ) − L(θ') ≥ ‖θ' − θ‖²/(2dt). Of order
    one. Where the sum has several minima the one downhill from θ is taken, and where it is not
    smooth the search may end before a minimum; the record `proximal_residual`, ‖θ' − θ + dt∇V‖ over
    its value at the start of the step, tells. (theory.md, section 14)
    """

    order: int = eqx.field(static=True, default=1)

    def start(self, field: Field, dt: Array, y: Any) -> Float[Array, ""]:
        """No step has been taken: a residual of zero."""
        return jnp.zeros_like(y.dissipated)

    def numbers(self, carried: Float[Array, ""]) -> dict[str, Observable]:
        """The residual of the last step."""
        return {"proximal_residual": Observable(carried)}

    @property
    def title(self) -> str:
        """As on the command line."""
        return "JKO"

    def step(
        self, field: Field, dt: Array, y: Any, carried: Array, jumped: Bool[Array, ""]
    ) -> tuple[Any, Bool[Array, ""], Float[Array, ""], Array]:
        """The minimiser; ‖θ' − θ‖²/dt is counted as dissipated, of which L loses half at least."""
        landscape, origin = field.landscape, field.ensemble.with_particles(y.particles)
        precision = jnp.finfo(dt.dtype).eps
        tolerance = jnp.maximum(TOLERANCE, 32 * precision)

        def look(particles: PyTree) -> Seen:
            mu = origin.with_particles(particles)
            found = landscape.first_order(mu, y.fast, chunk=field.chunk)
            moved = jax.tree.map(jnp.subtract, particles, y.particles)
            value = found.value + 0.5 * origin.inner(moved, moved) / dt
            residual = jax.tree.map(lambda m, g: m + dt * g, moved, found.gradient)
            return Seen(particles, value, residual, origin.norm(residual))

        def direction(now: Seen) -> tuple[PyTree, Array]:
            mu = origin.with_particles(now.particles)
            curvature = landscape.curvature(mu, y.fast, chunk=field.chunk)
            down = -origin.to_vector(now.residual)

            def product(v: Array) -> Array:
                return v + dt * origin.to_vector(curvature(origin.to_field(v)))

            forcing = jnp.minimum(FORCING, jnp.sqrt(now.size / first.size))
            v, _ = cg(product, down, tol=forcing, maxiter=PRODUCTS)  # pyright: ignore
            v = jnp.where(v @ down < 0, -v, v)
            steep = v @ down >= STEEP * jnp.linalg.norm(v) * jnp.linalg.norm(down)
            v = jnp.where(steep & jnp.isfinite(v).all(), v, down)
            return origin.to_field(v), -(v @ down) / dt

        def enough(now: Seen, new: Seen, share: Array, slope: Array) -> Array:
            falls = new.value <= now.value + SUFFICIENT * share * slope
            # Where rounding hides the fall of the value, that of its gradient is seen still.
            level = jnp.abs(new.value - now.value) <= 8 * precision * jnp.abs(now.value)
            return falls | (level & (new.size <= 0.5 * now.size))

        def iterate(progress: Progress) -> Progress:
            now = progress.now
            along, slope = direction(now)

            def at(share: Array) -> Seen:
                return look(jax.tree.map(lambda x, p: x + share * p, now.particles, along))

            def halve(tried: tuple[Array, Seen]) -> tuple[Array, Seen]:
                return 0.5 * tried[0], at(0.5 * tried[0])

            # Shorter ones are lost in the rounding of the particles.
            least = precision * origin.norm(now.particles) / origin.norm(along)
            least = jnp.maximum(least, 0.5**HALVINGS)

            def short(tried: tuple[Array, Seen]) -> Array:
                return ~enough(now, tried[1], *(tried[0], slope)) & (tried[0] > least)

            one = jnp.ones_like(dt)
            share, new = jax.lax.while_loop(short, halve, (one, at(one)))
            taken = enough(now, new, share, slope) & jnp.isfinite(new.value)
            kept = jax.tree.map(lambda a, b: jnp.where(taken, a, b), new, now)
            going = taken & (kept.size > tolerance * first.size)
            return Progress(kept, progress.iteration + 1, going)

        first = look(y.particles)
        start = Progress(first, jnp.zeros((), jnp.int32), first.size > 0)
        more = lambda p: p.going & (p.iteration < ITERATIONS)  # noqa: E731
        now = jax.lax.while_loop(more, iterate, start).now
        moved = jax.tree.map(jnp.subtract, now.particles, y.particles)
        spent = y.dissipated + origin.inner(moved, moved) / dt
        # A start without numbers moves nothing, and must not pass for a step.
        spent = jnp.where(jnp.isfinite(first.value + first.size), spent, jnp.nan)
        left = jnp.where(first.size > 0, now.size / jnp.where(first.size > 0, first.size, 1), 0)
        new = y._replace(particles=now.particles, dissipated=spent)
        return new, jnp.asarray(True), dt, left.astype(carried.dtype)
