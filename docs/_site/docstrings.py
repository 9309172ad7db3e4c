"""How the reference reads docstrings: an example is code, and mathematics is no link."""

from __future__ import annotations

import re

import griffe

EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
BRACKETS = re.compile(r"\](?=[(\[])")  # such as L'[μ](θ)


class PlainDocstrings(griffe.Extension):
    """Prepares every docstring for the page."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrites one docstring."""
        if obj.docstring is None:
            return
        text, examples, code = EXAMPLE.sub(r"\1Examples:", obj.docstring.value).partition(
            "Examples:"
        )
        obj.docstring.value = BRACKETS.sub(r"]\\", text) + examples + code
