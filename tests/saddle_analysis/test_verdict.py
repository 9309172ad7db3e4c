"""The verdict on a curvature: known answers of all three kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscapes import Neuron, RegressionLandscape, bootstrap
from particles import Ensemble, InvalidInput
from saddle_analysis import HessianOperator, smallest_eigenpair
from saddle_analysis.sensitivity import HeldOut, held_out_curvature, sample_sensitivity, verdict

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


def judged(x: jax.Array, f: jax.Array) -> str:
    landscape = RegressionLandscape(x, f, "tanh")
    origin = Ensemble(Neuron(a=jnp.zeros((2, 1)), w=jnp.zeros((2, x.shape[1]))))
    pair = smallest_eigenpair(HessianOperator(landscape, origin))
    seen = sample_sensitivity(
        jax.random.key(1),
        origin,
        pair.fields,
        {"bootstrap": bootstrap(landscape)},
        [x.shape[0]],
        replicates=32,
    )
    split = held_out_curvature(jax.random.key(2), landscape, origin)
    draws = {"bootstrap": seen["curvature"][0, -1].values}
    return verdict(float(pair.values[0]), draws, split).kind


def test_signal_is_the_landscape_s_and_noise_is_not() -> None:
    """At the origin λ_min = −‖⟨f x⟩‖: of a true correlation, or of one fitted to noise."""
    x = jax.random.normal(jax.random.key(0), (400, 20))
    noise = jax.random.normal(jax.random.key(3), (400, 1))
    assert judged(x, x[:, :1] + 0.1 * noise) == "landscape"
    assert judged(x, noise) != "landscape"


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
