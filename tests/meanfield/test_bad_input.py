"""Bad input is refused at once, in a sentence with the argument, its value and the way out."""

import math
import re

import jax.numpy as jnp
import pytest
from flow_cases import LaggedSprings, Springs, points, smooth_attention
from helpers import attention, cloud

from landscapes import Neuron, NoLimitWarning
from meanfield import Checkpoints, GradientFlow, at, simulate
from meanfield.flows import Diffusion, scheme_from
from particles import Ensemble, InvalidInput

NAN = float("nan")


def run(landscape=None, start=None, *, flow=None, **options) -> None:
    flow = GradientFlow(Springs() if landscape is None else landscape, **(flow or {}))
    start = points() if start is None else start
    simulate(flow, start, **{"horizon": 1.0, "dt": 0.1} | options)


@pytest.mark.parametrize("dt", [0.0, -0.1, NAN, math.inf])
def test_steps(dt: float) -> None:
    with pytest.raises(InvalidInput, match=f"dt is {dt}; the step must be positive and finite"):
        run(dt=dt)
    state = GradientFlow(Springs()).start(points(), 0.1)
    with pytest.raises(InvalidInput, match=f"dt is {dt}; the step must be positive and finite"):
        run(start=state, dt=dt)


@pytest.mark.parametrize("horizon", [0.0, -1.0, NAN, math.inf])
def test_horizons(horizon: float) -> None:
    with pytest.raises(InvalidInput, match=f"horizon is {horizon}; .* after the start at time 0"):
        run(horizon=horizon)


@pytest.mark.parametrize("ratio", [0.0, -1.0, NAN])
def test_ratios(ratio: float) -> None:
    with pytest.raises(InvalidInput, match=rf"ratio is {ratio}; it must be positive, math\.inf"):
        GradientFlow(LaggedSprings(), ratio=ratio)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dt": None}, "dt is missing; give the step size"),
        ({"flow": {"ratio": 1.0}}, "ratio is given, but the landscape has no fast variables"),
        ({"fast": jnp.ones(2)}, "fast is given, but ratio is None (the two-timescale limit)"),
        ({"start": points().with_particles(jnp.array([[1.0, NAN]]))}, "ensemble[0, 1] is nan"),
        (
            {"start": Ensemble(jnp.array([[1, 2]]))},
            "ensemble holds particles of types {'particles': 'int64'}; a flow needs one",
        ),
        (
            {"start": Ensemble({"a": jnp.ones((2, 1)), "b": jnp.ones((2, 1), "float32")})},
            "{'a': 'float64', 'b': 'float32'}; a flow needs one floating-point type",
        ),
        (
            {"landscape": smooth_attention(), "start": Ensemble(Neuron(jnp.ones((4, 2)),
                                                                       jnp.ones((4, 5))))},
            "needs Neuron(a=(2,), w=(3,))",
        ),
    ],
)  # fmt: skip
def test_sentences(options: dict, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        run(**options)


def test_a_bad_seed_of_a_batch_is_named() -> None:
    batch = Ensemble(jnp.ones((3, 5, 2)).at[1, 2, 0].set(NAN))
    with pytest.raises(InvalidInput, match=re.escape("start[1, 2, 0] is nan")):
        run(start=batch, batch=True)


def test_schemes() -> None:
    with pytest.raises(InvalidInput, match=r"scheme is 'rk4'; choose .*'tsit5', 'jko', 'adaptive'"):
        GradientFlow(Springs(), scheme="rk4")
    for tolerances in ({"rtol": 0.0}, {"atol": -1.0}, {"rtol": NAN}):
        with pytest.raises(InvalidInput, match="both must be positive"):
            scheme_from("adaptive", **tolerances)


@pytest.mark.parametrize("options", [{"every_steps": 0}, {"keep": 0}])
def test_checkpoints(options: dict, tmp_path) -> None:
    with pytest.raises(InvalidInput, match="both must be at least 1"):
        Checkpoints(tmp_path, **options)


def test_a_step_beyond_the_horizon() -> None:
    with pytest.raises(InvalidInput, match=r"dt is 5, but horizon is 0\.5, only 0\.5 after"):
        run(dt=5.0, horizon=0.5)
    state = GradientFlow(Springs()).start(points(), 0.1)
    with pytest.raises(InvalidInput, match="dt is 2, but horizon is 1"):
        run(start=state, dt=2.0)
    run(dt=5.0, horizon=0.5, flow={"scheme": "adaptive"})  # only a first guess there


def test_a_step_that_never_arrives() -> None:
    with pytest.raises(InvalidInput, match="that takes 1e\\+300 steps, and a run has at most"):
        run(dt=1e-300)
    single = Springs(dtype="float32")
    with pytest.raises(InvalidInput, match="dt is 1e-300, which float32 does not resolve"):
        run(single, points(dtype="float32"), dt=1e-300)


@pytest.mark.parametrize("time", [-1.0, NAN, math.inf])
def test_times_that_are_none(time: float) -> None:
    with pytest.raises(InvalidInput, match=f"when holds {time}; times must be finite"):
        at(0.0, time)


def test_times_never_reached() -> None:
    for options in ({"snapshots": at(0.0, 9.0)}, {"record": at(9.0)}):
        with pytest.raises(InvalidInput, match="9, which the run never reaches: it ends at 1"):
            run(**options)


def test_jumps() -> None:
    with pytest.raises(InvalidInput, match=r"scheme is adaptive, .* with Diffusion choose a fixed"):
        GradientFlow(Springs(), scheme="adaptive", jumps=(Diffusion(0.1),))
    with pytest.raises(InvalidInput, match="with batch_size choose a fixed"):
        GradientFlow(Springs(), scheme="adaptive", batch_size=2)


def test_a_start_of_zero_mean_output_warns() -> None:
    flow = GradientFlow(attention())
    with (  # the horizon is refused only afterwards, which saves the run
        pytest.warns(NoLimitWarning),
        pytest.raises(InvalidInput),
    ):
        simulate(flow, cloud(), horizon=-1.0, dt=0.1)
