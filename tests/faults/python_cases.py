"""Malformed inputs of the Python boundary: each a call that must raise `InvalidInput`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .input_cases import Case

CALLS: dict[str, Callable[[], Any]] = {}
PYTHON: list[Case] = []


def _case(name: str, *needles: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def listed(call: Callable[[], Any]) -> Callable[[], Any]:
        CALLS[name] = call
        PYTHON.append(Case(name, needles))
        return call

    return listed


def _landscape() -> Any:
    from landscapes import RegressionLandscape

    x = jnp.linspace(-1, 1, 8)[:, None]
    return RegressionLandscape(x, jnp.sin(3 * x))


def _start(value: float = 1.0, count: int = 3) -> Any:
    from landscapes import Neuron
    from particles import Ensemble

    return Ensemble(Neuron(a=jnp.full((count, 1), value), w=jnp.ones((count, 1))))


def _run(start: Any = None, **options: Any) -> Any:
    from meanfield import GradientFlow, simulate

    flow = GradientFlow(_landscape(), scheme=options.pop("scheme", "euler"))
    given = {"horizon": 0.2, "dt": 0.1} | options
    return simulate(flow, _start() if start is None else start, **given)


def _options(name: str, needles: tuple[str, ...], **options: Any) -> None:
    _case(f"python: simulate({name})", *needles)(lambda: _run(**options))


for value in (0.0, -1.0, float("nan"), float("inf")):
    _options(f"dt={value}", (f"dt is {value}",), dt=value)
    _options(f"horizon={value}", (f"horizon is {value}",), horizon=value)
_options("dt=None", ("dt is missing",), dt=None)
_options("dt=1e-300", ("dt is 1e-300",), dt=1e-300)
_options("dt > horizon", ("dt is 5",), dt=5.0)
_options("scheme=rk4", ("scheme is 'rk4'",), scheme="rk4")
_options("resume without checkpoints", ("resume is True",), resume=True)
_options("start=array", ("start is",), start=jnp.ones((3, 2)))
_options("start=list", ("start is list",), start=[1.0])


@_case("python: start with nan", "nan")
def _nan() -> Any:
    return _run(_start(float("nan")))


@_case("python: start of integers", "int64")
def _integers() -> Any:
    from landscapes import Neuron
    from particles import Ensemble

    return _run(Ensemble(Neuron(a=jnp.ones((3, 1), int), w=jnp.ones((3, 1), int))))


@_case("python: start in float16", "float16")
def _half() -> Any:
    from landscapes import Neuron
    from particles import Ensemble

    half = jnp.ones((3, 1), jnp.float16)
    return _run(Ensemble(Neuron(a=half, w=half)))


@_case("python: start of another landscape", "needs")
def _other() -> Any:
    from landscapes import Neuron
    from particles import Ensemble

    return _run(Ensemble(Neuron(a=jnp.ones((3, 2)), w=jnp.ones((3, 5)))))


@_case("python: no particles", "particle")
def _none() -> Any:
    return _run(_start(count=0))


@_case("python: negative weights", "weights")
def _weights() -> Any:
    from particles import Ensemble

    return Ensemble(jnp.ones((2, 1)), jnp.array([1.0, -1.0]))


@_case("python: at(-1)", "-1")
def _negative_time() -> Any:
    from meanfield import at

    return _run(record=at(-1.0))


@_case("python: at(9)", "9", "never reaches")
def _never() -> Any:
    from meanfield import at

    return _run(snapshots=at(9.0))


@_case("python: every(0)", "0")
def _every() -> Any:
    from meanfield import every

    return _run(record=every(0.0))


@_case("python: complex targets", "complex")
def _complex() -> Any:
    from landscapes import RegressionLandscape

    return RegressionLandscape(jnp.ones((4, 1)), jnp.ones((4, 1)) * 1j)


@_case("python: targets of another length", "f")
def _lengths() -> Any:
    from landscapes import RegressionLandscape

    return RegressionLandscape(jnp.ones((4, 1)), jnp.ones((5, 1)))


@_case("python: cite", "NOBODY99")
def _cite() -> Any:
    from meanfield.results import cite

    return cite("NOBODY99")


@_case("python: reproduce", "nothing")
def _reproduce() -> Any:
    from meanfield import reproduce

    return reproduce("nothing")


@_case("python: Config(particles=0)", "particles is 0")
def _config() -> Any:
    from meanfield import Config, load

    return load(Config(particles=0))


@_case("python: sizes of a study", "sizes")
def _sizes() -> Any:
    from meanfield import GradientFlow, convergence_study

    draw = lambda key, size: _start(count=size)  # noqa: E731
    flow = GradientFlow(_landscape(), scheme="euler")
    return convergence_study(
        flow, draw, key=jax.random.key(0), horizon=1.0, dt=0.1, sizes=[5], reference=64
    )


@_case("python: bad ensemble file", "particles of shapes")
def _file() -> Any:
    import tempfile
    from pathlib import Path

    from particles import load_ensemble

    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "a.npz", b=np.ones((3, 3)))
        return load_ensemble(Path(folder) / "a.npz", like=_landscape().particle)
