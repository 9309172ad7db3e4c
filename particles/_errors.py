"""The one exception for bad input, and warnings by class."""


class InvalidInput(ValueError):
    """An argument is refused; the message names it, its value, and what is allowed instead."""


class NotConvergedWarning(UserWarning):
    """An iteration stopped short of its tolerance."""
