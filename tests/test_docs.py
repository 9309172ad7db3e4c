"""What the documents say is true: code blocks run, commands exist, docstring examples hold."""

import ast
import doctest
import functools
import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import meanfield

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]
PACKAGES = ["particles", "landscapes", "saddle_analysis", "meanfield"]
SHELLS = {"bash", "console", "sh", "shell"}
FENCE = re.compile(r"^```(\w+)([^\n`]*)\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.usefixtures("user_precision")


class Block(NamedTuple):
    """A fenced block of a document: where it is, its language, the words after that, its text."""

    place: str
    language: str
    words: list[str]
    text: str


def blocks() -> Iterator[Block]:
    for document in filter(Path.exists, map(ROOT.joinpath, DOCUMENTS)):
        content = document.read_text("utf-8")
        for fence in FENCE.finditer(content):
            place = f"{document.name}:{content.count(chr(10), 0, fence.start()) + 1}"
            language, words, text = fence.groups()
            yield Block(place, language, words.split(), text)


def command_lines() -> Iterator:
    """Every shell line that calls `meanfield` or `make`, without prompt and comment."""
    for block in blocks():
        if block.language in SHELLS:
            for line in block.text.replace("\\\n", " ").splitlines():
                command = line.strip().removeprefix("$ ")
                if command.startswith(("meanfield ", "make ")):
                    words = shlex.split(command, comments=True)
                    yield pytest.param(words, id=f"{block.place} {' '.join(words)}")


def docstring_examples() -> Iterator:
    """Every docstring with a `>>>` in it, found in the source: no decorator can hide one."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for file in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, documented) else None
            if text and ">>>" in text:
                line = getattr(node, "lineno", 0)
                name = getattr(node, "name", "the module")
                yield pytest.param(module, text, line, id=f"{module}:{line} {name}")


@functools.cache
def help_text(*command: str) -> str:
    with pytest.MonkeyPatch.context() as wide:
        wide.setenv("COLUMNS", "200")
        wide.setenv("NO_COLOR", "1")
        asked = meanfield(*command, "--help")
    assert asked.code == 0, asked.stderr
    return asked.stdout


@functools.cache
def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=block.place)
        for block in blocks()
        if block.language == "python" and "no-run" not in block.words
    ],
)
def test_python_block_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("words", list(command_lines()))
def test_command_exists(words: list[str]) -> None:
    program, *rest = words
    if program == "make":
        targets = {word for word in rest if not word.startswith("-") and "=" not in word}
        assert targets <= make_targets()
        return
    command = [word for word in rest[:1] if not word.startswith("-")]
    assert set(command) <= set(re.findall(r"[\w-]+", help_text()))
    flags = {word.split("=")[0] for word in rest if word.startswith("--")}
    # The kinds decide which options there are.
    kinds = [
        word
        for flag, kind in itertools.pairwise(rest)
        if flag in ("--problem", "--start", "--flow") and ":" not in kind
        for word in (flag, kind)
    ]
    known = set(re.findall(r"--[\w.-]+", help_text(*command, *kinds)))
    assert flags <= known


@pytest.mark.parametrize(("module", "text", "line"), list(docstring_examples()))
def test_docstring_example_holds(
    module: str, text: str, line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = dict(vars(importlib.import_module(module)))
    example = doctest.DocTestParser().get_doctest(text, names, module, module, line)
    report: list[str] = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    outcome = doctest.DocTestRunner(optionflags=options).run(example, out=report.append)
    assert not outcome.failed, "".join(report)
