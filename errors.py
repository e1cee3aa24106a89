"""The exceptions that several rooms use. `middleware/error_responses.py` says how each is answered.

    ClickException
        ConfigError              a process does not start, a command exits 1
    StorageBusyError             503
        DuplicateRequestError    the request runs again, and finds the answer of the first; at last 503
    TooManyHashesError           503, and the sign-in page again
    FetchError                   a client's document or address could not be used
        FetchBusyError           ... because too many threads wait for the network; 503
    InvalidJwtError              a token is malformed, or no known key has signed it
    ThrottledError               429, with the seconds to wait, and the form again
    WrongPasswordError           the sign-in page again
    ServiceError                 a service refused a change; commands exit 1, pages show the form again
        InvalidInputError        ... because what was given breaks rules
        NotFoundError            ... because there is no such client, user or scope
        ConflictError            ... because of what is stored already
    UnfencedError                a statement is not held to the current tenant; a bug, so 500
    NoTenantError                work for a tenant that was not entered, or is not there; a bug, so 500
    ValueError
        BlockedUrlError          this server does not call that address

Refusals of OAuth requests are Authlib's `OAuth2Error` and its subclasses; those of client authentication are
in `client_auth/errors.py`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from click import ClickException


class ConfigError(ClickException):
    """The settings cannot be used.

    Its text lists every problem and no value; `flask …` prints it and exits 1.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("Ostiary cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems))


class StorageBusyError(Exception):
    """The wait for the database's single writer took too long (the lock file of SQLite)."""


class DuplicateRequestError(StorageBusyError):
    """The same request was sent twice, and the other one was faster.

    When this one runs again, it finds the answer of the other.
    """


class TooManyHashesError(Exception):
    """This process is hashing as many passwords as it may at the same time."""


class ThrottledError(Exception):
    """There were too many failures, or too many new accounts, before this request."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(seconds)


class WrongPasswordError(Exception):
    """An address and a password do not belong together, or the account is disabled."""


class FetchError(Exception):
    """A request to a client failed, or its answer cannot be used.

    The text is fixed: it quotes neither the URL nor the answer.
    """


class FetchBusyError(FetchError):
    """As many threads wait for the network as are allowed; a second try in a few seconds may succeed."""


class BlockedUrlError(ValueError):
    """This server does not call that address. The text is fixed."""


class InvalidJwtError(Exception):
    """A token is refused. The text is fixed, for the log: it never quotes the token."""


class UnfencedError(Exception):
    """A statement is not held to the current tenant (`database/tenancy.py`), and was not sent.

    Its text says what is missing and where, and has no values.
    """


class NoTenantError(Exception):
    """There is no current tenant where tenants are on, or none with this number."""


class Problem(NamedTuple):
    """One rule that a change would break.

    The codes are in `services/problems.py`. The sentences are where they are shown.
    """

    code: StrEnum
    values: Mapping[str, object] = {}
    path: str = ""  # where in the input it is, when the input has several parts


class ServiceError(Exception):
    """A service refused a change. `problems` has every reason; the transaction has to be undone."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = problems
        super().__init__(", ".join(problem.code for problem in problems))


class InvalidInputError(ServiceError):
    """What was given breaks rules."""


class NotFoundError(ServiceError):
    """There is no such client, user or scope."""


class ConflictError(ServiceError):
    """What was asked for does not fit what is stored already."""
