"""The N → ∞ study against a flow solved in closed form, and against what it must notice."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from commands import meanfield
from flow_cases import Springs
from helpers import attention

from landscapes import neuron_start
from meanfield import GradientFlow, Outcome, convergence_study
from meanfield.flows import Resampling
from meanfield.reports import convergence_result
from meanfield.runs import RunInterrupted
from meanfield.studies import MEASURE, MEASURES, fit_exponent
from meanfield.studies._limit import limit_of
from meanfield.studies._saved import SavedStudy
from particles import Ensemble, InvalidInput, gaussian

KEY = jax.random.key(2)
SIZES = [4, 8, 16, 32]


def draw(key: jax.Array, size: int) -> Ensemble:
    return gaussian(key, size, jax.ShapeDtypeStruct((2,), float), mean=1.0)


@pytest.fixture(scope="module")
def springs():
    flow = GradientFlow(Springs(pull=0.8, spring=0.0), scheme="tsit5")
    options = {"horizon": 1.0, "dt": 0.05, "sizes": SIZES, "seeds": 5, "times": 2}
    return convergence_study(flow, draw, key=KEY, transport=16, **options)


def test_every_error_is_the_one_of_the_solution(springs) -> None:
    """L = ½α|m|²: m(t) = e^(−αt) m(0), and all particles move by what the mean moves."""
    references = [draw(jax.random.fold_in(KEY, seed), 64).particles for seed in range(5)]
    for size in SIZES:
        for seed, whole in enumerate(np.asarray(references)):
            means = whole.reshape(-1, size, 2).mean(axis=1)
            gap = np.sum((means - whole.mean(axis=0)) ** 2, axis=1)
            for time in (0.5, 1.0):
                decay = np.exp(-0.8 * time)
                losses = 0.4 * decay**2 * np.sum(means**2, axis=1)
                expected = {
                    "coupling": gap.mean() * (1 - decay) ** 2,
                    "moments": gap.mean() * decay**2,
                    # The blocks' means average to the reference's: only their spread is left.
                    "bias": 0.4 * decay**2 * gap.mean(),
                    "fluctuation": losses.var(ddof=1),
                }
                found = springs.data.sel(time=time, size=size).isel(seed=seed)
                for name, value in expected.items():
                    assert float(found[name]) == pytest.approx(value, rel=1e-6), name


def test_exponents_and_data_of_the_study(springs) -> None:
    for name, order in {"coupling": -0.5, "moments": -0.5, "bias": -1.0}.items():
        fit = springs.exponents[name]
        assert abs(fit.exponent - order) < 4 * fit.error + 1e-6
        assert len(springs.along[name]) == 3
    assert np.isnan(springs.along["coupling"][0].exponent)  # both start from the same particles
    assert "cannot resolve" in springs.along["coupling"][0].statement
    assert springs.data.attrs["reference"] == 64
    assert springs.data["w2"].sel(size=16).notnull().sum() == 4
    assert set(springs.along) == {m.name for m in MEASURES if not m.at_horizon}
    assert set(springs.exponents) == {m.name for m in MEASURES if m.order is not None}
    assert np.all(springs.data["sinkhorn"].sel(size=[4, 8, 16]) > 0)
    assert np.all(springs.data["sliced"] > 0)


def test_the_fit_finds_the_exponent_and_covers_it() -> None:
    """Of 200 intervals of 95 %, drawn at random, between 180 and 200 hold the truth."""
    rng = np.random.default_rng(0)
    sizes, hits = 2 ** np.arange(4, 10), 0
    for _ in range(200):
        noise = 1 + 0.2 * rng.standard_normal((12, sizes.size))
        fit = fit_exponent(sizes, noise * (3 / sizes**2) * (1 + 2 / sizes), power=0.5)
        hits += fit.contains(-1.0)
    assert 180 <= hits <= 200


def test_a_fit_that_cannot_be_made_says_so() -> None:
    rng = np.random.default_rng(0)
    fit = fit_exponent(np.array([4, 8, 16, 32]), rng.standard_normal((6, 4)))
    assert np.isnan(fit.exponent)
    assert "cannot resolve" in fit.statement
    assert not fit.contains(-1.0)


def test_a_start_without_a_limit_is_named() -> None:
    """Zero-mean output weights and no ridge: the loss does not concentrate, and why."""
    landscape = attention()
    found = convergence_study(
        GradientFlow(landscape, scheme="euler"),
        lambda key, size: neuron_start(key, landscape, size, output_mean=0.0),
        key=KEY,
        horizon=0.01,
        dt=0.01,
        sizes=[8, 32, 128, 512],
        reference=4096,
        seeds=12,
        times=1,
        transport=0,
    )
    assert not found.has_limit
    assert any("has no limit as N → ∞" in concern for concern in found.concerns)
    assert any("does not concentrate" in concern for concern in found.concerns)


def test_refusals() -> None:
    flow = GradientFlow(Springs())
    options = {"key": KEY, "horizon": 1.0, "dt": 0.1}
    with pytest.raises(InvalidInput, match=r"divisor of the reference size 64 .* which 5 is not"):
        convergence_study(flow, draw, sizes=[5], reference=64, **options)
    with pytest.raises(InvalidInput, match="seeds is 1"):
        convergence_study(flow, draw, sizes=[4], seeds=1, **options)
    with pytest.raises(InvalidInput, match="transport is -1; it must be at least 0"):
        convergence_study(flow, draw, sizes=[4], transport=-1, **options)
    with pytest.raises(InvalidInput, match="blocks is 0"):
        convergence_study(flow, draw, sizes=[4], blocks=0, **options)
    redrawn = GradientFlow(Springs(), birth_death=1.0, jumps=(Resampling(0.5),))
    with pytest.raises(InvalidInput, match="random steps that ensembles cannot share"):
        convergence_study(redrawn, draw, sizes=[4], **options)

    def weighted(key: jax.Array, size: int) -> Ensemble:
        return Ensemble(draw(key, size).particles, jnp.arange(1.0, size + 1))

    with pytest.raises(InvalidInput, match="weighted particles"):
        convergence_study(flow, weighted, sizes=[4], **options)


def test_the_result_claims_shows_and_holds_the_data(springs) -> None:
    result = convergence_result(springs)
    assert [claim.predicted for claim in result.claims] == [-0.5, -0.5, -1.0, -0.5, -1.0]
    assert [claim.measured for claim in result.claims[:4]] == [
        springs.exponents[name].exponent for name in ("coupling", "fluctuation", "bias", "moments")
    ]
    assert result.data["trajectory"] is springs.data
    assert set(result.summary["exponents"]) == set(springs.exponents)
    table = next(entry for entry in result.body if isinstance(entry, str) and "| theory |" in entry)
    assert all(fit.statement in table for fit in springs.exponents.values())
    errors, fan = result.figures
    panels = (*errors.draw().axes, *fan.draw().axes)
    shown = [axes.get_legend_handles_labels()[1] for axes in panels]
    assert all(axes.get_legend() is not None for axes in panels)
    for measure in MEASURES:
        panel = shown[3 if measure.at_horizon else 0]
        assert any(text.startswith(measure.label) for text in panel), measure.name
    assert "theory: -0.5" in shown[1]
    assert "N = 64, the reference" in shown[2]


def test_effective_sizes_are_those_of_the_theory(springs) -> None:
    sizes, expected = np.array(SIZES, float), {}
    expected |= dict.fromkeys(("coupling", "bias", "moments"), 1 / (1 / sizes - 1 / 64))
    expected |= {"fluctuation": sizes, "sliced": 1 / (1 / sizes + 1 / 32)}
    expected |= {"sinkhorn": 1 / (1 / sizes[:3] + 1 / 16), "w2": sizes[:3]}
    for name, scales in expected.items():
        np.testing.assert_allclose(springs.samples(MEASURE[name])[0], scales, rtol=1e-12)
    assert len(springs.samples(MEASURE["w2"])[1]) == 4  # of five seeds


def test_richardson_removes_the_bias_of_the_limit(springs) -> None:
    """L(μ_t) = ½α e^(−2αt)|E m|², and E L of N particles lies ½α e^(−2αt)·2/N above it."""
    for record, time in enumerate((0.0, 0.5, 1.0)):
        limit, exact = springs.limit(record), 0.4 * np.exp(-1.6 * time) * 2
        assert limit.contains(exact)
        whole = springs.data["reference_loss"].isel(time=record).values
        spread = [springs.data["bias"].isel(time=record).sel(size=n).values for n in (32, 16)]
        # The bias is 1/N and nothing else, in the mean over draws: the next order is noise.
        assert limit.value == pytest.approx(np.mean(whole - spread[0]), rel=1e-9)
        assert limit.parts["extrapolation"] < limit.parts["draws"]


def test_the_limit_is_unbiased_and_its_error_covers_it() -> None:
    """E|m|² = 2 + 2/N for the mean of N points around (1, 1): of 100 intervals about 95 hold 2."""
    found = []
    for seed in range(100):
        points = np.random.default_rng(seed).normal(1.0, 1.0, (8, 64, 2))
        rows = {
            n: np.sum(points.reshape(8, -1, n, 2).mean(axis=2) ** 2, axis=-1).mean(axis=1)
            for n in (64, 32, 16)
        }
        bias = np.stack([rows[n] - rows[64] for n in (16, 32)])[None]
        data = {
            "reference_loss": (("time", "seed"), rows[64][None]),
            "bias": (("time", "size", "seed"), bias),
        }
        found.append(limit_of(xarray.Dataset(data, {"size": [16, 32]}, {"reference": 64})))
    errors = np.array([one.value - 2.0 for one in found])
    assert abs(errors.mean()) < 3 * errors.std() / 10  # the bias of N = 64 is 0.03, 1.9 of these
    hits = sum(one.contains(2.0) for one in found)
    assert hits >= 95 - 3 * np.sqrt(100 * 0.95 * 0.05)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options",
    [{"transport": 16}, {"transport": 16, "distance_seeds": 1}, {"distance_seeds": 0}],
)
def test_two_seeds_give_what_is_defined_and_say_what_is_not(options: dict) -> None:
    flow = GradientFlow(Springs(), scheme="euler")
    found = convergence_study(
        flow, draw, key=KEY, horizon=0.2, dt=0.1, sizes=SIZES, seeds=2, times=1, **options
    )
    assert found.data.attrs["transport"] == options.get("transport", 32)  # half of the reference
    result = convergence_result(found)
    for figure in result.figures:
        figure.draw().canvas.draw()
    assert np.isfinite(found.exponents["fluctuation"].exponent)
    if "distance_seeds" in options:
        text = found.exponents["sinkhorn"].statement
        assert "cannot resolve an exponent" in text
        assert "at least 2" in text
        assert any(text in entry for entry in result.body if isinstance(entry, str))
        assert not next(c for c in result.claims if c.statement.startswith("Sinkhorn")).holds


def test_the_command(tmp_path) -> None:
    options: list = ["--smallest", 8, "--largest", 16, "--seeds", 2, "--problem.samples", 32]
    options += ["--horizon", 0.5]
    run = meanfield("converge", *options, "--transport", 16, "--out", tmp_path, "--json")
    assert run.code == 0, run.stderr
    result = json.loads(run.stdout)
    assert len(result["claims"]) == 5
    assert set(result["exponents"]) >= {"coupling", "fluctuation", "bias", "moments"}
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"errors.png", "fan.png", "report.md", "trajectory.nc", "config.toml"}
    bad = meanfield("converge", "--smallest", 9, "--largest", 8, "--out", tmp_path)
    assert bad.code == 2
    assert "smallest is 9 and largest is 8" in bad.sentence


@pytest.mark.slow
def test_a_study_that_is_stopped_goes_on_bit_for_bit(tmp_path, monkeypatch) -> None:
    """Stopped after each part but the last, also with a part that is damaged afterwards."""
    distances = {"transport": 16, "exact_seeds": 1, "distance_seeds": 1}
    options: dict[str, Any] = {"key": KEY, "horizon": 0.4, "dt": 0.1, "seeds": 2, **distances}
    options.update(sizes=SIZES[2:], times=2)
    flow = GradientFlow(Springs(), scheme="euler")
    undisturbed = convergence_study(flow, draw, **options).data
    keep, kept = SavedStudy.keep, []

    def keep_and_stop(self, name, part) -> None:
        keep(self, name, part)
        kept.append(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(SavedStudy, "keep", keep_and_stop)
    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            convergence_study(flow, draw, saved=tmp_path, resume=bool(kept), **options)
        if len(kept) == 3:
            (tmp_path / "errors-1-16.npz").write_bytes(b"PK junk")
    monkeypatch.undo()
    assert kept[2:4] == ["errors-2-16", "errors-1-16"]
    resumed = convergence_study(flow, draw, saved=tmp_path, resume=True, **options).data
    xarray.testing.assert_identical(resumed, undisturbed)
    with pytest.raises(InvalidInput, match="holds the parts of an earlier study; resume it"):
        convergence_study(flow, draw, saved=tmp_path, **options)
    more: dict[str, Any] = options | {"seeds": 3}
    with pytest.raises(InvalidInput, match=r"seeds is 3, but the study in .* was begun with 2"):
        convergence_study(flow, draw, saved=tmp_path, resume=True, **more)
    other = GradientFlow(Springs(), scheme="heun")
    with pytest.raises(InvalidInput, match="was made with another flow"):
        convergence_study(other, draw, saved=tmp_path, resume=True, **options)


def test_a_signal_ends_the_study_and_not_only_the_run_in_it(monkeypatch) -> None:
    """Half a run would be taken for a whole one."""
    monkeypatch.setattr("meanfield.runs._run.anywhere", lambda condition: True)
    options: dict = {"key": KEY, "horizon": 0.4, "dt": 0.1, "sizes": SIZES[2:], "seeds": 2}
    with pytest.raises(RunInterrupted, match="was interrupted") as stopped:
        convergence_study(GradientFlow(Springs(), scheme="euler"), draw, **options)
    assert stopped.value.run.outcome is Outcome.INTERRUPTED
