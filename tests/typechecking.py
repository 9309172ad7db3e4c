"""The run-time check of annotations that the tests put on every function of the packages."""

from collections.abc import Callable
from typing import Any

import beartype

#: An int is welcome where a float is asked for, as PEP 484 has it.
_check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def check(function: Callable) -> Callable:
    """The type checker given to jaxtyping.

    It is asked for two functions: one takes the arguments, the other takes them again to return
    what came out. The second one checks what came out only; the names of sizes are still bound.
    """
    hints = function.__annotations__
    if hints.get("return", Any) is not Any:
        function.__annotations__ = {"return": hints["return"]}
    return _check(function)
