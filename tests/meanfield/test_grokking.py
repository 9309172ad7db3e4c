"""The reproduction `grokking`, part by part and small."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import xarray
from results import written

from landscapes.modular_arithmetic import inverse_participation
from meanfield.reproductions import _grokking_delay as grokking_delay
from meanfield.reproductions import _grokking_fourier as grokking_fourier
from meanfield.reproductions import _grokking_neuron as grokking_neuron
from meanfield.reproductions import _grokking_runs as grokking_runs
from meanfield.reproductions import _grokking_saddles as grokking_saddles
from meanfield.reproductions import _grokking_sizes as grokking_sizes
from meanfield.reproductions import _grokking_targets as grokking_targets
from meanfield.reproductions import _grokking_template as grokking_template


def test_levels_and_kinds_of_the_constructed_saddles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinds are those that a test of the landscape finds."""
    curved = SimpleNamespace(values=[0.0])
    kinds = [
        SimpleNamespace(kind=kind, index=0, descent_order=order, smallest=curved, largest=curved)
        for kind, order in [("degenerate saddle", 3)] * 2 + [("local minimum", 0)]
    ]
    reports = iter(kinds)
    monkeypatch.setattr(grokking_saddles, "criticality_report", lambda *_: next(reports))
    found = written(grokking_saddles.saddles([5]), tmp_path)
    assert sum("Morse index" in claim.statement for claim in found.claims) == 3


def test_escape_is_hyperbolic(tmp_path: Path) -> None:
    sizes = 0.32, 0.16, 0.08, 0.04
    found = grokking_saddles.escapes(jax.random.key(0), 2, sizes[-2:], sizes)
    # Half a frequency is an amplitude of about 2, where 1/r is small beside 1/r_0.
    np.testing.assert_allclose(found.in_phase, 125 / found.amplitudes, rtol=0.05)
    written(grokking_saddles.escape(found), tmp_path)


def made(memorised: float, generalised: float, end: float = 20.0) -> xarray.Dataset:
    """A run that memorises and generalises at these times, its IPR rising only in between."""
    time = np.array([0.0, *(t for t in (memorised, generalised, end) if np.isfinite(t))])
    low = grokking_fourier.normal_participation(23)
    return xarray.Dataset(
        {
            "train_accuracy": ("time", np.where(time >= memorised, 1.0, 0.1)),
            "test_accuracy": ("time", np.where(time >= generalised, 0.95, 0.1)),
            "train_loss": ("time", np.where(time >= memorised, 1e-9, 0.04)),
            "ipr": ("time", np.where(time >= generalised, 3 * low, low + 1e-4 * time)),
        },
        coords={"time": time},
    )


def test_times_of_a_run() -> None:
    assert grokking_runs.times_of(made(1.0, 5.0)) == (1.0, 5.0)
    never = grokking_runs.times_of(made(1.0, np.inf))
    assert never[0] == 1.0
    assert np.isnan(never[1])


def test_runs_have_pairs_and_neurons_of_their_own_and_stop_when_they_generalise() -> None:
    network = grokking_runs.Network(5, 0.8, 40)
    runs = grokking_runs.over_starts(jax.random.key(1), network, 2, decay=0.1, horizon=3.0)
    assert float(runs[0]["loss"][0]) != float(runs[1]["loss"][0])
    for run in runs:
        reached = run["test_accuracy"].values >= grokking_runs.GENERALISED
        assert run["time"].values[-1] <= 3.0 + 1e-6
        # Records go on to the end of the compiled call in which it generalises.
        assert reached.any() == (run["time"].values[-1] < 2.99)
        assert run["ipr"].dims == ("time",)


def test_grokking_is_told_from_learning_at_once(tmp_path: Path) -> None:
    late, never, soon = made(1.0, 9.0), made(1.0, np.inf), made(1.0, 1.2)
    found = grokking_delay.Headline({23: [late] * 4, 31: [late] * 4}, [never] * 4, [soon] * 4)
    written(grokking_delay.grokking(found), tmp_path / "delay")
    written(grokking_fourier.fourier(found), tmp_path / "fourier")


def test_participation_of_normal_vectors() -> None:
    vectors = jax.random.normal(jax.random.key(0), (4000, 11))
    found = np.asarray(inverse_participation([vectors]))
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - grokking_fourier.normal_participation(11)) < 4 * error


def test_the_delay_has_the_exponent_it_is_made_with(tmp_path: Path) -> None:
    decays = np.array([0.01, 0.05, 0.25])
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal((4, 3)))
    late = 1 + 0.4 * noise / decays
    found = grokking_delay.Delays(decays, np.stack([np.ones_like(late), late], axis=-1))
    exponent, half = found.exponent
    assert abs(exponent + 1) < half < 0.1
    written(grokking_delay.delay(found), tmp_path)


def test_a_delay_at_every_size_is_claimed_from_the_worst_median(tmp_path: Path) -> None:
    times = np.array([[[3.0, 9.0], [1.0, 4.0]]] * 4)
    times[0, 1, 1] = np.nan  # one that never generalises
    found = grokking_sizes.TimesBySize(np.array([50, 100]), times)
    assert written(grokking_sizes.sizes(found), tmp_path).claims[0].measured == 3.0


def test_a_size_changes_the_neurons_and_not_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def follow(network, pairs, start, **_):
        seen.append((network.particles, str(pairs), str(start)))
        return made(1.0, 4.0)

    monkeypatch.setattr(grokking_sizes, "follow", follow)
    found = grokking_sizes.times_by_size(jax.random.key(0), 2, particles=[30, 60])
    assert found.times.shape == (2, 2, 2)
    assert [size for size, *_ in seen] == [30, 30, 60, 60]
    assert len({pairs for _, pairs, _ in seen}) == 1
    assert len({start for *_, start in seen}) == 4


def test_subtraction_is_told_from_what_never_generalises(tmp_path: Path) -> None:
    sums, never = [made(1.0, 4.0 + i) for i in range(4)], [made(1.0, np.inf)] * 4
    found = grokking_targets.Others(
        {
            grokking_targets.ADDITION: sums,
            grokking_targets.SUBTRACTION: sums[::-1],
            grokking_targets.QUADRATIC: never,
            grokking_targets.ENTROPY: never,
            grokking_targets.UNDECAYED: never,
        }
    )
    written(grokking_targets.targets(found), tmp_path)


def test_plateaus_are_read_where_the_loss_waits(tmp_path: Path) -> None:
    """A run that is made of the predicted levels, with drops in between."""
    levels, times = [0.90625, 0.40625, 0.125], np.arange(0.0, 40.0, 0.1)
    halves = np.array([10.0, 20.0, 30.0])
    shares = 1 / (1 + np.exp(-4 * (times[:, None] - halves)))
    loss = levels[0] - shares @ -np.diff([*levels, 0.0])
    run = xarray.Dataset(
        {"loss": ("time", loss), "learned_fraction": (("time", "feature"), shares)},
        coords={"time": times},
    )
    found = grokking_template.read([run] * 4)
    np.testing.assert_allclose(found.plateaus, [levels] * 4, rtol=1e-3)
    np.testing.assert_allclose(found.halves, [halves] * 4, rtol=1e-3)
    written(grokking_template.template(found), tmp_path)


def test_a_small_neuron_follows_the_reduced_equations(tmp_path: Path) -> None:
    found = grokking_neuron.one_neuron()
    np.testing.assert_allclose(found.states, found.solved, rtol=5e-3, atol=2e-5)
    written(grokking_neuron.reduction(found), tmp_path)
