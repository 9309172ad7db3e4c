"""Targets on Hermite modes, and what a run on modes claims of all inputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from landscapes import NeuronLandscape
from landscapes.mlp_attention import MLPAttentionLandscape
from landscapes.networks import HermiteModes, neuron_gram, truncation
from particles import Ensemble, InvalidInput

from ..results import Claim
from ..runs import Run

#: Most neurons whose pairs are summed for a claim.
PAIRED = 4096


def hermite_targets(
    modes: HermiteModes, written: Sequence[str], spectrum: Sequence[float]
) -> Float[Array, "modes outputs"]:
    """Targets from their terms: degrees by input, joined by commas, and terms by plus signs.

    Each target has equal coefficients, scaled to its eigenvalue; as targets share no term, their
    second moment is diagonal.

    Args:
        modes: that hold all terms.
        written: such as `"1+0,3"` for z₁ + He₃(z₂)/√3!.
        spectrum: eigenvalues, one for each.

    Raises:
        InvalidInput: not one target for each eigenvalue, a text of another form, a term that the
            modes do not have, or one that appears twice.
    """
    if len(written) != len(spectrum):
        raise InvalidInput(
            f"problem.targets has {len(written)} entries and problem.spectrum has "
            f"{len(spectrum)}; they must be as many."
        )
    terms = [[_term(one, modes.shape[1], text) for one in text.split("+")] for text in written]
    counts = Counter(term for target in terms for term in target)
    for term, count in counts.items():
        if sum(term) not in modes.degrees:
            raise InvalidInput(
                f"problem.targets has a term of degree {sum(term)}; the modes have the degrees "
                f"{list(modes.degrees)}, which problem.degree and problem.activation set."
            )
        if count > 1:
            raise InvalidInput(
                f"problem.targets has the term {','.join(map(str, term))} twice; give each once."
            )
    return modes.targets(
        [
            dict.fromkeys(target, math.sqrt(value / len(target)))
            for target, value in zip(terms, spectrum, strict=True)
        ]
    )


def _term(written: str, dim: int, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in written.split(",")]
    if len(parts) > dim or not all(part.isdecimal() for part in parts):
        raise InvalidInput(
            f"problem.targets has {text!r}; give the degree in each of at most {dim} inputs, "
            "joined by commas, and terms joined by plus signs, such as '1+0,3'."
        )
    return (*map(int, parts), *[0] * (dim - len(parts)))


def truncation_claims(
    landscape: NeuronLandscape, teacher: Ensemble | None, run: Run
) -> list[Claim]:
    """On modes: the loss on all inputs, over pairs of neurons, lies within the stated bound.

    Args:
        landscape: on modes, or on samples, of which there is nothing to say.
        teacher: the neurons that give the targets; `None` where the modes hold them whole.
        run: of this landscape.
    """
    modes, mu = landscape.x, run.ensemble
    fits = run.trajectory.attrs.get("landscape") == type(landscape).__name__
    if not isinstance(modes, HermiteModes) or not fits or mu.size > PAIRED:
        return []
    activation, covariance = landscape.activation, modes.root @ modes.root

    def inner(left: Ensemble, right: Ensemble) -> np.ndarray:
        return np.asarray(neuron_gram(left, right, activation, covariance))

    gram = inner(mu, mu)
    if teacher is None:
        target, f, h = 0.0, np.asarray(landscape.f), np.asarray(landscape.moments(mu))
        own, cross = f.T @ f / len(f), f.T @ h / len(f)
    else:
        target = float(modes.remainder(teacher, activation))
        own, cross = inner(teacher, teacher), inner(teacher, mu)
    value = float(landscape.value(mu))
    bound = truncation(landscape, mu, target=target).loss
    if isinstance(landscape, MLPAttentionLandscape):
        ridge = float(landscape.ridge) * np.eye(len(gram))
        exact = 0.5 * np.trace(own - cross @ np.linalg.solve(gram + ridge, cross.T))
    else:
        exact = 0.5 * np.trace(own - 2 * cross + gram)
    digits = 1e4 * float(np.finfo(np.dtype(modes.dtype)).eps) * float(np.trace(own))
    return [
        Claim.within(
            f"loss of all inputs, given that of degrees up to {modes.degrees[-1]}",
            "theory 12",
            low=value - digits,
            high=value + bound + digits,
            measured=float(exact),
        )
    ]
