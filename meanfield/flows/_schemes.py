"""Time-stepping schemes by name: diffrax's solvers (KID21) in our own loop, and JKO."""

from __future__ import annotations

import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from particles import InvalidInput

from ._proximal import Proximal
from ._scheme import AbstractScheme, Field


class Scheme(AbstractScheme):
    """A Runge–Kutta scheme; with tolerances its error estimate controls the step.

    Args:
        solver: one of diffrax's explicit solvers.
        order: order of convergence that theory promises (a test measures it).
        rtol: relative tolerance; `None` for a fixed step.
        atol: absolute tolerance.

    Example:
        >>> scheme_from("heun").order
        2
    """

    solver: diffrax.AbstractSolver
    order: int = eqx.field(static=True)
    rtol: Float[Array, ""] | None = None
    atol: Float[Array, ""] | None = None

    @property
    def adaptive(self) -> bool:
        """Whether the step size follows the error estimate."""
        return self.rtol is not None

    @property
    def tolerance(self) -> float:
        """That of the error estimate."""
        return 0.0 if self.rtol is None else float(self.rtol)

    @property
    def tableau(self) -> Any:
        """Of the solver."""
        return getattr(self.solver, "tableau", None)

    @property
    def title(self) -> str:
        """The solver's name."""
        return type(self.solver).__name__

    # The flow does not depend on time, so every step is taken from time zero: as (time + dt) − time
    # the step would lose digits, all of them in float32 after a few million steps.

    def start(self, field: Field, dt: Array, y: PyTree) -> PyTree:
        """What the scheme carries from step to step (last slope, controller's memory)."""
        term, now = field.term, jnp.zeros_like(dt)
        carried = self.solver.init(term, now, dt, y, None)
        if not self.adaptive:
            return carried, None
        _, memory = self._controller().init(
            term, now, dt, y, dt, None, self.solver.func, self._error_order(term)
        )
        return carried, memory

    def step(
        self,
        field: Field,
        dt: Array,
        y: PyTree,
        carried: PyTree,
        jumped: Bool[Array, ""],
    ) -> tuple[PyTree, Bool[Array, ""], Float[Array, ""], PyTree]:
        """One step: the new state, whether to accept it, the next step size, what to carry.

        With error control a step into non-finite numbers counts as one of infinite error.
        """
        term, now = field.term, jnp.zeros_like(dt)
        carried_solver, memory = carried
        candidate, error, _, stepped, _ = self.solver.step(
            term, now, dt, y, None, carried_solver, jumped
        )
        if not self.adaptive:
            return candidate, jnp.asarray(True), dt, (stepped, None)
        sound = _all_finite((candidate, error))
        error = jax.tree.map(lambda e: jnp.where(sound, e, jnp.inf), error)
        reached = jax.tree.map(lambda new, old: jnp.where(sound, new, old), candidate, y)
        keep, start, end, _, memory, _ = self._controller().adapt_step_size(
            now, dt, y, reached, None, error, self._error_order(term), memory
        )
        stepped = jax.tree.map(lambda new, old: jnp.where(keep, new, old), stepped, carried_solver)
        return candidate, jnp.asarray(keep), jnp.asarray(end - start), (stepped, memory)

    def _controller(self) -> diffrax.PIDController:
        return diffrax.PIDController(rtol=self.rtol, atol=self.atol)  # pyright: ignore

    def _error_order(self, term: diffrax.ODETerm) -> Any:
        return self.solver.error_order(term)


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]).all()


#: Fixed-step schemes by name, with their order of convergence.
FIXED: dict[str, tuple[type[diffrax.AbstractSolver], int]] = {
    "euler": (diffrax.Euler, 1),
    "heun": (diffrax.Heun, 2),
    "bosh3": (diffrax.Bosh3, 3),
    "tsit5": (diffrax.Tsit5, 5),
}


def scheme_from(
    name: str | AbstractScheme, *, rtol: float = 1e-6, atol: float = 1e-9
) -> AbstractScheme:
    """The scheme called `name`: `euler`, `heun`, `bosh3`, `tsit5`, `jko`, or `adaptive`.

    Args:
        name: `adaptive` is Tsit5 with the step controlled by its embedded error estimate.
        rtol: relative tolerance per step of `adaptive`.
        atol: absolute tolerance per step of `adaptive`, in units of the particles.

    Warns where the default precision cannot resolve `rtol`.

    Raises:
        InvalidInput: unknown name, or tolerances not positive.
    """
    if isinstance(name, AbstractScheme):
        return name
    if name == "jko":
        return Proximal()
    if name == "adaptive":
        if not (rtol > 0 and atol > 0):
            raise InvalidInput(f"rtol is {rtol} and atol is {atol}; both must be positive.")
        dtype = jnp.result_type(float)
        finest = 4 * float(jnp.finfo(dtype).eps)
        if rtol < finest:
            warnings.warn(
                f"rtol is {rtol}, but {dtype} resolves no less than {finest:.0e}; the steps will "
                "be needlessly small" + (": turn on jax_enable_x64." if finest > 1e-8 else "."),
                stacklevel=2,
            )
        return Scheme(diffrax.Tsit5(), 5, jnp.asarray(rtol, dtype), jnp.asarray(atol, dtype))
    if name not in FIXED:
        raise InvalidInput(f"scheme is {name!r}; choose one of {[*FIXED, 'jko', 'adaptive']}.")
    solver, order = FIXED[name]
    return Scheme(solver(), order)
