"""Rules for JSON values that a client's registration and a user's claims share.

A rule takes a value and returns what is wrong with it, in words that follow the name of the member; None
where nothing is.
"""

from collections.abc import Callable

from protocol import typed_text

Rule = Callable[[object], str | None]


def boolean(value: object) -> str | None:
    """Return what is wrong with a value that must be a boolean."""
    return None if isinstance(value, bool) else "must be true or false"


def text_of_at_most(maximum: int) -> Rule:
    """Return the rule for printable text of 1 to `maximum` characters."""

    def text(value: object) -> str | None:
        problem = typed_text.find_problem(value if isinstance(value, str) else "", maximum)
        return f"{problem}, in double quotes" if problem else None

    return text
