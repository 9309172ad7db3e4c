"""The cost of one step: from the formula, and from the compiled program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from landscapes import AbstractLandscape
from particles import Ensemble, InvalidInput

from ..flows import AbstractFlow, AbstractSchemeFlow, Proximal
from ._kernels import Kernel, kernels_of


class Cost(NamedTuple):
    """Work of one call.

    Args:
        flops: floating-point operations without the special functions.
        activations: evaluations of special functions.
        bytes: read and written by kernels, were nothing kept between them.
    """

    flops: float
    activations: float
    bytes: float


@dataclass(frozen=True)
class StepCost:
    """One step of a flow on N particles: what it computes, moves, sends and holds.

    Args:
        kernels: of one evaluation of the velocity.
        evaluations: of the velocity in one step.
        compulsory: bytes that one evaluation must at least read and write: particles in both
            passes, gradients, samples.
        sent: bytes of moments that one evaluation sums over devices.
        passed: bytes of particles that one evaluation passes round a ring of devices; 0 without
            pairs.
        ensemble: bytes of the particles.
        copies: arrays like the ensemble that a step holds besides.
        fixed: bytes of the landscape and of one chunk in work.
    """

    kernels: tuple[Kernel, ...]
    evaluations: int
    compulsory: float
    sent: float
    passed: float
    ensemble: float
    copies: int
    fixed: float

    @property
    def cost(self) -> Cost:
        """Of one step."""
        total = total_of(self.kernels)
        return Cost(*(self.evaluations * part for part in total))

    def memory(self, devices: int = 1) -> float:
        """Bytes that each of a number of devices holds during a step."""
        return (1 + self.copies) * self.ensemble / devices + self.fixed


def total_of(kernels: tuple[Kernel, ...]) -> Cost:
    """The cost of all kernels together."""
    return Cost(
        sum(k.runs * k.flops for k in kernels),
        sum(k.runs * sum(k.special.values()) for k in kernels),
        sum(k.runs * k.bytes for k in kernels),
    )


def evaluation(landscape: AbstractLandscape, ensemble: Ensemble, fast: PyTree | None = None) -> Any:
    """What every stage of a scheme computes: the loss and the velocity, in one chunk."""
    return landscape.value_and_velocity(ensemble, fast, chunk=ensemble.size)


def compiled_cost(fn: Callable[..., Any], *values: Any) -> Cost:
    """What the compiler counts in a function (`cost_analysis`); nothing is run.

    It counts the body of a loop once.

    Args:
        fn: a pure function of pytrees.
        *values: arrays or shapes, among anything else.

    Example:
        >>> import jax.numpy as jnp
        >>> compiled_cost(lambda x: x @ x, jnp.ones((8, 8))).flops
        1024.0
    """
    shaped = lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)  # noqa: E731
    arrays, rest = eqx.partition(values, shaped)
    program = lambda found: eqx.filter(fn(*eqx.combine(found, rest)), eqx.is_array)  # noqa: E731
    counted: Any = jax.jit(program).lower(arrays).compile().cost_analysis()
    names = ("flops", "transcendentals", "bytes accessed")
    return Cost(*(float(counted.get(name, 0.0)) for name in names))


def sized(ensemble: Ensemble, size: int) -> Ensemble:
    """The shapes of an ensemble like this one, with `size` particles."""
    shape = lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)  # noqa: E731
    return jax.tree.map(shape, ensemble)


def step_cost(flow: AbstractFlow, like: Ensemble, size: int, chunk: int | None = None) -> StepCost:
    """What one step of a flow costs with `size` particles; nothing is run.

    (theory.md, section 8)

    Args:
        flow: on its landscape; a flow that no Runge–Kutta scheme moves counts as one evaluation.
        like: an ensemble of particles of this shape, of any number.
        size: N.
        chunk: particles held at once; chosen as the flow does by default.

    Raises:
        InvalidInput: a JKO scheme.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> from meanfield import GradientFlow
        >>> landscape = RegressionLandscape(jnp.ones((32, 3)), jnp.ones((32, 1)))
        >>> mu = neuron_start(jax.random.key(0), landscape, 4)
        >>> found = step_cost(GradientFlow(landscape, scheme="euler"), mu, 1000)
        >>> found.evaluations, found.cost.activations / (1000 * 32)  # tanh, in both passes
        (1, 2.0)
    """
    if isinstance(flow, AbstractSchemeFlow) and isinstance(flow.scheme, Proximal):
        raise InvalidInput(
            "flow.scheme is 'jko', whose step solves for a minimum in a number of passes that is "
            "not known beforehand; plan an explicit scheme, or time a short run."
        )
    landscape = _seen(flow)
    whole = sized(like, size)
    chunk = chunk or getattr(flow, "chunk", None)
    chunk = landscape.chunk(whole, chunk)
    # Passes over several chunks have nothing in common that a compiler could find.
    kernels = kernels_of(evaluation, landscape, whole, reuse=chunk == size)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), whole)
    moments = jax.eval_shape(lambda e: landscape.moments(e, chunk=size), whole)
    samples, sent = _bytes_of(landscape), _bytes_of(moments)
    ensemble, stages = _bytes_of(whole), _stages(flow)
    return StepCost(
        kernels=tuple(kernels),
        evaluations=evaluations_of(flow),
        compulsory=3 * ensemble + 2 * samples + 2 * sent,
        sent=sent,
        passed=ensemble if landscape.pairwise else 0.0,
        ensemble=ensemble,
        copies=2 + stages if stages > 1 else 1,
        fixed=samples + 4 * sent + chunk * landscape.particle_bytes(one.particles),
    )


def evaluations_of(flow: AbstractFlow) -> int:
    """Evaluations of the velocity in one step; one where no Runge–Kutta scheme moves the flow."""
    return max(1, _stages(flow) - _reused(flow))


def _seen(flow: AbstractFlow) -> AbstractLandscape:
    """The landscape that a step sees: a batch of it where the flow draws one."""
    size = getattr(flow, "batch_size", None)
    if size is None:
        return flow.landscape
    return jax.eval_shape(lambda: flow.landscape.minibatch(jax.random.key(0), size))


def _stages(flow: AbstractFlow) -> int:
    tableau = _tableau(flow)
    return 1 if tableau is None else int(tableau.num_stages)


def _reused(flow: AbstractFlow) -> int:
    """Stages that are the last one of the step before."""
    tableau = _tableau(flow)
    return 0 if tableau is None or flow.random else int(bool(tableau.fsal))


def _tableau(flow: AbstractFlow) -> Any:
    if not isinstance(flow, AbstractSchemeFlow):
        return None
    return flow.scheme.tableau


def _bytes_of(tree: PyTree) -> float:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return float(sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in leaves))
