"""The one exception for bad input: a sentence naming the argument, the value and the way out."""


class InvalidInput(ValueError):
    """An argument is refused; the message names it, its value, and what is allowed instead."""
