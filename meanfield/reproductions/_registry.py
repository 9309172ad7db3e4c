"""All reproductions by name, and how to run one from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from particles import InvalidInput

from ..results import Result
from ._base import Reproduction
from ._energies import ENERGIES
from ._grokking import GROKKING
from ._hcl23_balanced import HCL23_BALANCED
from ._hcl23_imbalanced import HCL23_IMBALANCED
from ._induction import INDUCTION
from ._ks24 import KS24
from ._langevin import LANGEVIN
from ._mt25 import MT25
from ._multi_head import MULTI_HEAD
from ._single_index import SINGLE_INDEX
from ._tokens import TOKENS
from ._yks25 import YKS25
from ._zsls25_merged import ZSLS25_MERGED
from ._zsls25_separate import ZSLS25_SEPARATE

#: By name, in the order in which `all` runs them.
REPRODUCTIONS: Mapping[str, Reproduction[Any]] = {
    found.name: found
    for found in (
        KS24,
        YKS25,
        ZSLS25_MERGED,
        ZSLS25_SEPARATE,
        MT25,
        INDUCTION,
        HCL23_BALANCED,
        HCL23_IMBALANCED,
        MULTI_HEAD,
        GROKKING,
        ENERGIES,
        TOKENS,
        LANGEVIN,
        SINGLE_INDEX,
    )
}


def reproduce(name: str, *, progress: bool = False, **options: Any) -> Result:
    """A source's headline results: claims, text, figures and data of all parts.

    Runs in double precision, whatever jax is set to.

    Args:
        name: of the reproduction, a key of `REPRODUCTIONS`.
        progress: show bars.
        **options: of the reproduction, such as `seed` and `samples`; the others keep their
            defaults.

    Raises:
        InvalidInput: there is no such reproduction or option, or an option is out of range.

    Example:
        >>> REPRODUCTIONS["ks24"].option_names  # as in reproduce("ks24", seed=1, samples=256)
        ['seed', 'teachers', 'seeds', 'particles', 'samples']
    """
    if name not in REPRODUCTIONS:
        raise InvalidInput(f"name is {name!r}; the reproductions are {', '.join(REPRODUCTIONS)}.")
    reproduction = REPRODUCTIONS[name]
    chosen = reproduction.configured(**options)
    result = Result(reproduction.title)
    with jax.enable_x64(True):
        for part in reproduction.results(chosen, progress=progress):
            result.text(f"## {part.title}")
            result.extend(part)
    return result
