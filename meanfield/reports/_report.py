"""What a command leaves in its folder: claims, configuration, data, figures, a page."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from particles import InvalidInput

from ..problems import save_config
from ..results import Figure, Result, cite, claims_table, plain
from ..runs import provenance
from ._page import html_page


class Report:
    """Writes results to a folder as they come, so that nothing is lost on the way.

    A folder belongs to the command that made it: another one's results are never overwritten.

    Args:
        out: the folder; created.
        title: heading of the page.
        command: whose results these are.
        config: a configuration dataclass, written to `config.toml`.

    Raises:
        InvalidInput: the folder is the current one, belongs to another command, or cannot be
            written.
    """

    def __init__(self, out: Path, title: str, command: str, config: Any):
        self.out, self.title, self.command = out, title, command
        self.found = Result(title)
        self._began = time.perf_counter(), time.process_time()
        require_own_folder(out, command)
        try:
            out.mkdir(parents=True, exist_ok=True)
            save_config(out / "config.toml", config, command)
        except OSError as error:
            raise InvalidInput(
                f"out is {out}, which cannot be written ({error.strerror}); choose another folder."
            ) from error

    def add(self, *results: Result) -> None:
        """Take in results: draw their figures, write their data, rewrite `claims.json`."""
        for result in results:
            if result.title != self.title:
                self.found.text(f"## {result.title}")
            self.found.extend(result)
            entries = [claim.to_dict() for claim in self.found.claims]
            text = json.dumps(entries, indent=2, ensure_ascii=False)
            (self.out / "claims.json").write_text(text, "utf-8")
            for name, dataset in result.data.items():
                self._write(name, dataset)
            for figure in result.figures:
                figure.save(self.out)

    def _write(self, name: str, dataset: Any) -> None:
        """Write a dataset to `{name}.nc`, whole or not at all."""
        # By way of memory: the format's own writer does not survive a full disk.
        content: Any = dataset.to_netcdf(engine="h5netcdf")
        partial = self.out / f"{name}.nc.partial"
        partial.write_bytes(content)
        partial.replace(self.out / f"{name}.nc")

    def finish(self) -> None:
        """Write `report.md`, and the same as one file with everything inside, `report.html`."""
        claims = self.found.claims
        count = sum(claim.holds for claim in claims)
        held = f"{count} of {len(claims)} claims hold." if claims else ""
        written = sorted(path.name for path in self.out.glob("*.nc"))
        others = " and ".join(f"`{name}`" for name in ["claims.json", *written])
        came = (
            f"{_bullets(provenance())}\n\nWritten {time.strftime('%Y-%m-%d %H:%M:%S')} by "
            f"`meanfield {self.command}`, {self._took()}. The folder also holds `config.toml` "
            f"(enough to rerun), {others}."
        )
        references = [cite(key) for key in self.found.references]
        lines = [
            f"# {self.title}",
            *([held, claims_table(claims)] if claims else []),
            *map(_markdown, self.found.body),
            "## How these numbers came about",
            came,
        ]
        if references:
            lines += ["## References", *(f"- {reference}" for reference in references)]
        (self.out / "report.md").write_text("\n\n".join(lines) + "\n", "utf-8")
        page = html_page(
            self.title,
            held,
            claims,
            self.found.body,
            self.out,
            provenance=came,
            references=references,
        )
        (self.out / "report.html").write_text(page, "utf-8")

    def _took(self) -> str:
        """Time since the report was begun, by the clock and of all cores."""
        clock, cores = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        return f"{clock:.0f} s after its start (CPU time {cores:.0f} s)"

    def to_dict(self, **more: Any) -> dict[str, Any]:
        """The machine-readable result that `--json` prints."""
        head = {"command": self.command, "out": str(self.out)}
        return plain(head | dict(self.found.to_dict()) | more)


@contextlib.contextmanager
def undone_if_refused(out: Path) -> Iterator[None]:
    """What is refused in here leaves no folder behind, and an older one with its configuration.

    Results that were found before the refusal stay, with their configuration.
    """
    config = out / "config.toml"
    before = config.read_bytes() if config.exists() else None
    others = _files(out)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    except InvalidInput:
        with contextlib.suppress(OSError):
            if before is not None:
                config.write_bytes(before)
            elif _files(out) <= others | {config}:
                config.unlink(missing_ok=True)
            if out in made and not _files(out):
                shutil.rmtree(out)
                for folder in made[1:]:
                    folder.rmdir()
        raise


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def require_own_folder(out: Path, command: str) -> None:
    """Refuse a results folder that is the current one, or another command's.

    Raises:
        InvalidInput: names the folder and whose it is.
    """
    if out.resolve() == Path.cwd():
        raise InvalidInput(f"out is {str(out)!r}, the current folder; name a folder of its own.")
    owner = owner_of(out)
    if owner not in (None, command):
        raise InvalidInput(
            f"out is {out}, which holds the results of `meanfield {owner}`; choose another folder."
        )


def owner_of(out: Path) -> str | None:
    """The command that a results folder belongs to; `None` if to none."""
    config = out / "config.toml"
    if not config.exists():
        return None
    try:
        return str(tomllib.loads(config.read_text("utf-8")).get("command", "another program"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):
        return "another program"


def _markdown(entry: str | Figure) -> str:
    if isinstance(entry, str):
        return entry
    return f"![{entry.caption}]({entry.name}.png)\n\n*{entry.caption}*"


def _bullets(entries: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in entries.items())
