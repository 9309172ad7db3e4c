"""The command line: `meanfield COMMAND …`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it ran, 2 for bad input, 1 for a failure at run time."""
    import jax
    import tyro

    from particles import InvalidInput

    from ._commands._demo import Demo
    from ._commands._simulate import Simulate
    from ._run import FlowFailed

    # Hessians, rates and reproductions need double precision; a config can turn it off.
    jax.config.update("jax_enable_x64", True)
    commands = (
        Annotated[Demo, tyro.conf.subcommand("demo")]
        | Annotated[Simulate, tyro.conf.subcommand("simulate")]
    )
    chosen = tyro.cli(
        commands,  # pyright: ignore[reportArgumentType]
        prog="meanfield",
        description="Mean-field particle simulation of Wasserstein gradient flows.",
        args=None if arguments is None else list(arguments),
        config=(tyro.conf.FlagConversionOff, tyro.conf.OmitSubcommandPrefixes),
    )
    warnings.showwarning = _one_line  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return chosen()
    except (InvalidInput, FileNotFoundError) as error:
        print(f"meanfield: {error}", file=sys.stderr)
        return 2
    except (FlowFailed, OSError, RuntimeError, MemoryError) as error:
        print(f"meanfield: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("meanfield: interrupted", file=sys.stderr)
        return 1


def _one_line(message: Warning | str, category: type[Warning], *where: object) -> None:
    """Warnings as sentences, without the line of code that raised them."""
    print(f"meanfield: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
