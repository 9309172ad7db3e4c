"""`meanfield reproduce NAME…`: a source's headline results as claims."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from ..reports import Report
from ..reproductions import (
    reproduce_hcl23_balanced,
    reproduce_hcl23_imbalanced,
    reproduce_ks24,
    reproduce_mt25,
    reproduce_yks25,
    reproduce_zsls25_merged,
    reproduce_zsls25_separate,
)
from ._common import Common

Name = Literal[
    "ks24",
    "yks25",
    "zsls25-merged",
    "zsls25-separate",
    "mt25",
    "hcl23-balanced",
    "hcl23-imbalanced",
    "all",
]
RECIPES: dict[str, tuple[str, Callable[[Reproduce, Report], None]]] = {}


@dataclass(frozen=True)
class Reproduce(Common):
    """A source's headline results as claims, with figures."""

    names: Annotated[tuple[Name, ...], tyro.conf.Positional] = ("all",)
    """Sources to reproduce."""
    seed: int = 0
    """Of every random draw."""
    seeds: int = 32
    """Runs wherever a statement is about random starts or kicks."""
    particles: int = 72
    """Number N of particles."""
    samples: int = 512
    """Number M of samples."""
    features: int = 20
    """Number K of features of the softmax attention."""

    def __call__(self) -> int:
        """Run the reproductions; see `meanfield reproduce --help`."""
        names = list(RECIPES) if "all" in self.names else list(dict.fromkeys(self.names))
        folder = self.folder("reproduce")
        report = Report(folder, "Reproductions", self)
        for name in names:
            title, recipe = RECIPES[name]
            self.say(f"{name}: {title}")
            part = Report(folder / name, title, dataclasses.replace(self, names=(name,)))
            recipe(self, part)
            part.finish()
            report.claim(*part.claims)
            report.text(f"[{name}: {title}]({name}/report.md)")
        report.finish()
        self.show(report, "reproduce")
        return 0


RECIPES |= {
    "ks24": ("the attention landscape: levels, saddles, escape, timescales", reproduce_ks24),
    "yks25": ("Hessian-guided perturbation against the others", reproduce_yks25),
    "zsls25-merged": ("linear attention, merged key and query", reproduce_zsls25_merged),
    "zsls25-separate": ("linear attention, separate key and query", reproduce_zsls25_separate),
    "mt25": ("linear attention, exact dynamics of one head", reproduce_mt25),
    "hcl23-balanced": ("softmax attention, balanced features", reproduce_hcl23_balanced),
    "hcl23-imbalanced": ("softmax attention, one dominant feature", reproduce_hcl23_imbalanced),
}
