"""Whether a curvature belongs to the landscape or to the samples, from all the evidence at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from particles import InvalidInput

from ._held_out import HeldOut

Vote = Literal["agrees", "contradicts", "unclear"]


@dataclass(frozen=True)
class Verdict:
    """Whose the sign of a curvature is.

    Args:
        kind: `"landscape"`, `"sample"`, or `"undecided"`.
        sentence: the same in words, with what it rests on.
        votes: what each piece of evidence says of the sign that was found.
    """

    kind: Literal["landscape", "sample", "undecided"]
    sentence: str
    votes: dict[str, Vote]

    def __str__(self) -> str:
        """The sentence."""
        return self.sentence


def verdict(
    curvature: float,
    draws: Mapping[str, Float[np.ndarray, " draws"]],
    halves: HeldOut | None = None,
) -> Verdict:
    """Weigh draws of the samples and held-out halves together.

    Each way of drawing agrees with the sign found (or contradicts it) if its mean lies more than
    two standard deviations from zero on that side; the halves do if both curvatures on samples not
    seen have that sign. The verdict is the landscape if all agree, the sample if none agrees and
    some contradict, and undecided otherwise. A bootstrap draws from the samples that the
    eigenvector was sought on, so it alone may agree with what is the sample's: held-out evidence
    against it leaves the question open.

    Args:
        curvature: the smallest eigenvalue found; 1/time.
        draws: way of drawing to curvatures along the same eigenvectors, at least two of each.
        halves: from `held_out_curvature`; `None` where there are no samples to split.

    Raises:
        InvalidInput: no evidence, a way with fewer than two draws, or numbers that are not finite.

    Example:
        >>> draws = {"bootstrap": np.array([-0.12, -0.11, -0.10])}
        >>> verdict(-0.11, draws, HeldOut(np.array([-0.1, -0.1]), np.array([0.3, 0.3]), 0.1)).kind
        'undecided'
    """
    numbers = {name: np.asarray(values, float) for name, values in draws.items()}
    if not numbers and halves is None:
        raise InvalidInput("draws is empty and halves is None; give at least one of them.")
    for name, values in numbers.items():
        if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
            raise InvalidInput(
                f"draws[{name!r}] is {values}; give at least two finite curvatures, one per draw."
            )
    sign = -1.0 if curvature < 0 else 1.0
    votes: dict[str, Vote] = {}
    words = []
    for name, values in numbers.items():
        mean, spread = float(values.mean()), float(values.std(ddof=1))
        votes[name] = _vote(sign * mean - 2 * spread > 0, sign * mean + 2 * spread < 0)
        words.append(f"{name}: {_SAYS[votes[name]]} ({mean:.3g} ± {spread:.2g})")
    if halves is not None:
        unseen = sign * np.asarray(halves.held_out, float)
        votes["held-out halves"] = _vote(bool(np.all(unseen > 0)), bool(np.all(unseen < 0)))
        shown = " and ".join(f"{value:+.3g}" for value in halves.held_out)
        words.append(f"held-out halves: {_SAYS[votes['held-out halves']]} ({shown})")
    cast = set(votes.values())
    kind = "undecided"
    if cast == {"agrees"}:
        kind = "landscape"
    elif "contradicts" in cast and "agrees" not in cast:
        kind = "sample"
    found = f"The {'negative' if sign < 0 else 'positive'} curvature {curvature:.3g}"
    said = {
        "landscape": f"{found} is the landscape's",
        "sample": f"{found} is the sample's, not the landscape's",
        "undecided": f"Undecided whether {found[0].lower()}{found[1:]} is the landscape's or the "
        "sample's; take more samples",
    }
    return Verdict(kind, f"{said[kind]}: {'; '.join(words)}.", votes)


_SAYS = {"agrees": "agrees", "contradicts": "contradicts", "unclear": "cannot tell"}


def _vote(agrees: bool, contradicts: bool) -> Vote:
    return "agrees" if agrees else "contradicts" if contradicts else "unclear"
