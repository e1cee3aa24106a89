"""What a presented refresh token means, decided from the one row of its family.

A client that lost a response, or that refreshes in two tabs at once, presents a token again; so does a thief.
Time alone does not tell them apart, the use of what was issued does. RFC 9700 §4.14.2 asks for the end of the
family on reuse, and leaves open how reuse is noticed:

    presented token                          decision
    ---------------------------------------  -------------------------------------------------------------
    the current one                          ROTATE, unless it was just used and rotation is off: REPEAT
    the one before, within the leeway        REPEAT, whatever was done with the successor's access token
    the one before, later, successor unused  LATE_REPEAT while the access token lives, then REPLACE
    the one before, successor used           REUSED
    an older one                             REUSED

"Later" is only for a client that proves who it is: a thief would need its secret too. A public client proves
nothing. If a thief refreshed first and did not use the tokens, nobody would notice, and the user's own repeat
would get the thief's tokens. So a public client has the leeway alone.
"""

import hmac
from datetime import timedelta
from enum import Enum, auto
from typing import NamedTuple, Protocol

from protocol.clock import MICROSECONDS


class RefreshDecision(Enum):
    """What is done with a presented refresh token."""

    ROTATE = auto()  # the next tokens are issued
    REPEAT = auto()  # the tokens that were issued for it are given again
    LATE_REPEAT = auto()  # the same, after the leeway
    REPLACE = auto()  # new tokens take the place of those that nobody ever used
    REUSED = auto()  # the family is revoked


class Family(Protocol):
    """The columns of a token row that the decision rests on."""

    @property
    def refresh_token_digest(self) -> bytes: ...

    @property
    def previous_refresh_token_digest(self) -> bytes | None: ...

    @property
    def sealed_pair(self) -> bytes | None: ...

    @property
    def issued_at(self) -> int: ...

    @property
    def used_at(self) -> int | None: ...

    @property
    def access_token_expires_at(self) -> int: ...


class Client(Protocol):
    """The columns of a client that decide for how long a refresh may be repeated.

    Seconds; None for the server's setting.
    """

    refresh_leeway: int | None
    refresh_retry_lifetime: int | None

    @property
    def is_public(self) -> bool: ...

    @property
    def has_jwt_access_tokens(self) -> bool: ...


class Leeways(Protocol):
    """The settings that decide where a client's registration does not."""

    @property
    def refresh_leeway(self) -> timedelta: ...

    @property
    def public_refresh_leeway(self) -> timedelta: ...

    @property
    def refresh_retry_lifetime(self) -> timedelta: ...


class RetryWindow(NamedTuple):
    """For how long a refresh may be repeated: in any case, and while the new access token is unused."""

    leeway: timedelta
    retry_lifetime: timedelta

    @property
    def is_strict(self) -> bool:
        """Whether no refresh may be repeated."""
        return not self.leeway and not self.retry_lifetime


def retry_window_of(client: Client, settings: Leeways) -> RetryWindow:
    """Return for how long a client may repeat a refresh.

    This server does not see the use of an access token that is a JWT, so for such a client too the leeway
    counts alone.
    """
    leeway = leeway_of(client.is_public, client.refresh_leeway, settings)
    if client.is_public or client.has_jwt_access_tokens:
        return RetryWindow(leeway, timedelta(0))
    own = client.refresh_retry_lifetime
    return RetryWindow(leeway, settings.refresh_retry_lifetime if own is None else timedelta(seconds=own))


def leeway_of(is_public: bool, own: int | None, settings: Leeways) -> timedelta:
    """Return for how long a refresh may be repeated in any case. own: of the registration, in seconds."""
    if own is not None:
        return timedelta(seconds=own)
    return settings.public_refresh_leeway if is_public else settings.refresh_leeway


def classify(family: Family, presented: bytes, now: int, retry_window: RetryWindow) -> RefreshDecision:
    """Return what is done with a refresh token whose tag is right and whose family this is.

    presented: its digest. now: epoch microseconds, as `issued_at` is.
    """
    leeway, retry_lifetime = retry_window
    age = timedelta(microseconds=now - family.issued_at)
    is_current = hmac.compare_digest(family.refresh_token_digest, presented)
    is_previous = hmac.compare_digest(family.previous_refresh_token_digest or b"", presented)
    is_alive = now < family.access_token_expires_at * MICROSECONDS
    if is_current:  # never reused, whatever the clocks of two nodes say
        was_just_issued = is_previous and family.sealed_pair is not None and age < leeway and is_alive
        return RefreshDecision.REPEAT if was_just_issued else RefreshDecision.ROTATE
    if not is_previous or family.sealed_pair is None:
        return RefreshDecision.REUSED
    if age < leeway:
        return RefreshDecision.REPEAT
    if age < retry_lifetime and family.used_at is None:
        return RefreshDecision.LATE_REPEAT if is_alive else RefreshDecision.REPLACE
    return RefreshDecision.REUSED
