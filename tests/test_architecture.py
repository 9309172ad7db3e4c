"""The shape of the house: who may import whom, how long files are, how light the front door is."""

import ast
import graphlib
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


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_of(file): file for file in python_files(*PACKAGES)}


def imported_modules(module: str) -> Iterator[tuple[int, str]]:
    """Line and name of every module of its own package that a module imports, wherever it does."""
    file = MODULES[module]
    folder = file.split("/")[:-1]
    for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            sources = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            sources = [(source, alias.name) for alias in node.names]
        else:
            continue
        for source, name in sources:
            found = next((m for m in (f"{source}.{name}", source) if m in MODULES), None)
            if found and found.split(".")[0] == module.split(".")[0]:
                yield node.lineno, found


@pytest.mark.parametrize("module", MODULES)
def test_rooms_see_each_other_through_their_doors(module: str) -> None:
    def room(name: str) -> list[str]:
        return name.split(".")[:2]

    faults = [
        f"{MODULES[module]}:{line} imports {name}: import from {'.'.join(room(name))}"
        for line, name in imported_modules(module)
        if room(name) != room(module) and name.count(".") > 1
    ]
    assert not faults


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_needs_itself(package: str) -> None:
    """No circles, those of imports for types alone or inside functions included."""
    graph = {
        module: {name for _, name in imported_modules(module) if name != module}
        for module in MODULES
        if module.split(".")[0] == package
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


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
