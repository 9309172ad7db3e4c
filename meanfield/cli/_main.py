"""The command line: `meanfield COMMAND …`."""

from __future__ import annotations

import importlib
import signal
import sys
import warnings
from collections.abc import Sequence

#: Commands: where each is, and what it does in a line.
COMMANDS = {
    "demo": ("_demo:Demo", "a saddle: detect it, escape it, reach the minimum; with a report"),
    "simulate": ("_simulate:Simulate", "one flow from a configuration file"),
    "escape": ("_escape:Escape", "escape from a saddle, all perturbation kinds side by side"),
    "converge": ("_converge:Converge", "N to infinity: errors against N, with fitted exponents"),
    "spectrum": ("_spectrum:Spectrum", "Hessian spectrum and kind of critical point"),
    "diagnose": ("_diagnose:Diagnose", "criticality, surroundings, dependence on the samples"),
    "animate": ("_animate:Animate", "a film of a run: particles, loss and curvature"),
    "plan": ("_plan:Plan", "memory, time and devices that a run would need"),
    "problems": ("_problems:Problems", "the kinds of problems, with their options"),
    "reproduce": ("_reproduce:Reproduce", "the headline results of a paper as claims"),
    "cite": ("_cite:Cite", "a source as BibTeX"),
}

#: Files that the user named and that cannot be read.
UNREADABLE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)

INTERRUPTED = 130  # as shells report a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 when it ran, 2 for bad input, 1 for a failure at run time, 130 or 143 when it was
        interrupted by Ctrl-C or SIGTERM.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("--help", "-h"):
        print(_help())
        return 0 if words else 2
    if words[0] not in COMMANDS:
        return _failed(f"{words[0]!r} is no command; choose one of {list(COMMANDS)}.", 2)
    return _run(words[0], words[1:])


def _run(name: str, words: Sequence[str]) -> int:
    import jax

    from particles import InvalidInput

    from ..runs import FlowFailed, RunInterrupted
    from ._parse import parse

    # Hessians, rates and reproductions need double precision; --precision can turn it off.
    jax.config.update("jax_enable_x64", True)
    place, attribute = COMMANDS[name][0].split(":")
    with warnings.catch_warnings():
        warnings.showwarning = _one_line  # pyright: ignore[reportAttributeAccessIssue]
        try:
            cls = getattr(importlib.import_module(f".{place}", __package__), attribute)
            own = getattr(cls, "from_words", None)
            return (parse(cls, words) if own is None else own(words))()
        except (InvalidInput, *UNREADABLE) as error:
            return _failed(error, 2)
        except (FlowFailed, OSError, RuntimeError, MemoryError) as error:
            return _failed(error, 1)
        except RunInterrupted as stopped:
            # A signal on another host is not known here.
            return _failed(stopped, 128 + (stopped.run.signal or signal.SIGTERM))
        except KeyboardInterrupt:
            return _failed("interrupted", INTERRUPTED)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: meanfield COMMAND [options]",
            "",
            "Mean-field particle simulation of Wasserstein gradient flows.",
            "",
            *lines,
            "",
            "meanfield COMMAND --help lists the options of a command.",
        ]
    )


def _failed(error: BaseException | str, code: int) -> int:
    """One sentence on standard error; returns the exit code."""
    if isinstance(error, OSError) and error.strerror:
        where = "results could not be written" if error.filename is None else error.filename
        error = f"{where}: {error.strerror}."
    print(f"meanfield: {str(error) or type(error).__name__}", file=sys.stderr)
    return code


def _one_line(message: Warning | str, category: type[Warning], *where: object) -> None:
    """Warnings as sentences, without the line of code that raised them."""
    print(f"meanfield: warning: {message}", file=sys.stderr)
