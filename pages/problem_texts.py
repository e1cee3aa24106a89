"""The sentences for what services refuse, each for the field of a form that it is about."""

from collections.abc import Iterable, Mapping

from errors import Problem
from protocol import typed_text
from services.problems import Code

CHARACTERS = "Leave out control characters, and those that turn the direction of writing."
TEXTS: Mapping[str, tuple[str, str]] = {
    Code.INVALID_EMAIL: ("email", "This does not look like an email address."),
    Code.EMAIL_TAKEN: ("email", "There is an account with this address. Sign in instead."),
    Code.NAME_LENGTH: ("name", f"Tell us how to address you, in up to {typed_text.NAME_LENGTH} characters."),
    Code.NAME_CHARACTERS: ("name", CHARACTERS),
    Code.PASSWORD_TOO_SHORT: ("password", "Use at least {minimum} characters."),
    Code.PASSWORD_TOO_LONG: ("password", "Use at most {maximum:,} characters."),
    Code.PASSWORD_CHARACTERS: ("password", CHARACTERS),
    Code.PASSWORD_UNCHANGED: ("password", "This is the same password again. Choose another one."),
}


def problem_text(problem: Problem) -> str:
    """Return the sentence for one problem."""
    return TEXTS[problem.code][1].format(**problem.values)


def by_field(problems: Iterable[Problem]) -> dict[str, str]:
    """Return the sentence for each field that something is wrong with."""
    return {TEXTS[problem.code][0]: problem_text(problem) for problem in problems}
