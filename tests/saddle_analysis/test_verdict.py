"""The verdict on a curvature: known answers of all three kinds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import Confined, Landscape, Neuron, RegressionLandscape, bootstrap
from landscapes.networks import Redraw
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator, smallest_eigenpair
from saddle_analysis.sensitivity import (
    HeldOut,
    Verdict,
    held_out_curvature,
    sample_sensitivity,
    verdict,
)

CLEAR = {"bootstrap": np.array([-0.10, -0.11, -0.09, -0.10])}
VAGUE = {"bootstrap": np.array([-0.10, 0.11, -0.09, 0.10])}


def halves(one: float, other: float) -> HeldOut:
    return HeldOut(np.array([-0.100, -0.083]), np.array([one, other]), 0.4)


@pytest.mark.parametrize(
    ("draws", "held_out", "kind"),
    [
        (CLEAR, halves(-0.08, -0.07), "landscape"),
        (CLEAR, None, "landscape"),
        (CLEAR, halves(0.346, 0.292), "undecided"),
        (CLEAR, halves(-0.08, 0.292), "undecided"),
        (VAGUE, halves(0.346, 0.292), "sample"),
        (VAGUE, halves(-0.08, -0.07), "undecided"),
        (VAGUE, None, "undecided"),
        ({"fresh samples": -CLEAR["bootstrap"]}, None, "sample"),
        (CLEAR | {"fresh samples": -CLEAR["bootstrap"]}, None, "undecided"),
        ({}, halves(-0.08, -0.07), "landscape"),
    ],
)
def test_all_evidence_is_weighed_together(draws, held_out, kind: str) -> None:
    found = verdict(-0.1, draws, held_out)
    assert found.kind == kind
    assert {"landscape": "is the landscape's", "sample": "is the sample's"}.get(
        kind, "Undecided"
    ) in str(found)
    if held_out is not None:
        assert f"{held_out.held_out[0]:+.3g}" in found.sentence


def test_a_positive_curvature_is_judged_too() -> None:
    assert verdict(0.1, {"bootstrap": -CLEAR["bootstrap"]}).kind == "landscape"
    assert verdict(0.1, CLEAR).kind == "sample"


STRENGTH = 0.4


def judged(x: jax.Array, f: jax.Array, ways: dict[str, Any], halves: bool = True) -> Verdict:
    """The verdict on λ_min at the origin of tanh regression, confined by λ = 0.4.

    There λ_min = 0.4 − ‖⟨f x⟩‖ over whichever samples there are.
    """
    landscape = Confined(RegressionLandscape(x, f, "tanh"), STRENGTH)
    origin = Ensemble(Neuron(a=jnp.zeros((2, 1)), w=jnp.zeros((2, x.shape[1]))))
    pair = smallest_eigenpair(HessianOperator(landscape, origin))
    known = float(STRENGTH - jnp.linalg.norm(jnp.mean(f * x, 0)))
    assert float(pair.values[0]) == pytest.approx(known, abs=1e-6)
    redraws = {name: way(landscape) for name, way in ways.items()}
    seen = sample_sensitivity(
        jax.random.key(1), origin, pair.fields, redraws, [x.shape[0]], replicates=32
    )
    draws = {name: seen["curvature"][i, -1].values for i, name in enumerate(ways)}
    split = held_out_curvature(jax.random.key(2), landscape, origin) if halves else None
    return verdict(float(pair.values[0]), draws, split)


def redrawn_noise(landscape: Landscape) -> Redraw:
    """Fresh inputs, and targets that know nothing of them: λ_min is 0.4 as samples grow."""
    network = landscape.unwrapped
    assert isinstance(network, RegressionLandscape)

    def redraw(key: jax.Array, size: int) -> Landscape:
        one, two = jax.random.split(key)
        x = jax.random.normal(one, (size, network.x.shape[1]))
        return landscape.replace(x=x, f=jax.random.normal(two, (size, 1)))

    return redraw


def test_a_true_correlation_is_the_landscape_s() -> None:
    """f = x₁: the population's λ_min is −0.6."""
    x = jax.random.normal(jax.random.key(0), (400, 20))
    assert judged(x, x[:, :1], {"bootstrap": bootstrap}).kind == "landscape"


def test_a_correlation_fitted_to_noise_is_the_sample_s_where_fresh_samples_tell() -> None:
    """The population's λ_min is +0.4; 200 directions of 400 samples of noise give about −0.3."""
    x = jax.random.normal(jax.random.key(0), (400, 200))
    noise = jax.random.normal(jax.random.key(3), (400, 1))
    found = judged(x, noise, {"fresh samples": redrawn_noise})
    assert found.kind == "sample"
    assert set(found.votes.values()) == {"contradicts"}


def test_the_bootstrap_against_held_out_samples_is_undecided() -> None:
    """The bootstrap repeats the sample's correlation; the halves do not find each other's."""
    x = jax.random.normal(jax.random.key(0), (400, 200))
    noise = jax.random.normal(jax.random.key(3), (400, 1))
    found = judged(x, noise, {"bootstrap": bootstrap})
    assert found.kind == "undecided"
    assert found.votes == {"bootstrap": "agrees", "held-out halves": "contradicts"}


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ({}, "draws is empty"),
        ({"bootstrap": np.array([1.0])}, "at least two finite"),
        ({"bootstrap": np.array([1.0, np.nan])}, "at least two finite"),
    ],
)
def test_no_evidence_is_refused(draws, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        verdict(-1.0, draws)
