"""A claim holds or fails for the right reason, and becomes the JSON that readers rely on."""

import json
import math

import pytest

from meanfield import Claim
from meanfield.reproductions._seeds import median_claims
from meanfield.results import plain
from particles import InvalidInput

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("predicted", "measured", "tolerances", "holds"),
    [
        (2.0, 2.0, {}, True),
        (2.0, 2.0 + 1e-15, {}, False),
        (2.0, 2.019, {"relative": 0.01}, True),
        (2.0, 2.021, {"relative": 0.01}, False),
        (-2.0, -1.98, {"relative": 0.011}, True),  # relative to the size, not the sign
        (0.0, 1e-6, {"relative": 0.5}, False),  # nothing is relative to zero
        (0.0, 1e-6, {"absolute": 1e-5}, True),
        (10.0, 10.5, {"relative": 0.1, "absolute": 0.1}, True),  # the larger one counts
        (1.0, NAN, {"relative": 0.5}, False),
        (1.0, INF, {"relative": 0.5}, False),
        (NAN, 1.0, {"relative": 0.5}, False),
        (INF, 1.0, {"relative": 0.5}, False),
        (INF, INF, {"relative": 0.5}, False),
    ],
)
def test_equal(predicted: float, measured: float, tolerances: dict, holds: bool) -> None:
    assert Claim.equal("s", "t", predicted, measured, **tolerances).holds is holds


@pytest.mark.parametrize(
    ("bound", "measured", "holds"),
    [(1.0, 0.5, True), (1.0, 1.0, False), (1.0, NAN, False), (1.0, INF, False), (NAN, 0.0, False)],
)
def test_below(bound: float, measured: float, holds: bool) -> None:
    claim = Claim.below("s", "t", bound=bound, measured=measured)
    assert claim.holds is holds
    assert claim.tolerance is None


@pytest.mark.parametrize("bad", [-0.1, NAN, INF])
@pytest.mark.parametrize("name", ["relative", "absolute"])
def test_tolerances_are_checked(name: str, bad: float) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is {bad}.* finite and not negative"):
        Claim.equal("s", "t", 1.0, 1.0, **{name: bad})


def test_json_form() -> None:
    claims = [
        Claim.equal("rate", "KS24; theory 2", 9.7, 9.71, relative=0.03),
        Claim.below("loss", "theory 1", bound=0.1, measured=NAN),
    ]
    equal, below = json.loads(json.dumps([c.to_dict() for c in claims], allow_nan=False))
    assert equal == {
        "statement": "rate",
        "source": "KS24; theory 2",
        "relation": "=",
        "detail": "",
        "predicted": 9.7,
        "measured": 9.71,
        "tolerance": pytest.approx(0.291),
        "holds": True,
    }
    assert below == {
        "statement": "loss",
        "source": "theory 1",
        "relation": "<",
        "detail": "",
        "predicted": 0.1,
        "measured": "nan",
        "tolerance": None,
        "holds": False,
    }


def test_plain_reaches_every_number() -> None:
    nested = {"a": [1.0, NAN, (INF, "x")], 3: {"b": -INF}, "n": None, "t": True}
    assert plain(nested) == {
        "a": [1.0, "nan", ["inf", "x"]],
        "3": {"b": "-inf"},
        "n": None,
        "t": True,
    }


def over_three(make) -> Claim:
    """The claims that three seeds make, as one."""
    (claim,) = median_claims([[make(seed)] for seed in range(3)])
    return claim


def test_the_median_over_seeds_decides() -> None:
    found = over_three(lambda i: Claim.below("s", "t", bound=1.0, measured=[0.5, 9.0, 0.9][i]))
    assert (found.measured, found.holds) == (0.9, True)
    assert found.statement == "s (median of 3 seeds, range 0.5 to 9)"
    found = over_three(lambda i: Claim.below("s", "t", bound=1.0, measured=[0.5, 9.0, 1.1][i]))
    assert not found.holds
    found = over_three(lambda i: Claim.within("s", "t", low=0, high=1, measured=[2.0, 0.4, 0.5][i]))
    assert (found.predicted, found.measured, found.holds) == ((0, 1), 0.5, True)


@pytest.mark.parametrize(("make", "word"), [(Claim.below, "<"), (Claim.above, ">")])
def test_what_is_not_known_never_helps(make, word: str) -> None:
    found = over_three(lambda i: make("s", "t", bound=1.0, measured=[NAN, NAN, 1.0][i]))
    assert (found.relation, found.holds) == (word, False)


def test_predictions_that_differ_are_divided_out() -> None:
    found = over_three(
        lambda i: Claim.equal("s", "t", 10.0**i, 10.0**i * [1.2, 1.02, 0.5][i], relative=0.1)
    )
    assert found.predicted == 1.0
    assert found.measured == pytest.approx(1.02)
    assert found.tolerance == pytest.approx(0.1)
    assert found.holds


def test_what_allows_no_tolerance_must_hold_for_every_seed() -> None:
    counts = over_three(lambda i: Claim.equal("s", "t", 4, 4 - (i == 2)))
    kinds = over_three(lambda i: Claim.true("s", "t", i < 2))
    for found in (counts, kinds):
        assert (found.predicted, found.measured, found.holds) == (3, 2, False)


def test_one_seed_is_left_as_it_is() -> None:
    claim = Claim.equal("s", "t", 1.0, 1.0)
    assert median_claims([[claim]]) == [claim]
