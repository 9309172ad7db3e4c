"""The reproduction `grokking`, part by part and small."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import xarray
from results import written

from meanfield.reproductions import _grokking_delay as grokking_delay
from meanfield.reproductions import _grokking_neuron as grokking_neuron
from meanfield.reproductions import _grokking_runs as grokking_runs
from meanfield.reproductions import _grokking_saddles as grokking_saddles


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


def made(memorised: float, generalised: float, end: float = 1e5) -> xarray.Dataset:
    """A run that memorises and generalises at these times."""
    time = np.array([0.0, *(t for t in (memorised, generalised, end) if np.isfinite(t))])
    return xarray.Dataset(
        {
            "train_accuracy": ("time", np.where(time >= memorised, 1.0, 0.1)),
            "test_accuracy": ("time", np.where(time >= generalised, 0.95, 0.1)),
            "train_loss": ("time", np.where(time >= memorised, 1e-9, 0.04)),
        },
        coords={"time": time},
    )


def test_times_of_a_run() -> None:
    assert grokking_runs.times_of(made(1e3, 5e3)) == (1e3, 5e3)
    never = grokking_runs.times_of(made(1e3, np.inf))
    assert never[0] == 1e3
    assert np.isnan(never[1])


def test_runs_have_pairs_and_neurons_of_their_own_and_stop_when_they_generalise() -> None:
    network = grokking_runs.Network(5, 0.8, 40, 1.0)
    runs = grokking_runs.over_starts(jax.random.key(1), network, 2, decay=1e-4, horizon=300.0)
    assert float(runs[0]["loss"][0]) != float(runs[1]["loss"][0])
    for run in runs:
        reached = run["test_accuracy"].values >= grokking_runs.GENERALISED
        assert run["time"].values[-1] <= 300.0
        # Records go on to the end of the compiled call in which it generalises.
        assert reached.any() == (run["time"].values[-1] < 300.0)


def test_grokking_is_told_from_learning_at_once(tmp_path: Path) -> None:
    late, never, soon = made(1e3, 9e3), made(1e3, np.inf), made(1e3, 1.2e3)
    written(grokking_delay.grokking({23: [late] * 4}, [never] * 4, [soon] * 4), tmp_path)


def test_the_delay_has_the_exponent_it_is_made_with(tmp_path: Path) -> None:
    decays = np.array([1e-5, 2e-5, 4e-5])
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal((4, 3)))
    runs = [
        [made(1e3, 1e3 + 0.4 * scale / decay) for scale in column]
        for decay, column in zip(decays, noise.T, strict=True)
    ]
    times = np.stack([grokking_runs.times_over(one) for one in runs], axis=1)
    found = grokking_delay.Delays(decays, times, runs)
    exponent, half = found.exponent
    assert abs(exponent + 1) < half < 0.1
    written(grokking_delay.delay(found), tmp_path)


def test_a_small_neuron_follows_the_reduced_equations(tmp_path: Path) -> None:
    found = grokking_neuron.one_neuron()
    np.testing.assert_allclose(found.states, found.solved, rtol=5e-3, atol=2e-5)
    written(grokking_neuron.reduction(found), tmp_path)
