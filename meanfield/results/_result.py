"""Results: what a study or a reproduction returns, and what a report writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particles import InvalidInput

from ._claims import Claim, claims_table
from ._references import references_in

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

#: Draws into an `Axes`.
Panel = Callable[..., None]


@dataclass(frozen=True)
class Figure:
    """A figure that can be drawn at any time: panels side by side, and a caption.

    Args:
        name: of the file, without its ending.
        caption: what is to be seen.
        panels: one function for each panel; it draws into the `Axes` it is given.
        width: of one panel, in inches.
    """

    name: str
    caption: str
    panels: tuple[Panel, ...]
    width: float = 6.0

    def draw(self) -> Canvas:
        """The figure, drawn by matplotlib."""
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(self.width * len(self.panels), 4.2), layout="constrained")
        for index, panel in enumerate(self.panels):
            panel(canvas.add_subplot(1, len(self.panels), index + 1))
        for ax in canvas.axes:
            _thin_out(ax)
        return canvas

    def save(self, folder: Path) -> Path:
        """Draw it into `folder/name.png`; returns that path."""
        path = folder / f"{self.name}.png"
        self.draw().savefig(path, dpi=150)
        return path


def _thin_out(ax: Axes) -> None:
    """Leaves out the ticks between many decades: drawing them takes longer than all the rest."""
    from matplotlib.ticker import NullLocator

    for axis in (ax.xaxis, ax.yaxis):
        low, high = axis.get_view_interval()
        if axis.get_scale() == "log" and high > 100 * low:
            axis.set_minor_locator(NullLocator())


class Result:
    """Claims, text, figures and data of a study, in the order in which they were found.

    A study collects them here and returns it; nothing is written. `Report.add` writes a result to
    a folder; in a notebook, `result.claims` and `result.figures[0].draw()` show it.

    Args:
        title: heading.

    Example:
        >>> result = Result("Counting")
        >>> result.claim(Claim.equal("two and two", "arithmetic", 4, 2 + 2))
        >>> result.text("That was all.")
        >>> result.holds, len(result.body)
        (True, 1)
    """

    def __init__(self, title: str):
        self.title = title
        self.claims: list[Claim] = []
        self.body: list[str | Figure] = []
        self.data: dict[str, xarray.Dataset] = {}
        self.summary: dict[str, Any] = {}

    def claim(self, *claims: Claim) -> None:
        """Add claims."""
        self.claims.extend(claims)

    def text(self, paragraph: str) -> None:
        """Add a paragraph of Markdown."""
        self.body.append(paragraph)

    def figure(self, name: str, caption: str, *panels: Panel, width: float = 6.0) -> None:
        """Add a figure with one panel per function."""
        self.body.append(Figure(name, caption, panels, width))

    def dataset(self, name: str, dataset: xarray.Dataset) -> None:
        """Add the data behind figures and claims.

        Raises:
            InvalidInput: there is data of that name already, which would be lost.
        """
        if name in self.data:
            raise InvalidInput(
                f"name is {name!r}, which this result holds already; choose another."
            )
        self.data[name] = dataset

    def trajectory(self, dataset: xarray.Dataset) -> None:
        """Add the data of the main run."""
        self.dataset("trajectory", dataset)

    def extend(self, *others: Result) -> Result:
        """Add all that other results hold; returns this one.

        Raises:
            InvalidInput: two of them hold data of one name.
        """
        for other in others:
            self.claims += other.claims
            self.body += other.body
            for name, dataset in other.data.items():
                self.dataset(name, dataset)
            self.summary |= other.summary
        return self

    @property
    def figures(self) -> list[Figure]:
        """The figures, in order."""
        return [entry for entry in self.body if isinstance(entry, Figure)]

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(claim.holds for claim in self.claims)

    @property
    def references(self) -> list[str]:
        """Keys of the sources that claims and text use, sorted."""
        said = [claim.source for claim in self.claims]
        said += [entry if isinstance(entry, str) else entry.caption for entry in self.body]
        return references_in(" ".join(said))

    def to_dict(self) -> Mapping[str, Any]:
        """Claims and summary as plain values."""
        return {"claims": [claim.to_dict() for claim in self.claims]} | self.summary

    def __repr__(self) -> str:
        held = sum(claim.holds for claim in self.claims)
        return f"<Result {self.title!r}: {held} of {len(self.claims)} claims hold>"

    def _repr_markdown_(self) -> str:
        return f"**{self.title}**\n\n{claims_table(self.claims)}"
