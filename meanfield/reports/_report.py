"""What a command leaves in its folder: claims, configuration, trajectory, figures, a page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particles import InvalidInput

from ..problems import save_config
from ..results import Claim, plain
from ..runs import provenance

if TYPE_CHECKING:
    import xarray


#: Draws into an `Axes`.
Panel = Callable[..., None]


class Report:
    """Collects results and writes them as they come, so that nothing is lost on the way.

    Args:
        out: the folder; created.
        title: heading of the page.
        config: a configuration dataclass, written to `config.toml`.

    Raises:
        InvalidInput: the folder cannot be written.
    """

    def __init__(self, out: Path, title: str, config: Any):
        self.out, self.title = out, title
        self.claims: list[Claim] = []
        self.sections: list[str] = []
        self.summary: dict[str, Any] = {}
        try:
            out.mkdir(parents=True, exist_ok=True)
            save_config(out / "config.toml", config)
        except OSError as error:
            raise InvalidInput(
                f"out is {out}, which cannot be written ({error.strerror}); choose another folder."
            ) from error

    def text(self, paragraph: str) -> None:
        """Add a paragraph of Markdown."""
        self.sections.append(paragraph)

    def claim(self, *claims: Claim) -> None:
        """Add claims, and rewrite `claims.json`."""
        self.claims.extend(claims)
        entries = [claim.to_dict() for claim in self.claims]
        text = json.dumps(entries, indent=2, ensure_ascii=False)
        (self.out / "claims.json").write_text(text, "utf-8")

    def figure(self, name: str, caption: str, *draw: Panel, width: float = 6.0) -> None:
        """Draw one panel per function into `name.png`."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width * len(draw), 4.2), layout="constrained")
        for index, panel in enumerate(draw):
            panel(figure.add_subplot(1, len(draw), index + 1))
        figure.savefig(self.out / f"{name}.png", dpi=150)
        self.sections.append(f"![{caption}]({name}.png)\n\n*{caption}*")

    def trajectory(self, dataset: xarray.Dataset) -> None:
        """Write `trajectory.nc`."""
        self.dataset("trajectory", dataset)

    def dataset(self, name: str, dataset: xarray.Dataset) -> None:
        """Write the data behind a figure to `{name}.nc`, whole or not at all."""
        # By way of memory: the format's own writer does not survive a full disk.
        content: Any = dataset.to_netcdf(engine="h5netcdf")
        partial = self.out / f"{name}.nc.partial"
        partial.write_bytes(content)
        partial.replace(self.out / f"{name}.nc")

    def finish(self) -> None:
        """Write `report.md`."""
        held = sum(claim.holds for claim in self.claims)
        written = sorted(path.name for path in self.out.glob("*.nc"))
        others = " and ".join(f"`{name}`" for name in ["claims.json", *written])
        lines = [
            f"# {self.title}",
            f"{held} of {len(self.claims)} claims hold.",
            claims_table(self.claims),
            *self.sections,
            "## How these numbers came about",
            _bullets(provenance()),
            f"Written {time.strftime('%Y-%m-%d %H:%M:%S')}. The folder also holds `config.toml` "
            f"(enough to rerun), {others}.",
        ]
        (self.out / "report.md").write_text("\n\n".join(lines) + "\n", "utf-8")

    def result(self, command: str, **more: Any) -> dict[str, Any]:
        """The machine-readable result that `--json` prints."""
        result = {
            "command": command,
            "out": str(self.out),
            "claims": [claim.to_dict() for claim in self.claims],
        }
        return plain(result | self.summary | more)


def claims_table(claims: list[Claim]) -> str:
    """The claims as a Markdown table."""
    rows = ["| claim | predicted | measured | tolerance | holds |", "|---|---|---|---|---|"]
    for claim in claims:
        tolerance = "" if claim.tolerance is None else f"{claim.tolerance:.2g}"
        verdict = "yes" if claim.holds else "**NO**"
        said = f"{claim.statement} ({claim.source})".replace("|", "\\|")  # a bar ends the cell
        rows.append(
            f"| {said} | {prediction(claim)} | {claim.measured:.6g} | {tolerance} | {verdict} |"
        )
    return "\n".join(rows)


def prediction(claim: Claim) -> str:
    """The predicted number, or the bound with its sign."""
    return f"{'< ' if claim.tolerance is None else ''}{claim.predicted:.6g}"


def _bullets(entries: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in entries.items())
