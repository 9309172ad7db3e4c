"""The attention problem that KS24 and YKS25 are reproduced on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
from jaxtyping import Array, Key

from landscapes import MLPAttentionLandscape
from particles import Ensemble

from ..problems import Attention, Problem, problem_key


class Setting(NamedTuple):
    """A realisable problem, and a key for further draws.

    Args:
        problem: with exact saddles.
        key: of saddles and starts.
    """

    problem: Problem
    key: Key[Array, ""]

    @property
    def landscape(self) -> MLPAttentionLandscape:
        """The landscape on the training samples."""
        assert isinstance(self.problem.landscape, MLPAttentionLandscape)
        return self.problem.landscape

    def saddle(self, missing: Sequence[int], size: int) -> Ensemble:
        """The exact critical point that misses the given features, with N = `size` particles."""
        return self.problem.require("saddle", "a reproduction")(self.key, size, missing)


def realisable(
    seed: int,
    teacher: int = 0,
    *,
    dim: int,
    samples: int,
    teacher_neurons: int,
    spectrum: Sequence[float],
) -> Setting:
    """A teacher of tanh neurons in canonical form, on normal inputs.

    Args:
        seed: of all teachers.
        teacher: which of them; each is drawn anew, with samples of its own.
        dim: of the inputs.
        samples: number of inputs.
        teacher_neurons: of the teacher.
        spectrum: eigenvalues of its features.
    """
    options = Attention(
        dim=dim, samples=samples, teacher_neurons=teacher_neurons, spectrum=tuple(spectrum)
    )
    key = problem_key(seed)
    key = jax.random.fold_in(key, teacher) if teacher else key
    return Setting(options.build(key), jax.random.split(key, 4)[3])


def several_teachers(
    seed: int, teachers: int, samples: int, spectrum: Sequence[float]
) -> list[Setting]:
    """Teachers of twelve neurons on five inputs: the setting of both reproductions.

    Args:
        seed: of all teachers.
        teachers: how many.
        samples: number of inputs.
        spectrum: eigenvalues of their features.
    """
    return [
        realisable(seed, teacher, dim=5, samples=samples, teacher_neurons=12, spectrum=spectrum)
        for teacher in range(teachers)
    ]
