"""Running `meanfield` within this process, as the tests of the command line do."""

import contextlib
import io
import warnings
from typing import NamedTuple

import jax

from meanfield.__main__ import main


class Outcome(NamedTuple):
    """What a shell would see."""

    code: int
    stdout: str
    stderr: str

    @property
    def sentence(self) -> str:
        """The one line of an error."""
        (line,) = self.stderr.splitlines()
        assert line.startswith("meanfield: ")
        return line


def meanfield(*arguments: object) -> Outcome:
    """Run `meanfield ARGUMENTS…`."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")  # as outside the tests: said, not raised
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # --help, or arguments that make no sense
            code = stopped.code
    jax.config.update("jax_enable_x64", True)  # a configuration may have turned it off
    return Outcome(code, stdout.getvalue(), stderr.getvalue())  # pyright: ignore
