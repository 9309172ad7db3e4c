"""What a traced program computes and moves, kernel by kernel: products, fused loops, reductions.

A kernel is what a compiler makes one loop nest of: a matrix product, or elementwise operations
fused up to an array that a product, a reduction or the caller reads. (theory.md, section 8)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

#: Operations that change the shape or the place of numbers, and compute none.
VIEWS = {"broadcast_in_dim", "copy", "reshape", "squeeze", "expand_dims", "transpose", "rev"}
VIEWS |= {"convert_element_type", "slice", "dynamic_slice", "stop_gradient", "iota"}
VIEWS |= {"optimization_barrier", "sharding_constraint"}
#: Evaluations of a special function.
SPECIAL = {"tanh", "logistic", "erf", "erfc", "exp", "exp2", "expm1", "log", "log1p", "sin", "cos"}
SPECIAL |= {"pow", "sqrt", "rsqrt", "cbrt", "tan", "atan2", "sinh", "cosh", "asinh", "acosh"}
#: Reductions: they take elementwise operations in, and write little.
REDUCTIONS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or", "argmax"}
LOOPS = {"scan", "while", "cond"}
#: Not fused with anything.
ALONE = {"dot_general", "cholesky", "triangular_solve", "eigh", "svd", "qr", "lu", "sort"}
ALONE |= {"gather", "scatter", "scatter-add", "dynamic_update_slice", "concatenate", "cumsum"}


@dataclass(frozen=True)
class Kernel:
    """One loop nest of a program, and how often it runs.

    Args:
        name: the operation, or `fused`.
        flops: floating-point operations, multiplications and additions counted apart.
        special: evaluations of special functions, by name.
        bytes: read and written.
        runs: how often.
    """

    name: str
    flops: float
    special: dict[str, float]
    bytes: float
    runs: int = 1


def kernels_of(fn: Callable[..., Any], *values: Any, reuse: bool = True) -> list[Kernel]:
    """The kernels of a function, traced on values or on their shapes; nothing is computed.

    The body of a loop without a known length counts once, of a branch the costlier side.

    Args:
        fn: a pure function of pytrees.
        *values: arrays or `jax.ShapeDtypeStruct`s, among anything else.
        reuse: what is computed twice from the same arrays counts once, as compilers have it.
    """
    arrays, rest = eqx.partition(values, _has_shape)
    program = lambda found: eqx.filter(fn(*eqx.combine(found, rest)), eqx.is_array)  # noqa: E731
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)
    closed = jax.make_jaxpr(program)(shapes)
    return _kernels(closed.jaxpr, reuse)


def _has_shape(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _bytes(variable: Any) -> float:
    shape, dtype = variable.aval.shape, variable.aval.dtype
    width = dtype.itemsize if hasattr(dtype, "itemsize") else 4
    return float(math.prod(shape)) * width


@dataclass
class _Light:
    """An elementwise operation: part of the kernels that read it."""

    sources: list[Any]
    flops: float
    special: dict[str, float]
    view: bool


@dataclass
class _Graph:
    light: dict[Any, _Light] = field(default_factory=dict)
    stored: dict[Any, float] = field(default_factory=dict)  # light values that were written
    counted: set[Any] = field(default_factory=set)
    kernels: list[Kernel] = field(default_factory=list)

    def cone(self, variable: Any) -> tuple[set[Any], float, dict[str, float]]:
        """Arrays that a fused value is computed from, and the work not yet counted."""
        sources: set[Any] = set()
        flops, open_ = 0.0, [variable]
        special: dict[str, float] = {}
        seen: set[Any] = set()
        while open_:
            one = open_.pop()
            if one in seen:
                continue
            seen.add(one)
            made = self.light.get(one)
            if made is None or (one in self.stored and one is not variable):
                sources.add(one)
                continue
            if one not in self.counted:
                self.counted.add(one)
                flops += made.flops
                for name, count in made.special.items():
                    special[name] = special.get(name, 0.0) + count
            open_ += made.sources
        return sources, flops, special

    def store(self, variable: Any) -> Any:
        """Make sure an operand of a product is in memory; returns the array that is read."""
        while (made := self.light.get(variable)) is not None and variable not in self.stored:
            if made.view and len(made.sources) == 1:
                variable = made.sources[0]
                continue
            if made.view and not made.sources:  # constants
                return None
            sources, flops, special = self.cone(variable)
            self.stored[variable] = size = _bytes(variable)
            moved = size + sum(map(_bytes, sources))
            self.kernels.append(Kernel("fused", flops, special, moved))
        return variable

    def reduce(self, equation: Any, sources: list[Any]) -> None:
        """A reduction, fused with what it reads."""
        flops, special, read = _size(equation.invars), {}, 0.0
        for source in sources:
            inner, more, functions = {source}, 0.0, {}
            if source in self.light and source not in self.stored:
                inner, more, functions = self.cone(source)
            read += sum(map(_bytes, inner))
            flops, special = flops + more, special | functions
        moved = read + sum(map(_bytes, equation.outvars))
        self.kernels.append(Kernel(equation.primitive.name, flops, special, moved))


class _Operation(NamedTuple):
    equation: Any
    sources: list[Any]


def _kernels(jaxpr: Any, reuse: bool) -> list[Kernel]:
    operations, outs = _flat(jaxpr, reuse)
    graph = _Graph()
    for equation, sources in _live(operations, outs):
        name = equation.primitive.name
        if name in LOOPS:
            graph.kernels += _repeated(equation, reuse)
        elif name in ALONE:
            read = sum(_bytes(v) for s in sources if (v := graph.store(s)) is not None)
            moved = read + sum(map(_bytes, equation.outvars))
            graph.kernels.append(Kernel(name, _alone_flops(equation), {}, moved))
        elif name in REDUCTIONS:
            graph.reduce(equation, sources)
        else:
            size, view = _size(equation.outvars), name in VIEWS
            special = {name: size} if name in SPECIAL else {}
            counts = not (view or special) and jnp.issubdtype(
                equation.outvars[0].aval.dtype, jnp.floating
            )
            for out in equation.outvars:
                graph.light[out] = _Light(sources, size if counts else 0.0, special, view)
    for out in outs:
        graph.store(out)
    return graph.kernels


def _flat(jaxpr: Any, reuse: bool) -> tuple[list[_Operation], list[Any]]:
    """All operations, those inside of calls written out, and the variables of the results."""
    names: dict[Any, Any] = {}
    found: list[_Operation] = []
    earlier: dict[Any, Any] = {}

    def named(variables: Iterable[Any]) -> list[Any]:
        return [v if hasattr(v, "val") else names.get(v, v) for v in variables]

    def visit(jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            given, body = named(equation.invars), _inlined(equation)
            if body is None:
                known = equation
                if reuse and equation.primitive.name not in LOOPS:
                    known = earlier.setdefault(_word(equation, given), equation)
                if known is equation:
                    found.append(_Operation(equation, [v for v in given if not hasattr(v, "val")]))
                names.update(zip(equation.outvars, known.outvars, strict=True))
                continue
            names.update(zip(body.invars, given[-len(body.invars) :], strict=False))
            visit(body)
            names.update(zip(equation.outvars, named(body.outvars), strict=False))

    visit(jaxpr)
    return found, [v for v in named(jaxpr.outvars) if not hasattr(v, "val")]


def _word(equation: Any, given: list[Any]) -> Any:
    """What an operation computes: equal words, equal results."""
    operands = tuple(repr(v.val) if hasattr(v, "val") else v for v in given)
    return equation.primitive.name, operands, str(equation.params)


def _live(operations: list[_Operation], outs: list[Any]) -> list[_Operation]:
    """Without those that no result depends on."""
    wanted, kept = set(outs), []
    for operation in reversed(operations):
        if not wanted.isdisjoint(operation.equation.outvars):
            wanted.update(operation.sources)
            kept.append(operation)
    return kept[::-1]


def _size(variables: Iterable[Any]) -> float:
    return float(max((math.prod(v.aval.shape) for v in variables), default=0))


def _inlined(equation: Any) -> Any:
    """The program inside a call, which is as if written out."""
    if equation.primitive.name in LOOPS:
        return None
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(key)
        if inner is not None:
            return getattr(inner, "jaxpr", inner)
    return None


def _repeated(equation: Any, reuse: bool) -> list[Kernel]:
    name, given = equation.primitive.name, equation.params
    if name == "cond":
        sides = [_kernels(branch.jaxpr, reuse) for branch in given["branches"]]
        return max(sides, key=lambda side: sum(k.bytes + k.flops for k in side))
    body = given["jaxpr"] if name == "scan" else given["body_jaxpr"]
    times = int(given.get("length", 1))
    found = _kernels(body.jaxpr, reuse)
    return [Kernel(k.name, k.flops, k.special, k.bytes, k.runs * times) for k in found]


def _alone_flops(equation: Any) -> float:
    name, shape = equation.primitive.name, equation.invars[0].aval.shape
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        inner = math.prod(int(shape[axis]) for axis in contracted)
        return 2.0 * inner * _size(equation.outvars)
    if name == "triangular_solve":
        return float(shape[-1]) * _size(equation.outvars)
    if name in ("cholesky", "eigh", "svd", "qr", "lu"):
        factor = {"cholesky": 1 / 3, "lu": 2 / 3, "qr": 4 / 3, "eigh": 9.0, "svd": 20.0}[name]
        return factor * float(np.prod(shape)) * float(shape[-1])
    return _size(equation.outvars)
