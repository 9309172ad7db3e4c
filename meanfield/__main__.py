"""The command line: `meanfield COMMAND …`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

#: Files that the user named and that cannot be read.
UNREADABLE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it ran, 2 for bad input, 1 for a failure at run time."""
    import jax
    import tyro

    from particles import InvalidInput

    from .cli import Converge, Demo, Diagnose, Escape, Reproduce, Simulate, Spectrum
    from .runs import FlowFailed

    # Hessians, rates and reproductions need double precision; a config can turn it off.
    jax.config.update("jax_enable_x64", True)
    commands = (
        Annotated[Demo, tyro.conf.subcommand("demo")]
        | Annotated[Simulate, tyro.conf.subcommand("simulate")]
        | Annotated[Escape, tyro.conf.subcommand("escape")]
        | Annotated[Converge, tyro.conf.subcommand("converge")]
        | Annotated[Spectrum, tyro.conf.subcommand("spectrum")]
        | Annotated[Diagnose, tyro.conf.subcommand("diagnose")]
        | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    )
    chosen = tyro.cli(
        commands,  # pyright: ignore[reportArgumentType]
        prog="meanfield",
        description="Mean-field particle simulation of Wasserstein gradient flows.",
        args=None if arguments is None else list(arguments),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
    with warnings.catch_warnings():
        warnings.showwarning = _one_line  # pyright: ignore[reportAttributeAccessIssue]
        try:
            return chosen()
        except (InvalidInput, *UNREADABLE) as error:
            return _failed(error, 2)
        except (FlowFailed, OSError, RuntimeError, MemoryError) as error:
            return _failed(error, 1)
        except KeyboardInterrupt:
            return _failed("interrupted", 1)


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


if __name__ == "__main__":
    sys.exit(main())
