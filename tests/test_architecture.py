"""The shape of the house: who may import whom, how long files are, how light the front door is."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["particles", "landscapes", "saddle_analysis", "meanfield"]  # from the ground up
LAZY = {"matplotlib", "orbax", "ott", "tyro", "xarray"}
MAX_LINES = 500


def python_files(*folders: str) -> list[str]:
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports from outside its own folder."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


@pytest.mark.parametrize("file", python_files(*PACKAGES))
def test_imports_point_downwards_and_stay_public(file: str) -> None:
    home = file.split("/")[0]
    below = PACKAGES[: PACKAGES.index(home)]
    faults = [
        f"{file}:{line} imports {name}"
        for line, name in imported_names(ast.parse((ROOT / file).read_text("utf-8")))
        if (package := name.split(".")[0]) in PACKAGES
        and package != home
        and (package not in below or is_private(name))
    ]
    assert not faults


@pytest.mark.parametrize("file", python_files(*PACKAGES, "tests", "examples"))
def test_files_stay_short(file: str) -> None:
    lines = len((ROOT / file).read_text("utf-8").splitlines())
    assert lines < MAX_LINES, f"{file} has {lines} lines: split it"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_importing_the_front_door_is_light() -> None:
    code = "import sys, meanfield; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert not LAZY & set(loaded.split())
