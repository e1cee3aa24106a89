"""What a presented refresh token means, decided from the one row of its family.

A client that lost an answer, or two tabs that refresh at once, present a token again; so does a thief. Time
alone cannot tell them apart, use can (RFC 9700 §4.14.2 asks for the family's end on reuse, and leaves open
how reuse is told):

    presented token                          verdict
    ---------------------------------------  -------------------------------------------------------------
    the current one                          ROTATE, unless it was just used and rotation is off: REPEAT
    the one before, within the leeway        REPEAT, whatever was done with the successor's access token
    the one before, later, successor unused  LATE_REPEAT while the access token lives, then REPLACE
    the one before, successor used           THEFT
    an older one                             THEFT

"Later" is for a client that proves itself: a thief needs more than the token there. Where nothing proves who
asks, one who refreshes first and uses nothing would never be seen: the owner's repeat would get the thief's
pair. So a public client has the leeway alone.
"""

import hmac
from datetime import timedelta
from enum import Enum, auto
from typing import NamedTuple, Protocol

from protocol.clock import MICROSECONDS


class RefreshDecision(Enum):
    ROTATE = auto()  # the next pair is issued
    REPEAT = auto()  # the pair that was issued for it is given again
    LATE_REPEAT = auto()  # the same, after the leeway
    REPLACE = auto()  # a new pair takes the place of one that nobody ever used
    THEFT = auto()  # the family ends


class Family(Protocol):
    """The columns of a token row that the verdict rests on."""

    refresh_token_digest: bytes
    previous_refresh_token_digest: bytes | None
    sealed_pair: bytes | None
    issued_at: int
    used_at: int | None
    access_token_expires_at: int


class Client(Protocol):
    """What of a registration decides how long a refresh may be repeated; seconds, None for the
    server's own.
    """

    refresh_leeway: int | None
    refresh_retry_lifetime: int | None

    @property
    def is_public(self) -> bool: ...

    @property
    def has_jwt_access_tokens(self) -> bool: ...


class Leeways(Protocol):
    """The settings."""

    @property
    def refresh_leeway(self) -> timedelta: ...

    @property
    def public_refresh_leeway(self) -> timedelta: ...

    @property
    def refresh_retry_lifetime(self) -> timedelta: ...


class RetryWindow(NamedTuple):
    """For how long a refresh may be repeated: in any case, and while nobody has used what it got."""

    leeway: timedelta
    retry_lifetime: timedelta

    @property
    def is_strict(self) -> bool:
        return not self.leeway and not self.retry_lifetime


def retry_window_of(client: Client, settings: Leeways) -> RetryWindow:
    """The use of a JWT access token is not seen here, so "unused" says nothing of one: there the leeway
    counts alone too.
    """
    leeway = leeway_of(client.is_public, client.refresh_leeway, settings)
    if client.is_public or client.has_jwt_access_tokens:
        return RetryWindow(leeway, timedelta(0))
    own = client.refresh_retry_lifetime
    return RetryWindow(leeway, settings.refresh_retry_lifetime if own is None else timedelta(seconds=own))


def leeway_of(is_public: bool, own: int | None, settings: Leeways) -> timedelta:
    if own is not None:
        return timedelta(seconds=own)
    return settings.public_refresh_leeway if is_public else settings.refresh_leeway


def classify(family: Family, presented: bytes, now: int, patience: RetryWindow) -> RefreshDecision:
    """The verdict on a token whose tag is right and whose family this is.

    presented: its digest. now: epoch microseconds, as `issued_at` is.
    """
    leeway, retry_lifetime = patience
    age = timedelta(microseconds=now - family.issued_at)
    is_current = hmac.compare_digest(family.refresh_token_digest, presented)
    is_previous = hmac.compare_digest(family.previous_refresh_token_digest or b"", presented)
    is_alive = now < family.access_token_expires_at * MICROSECONDS
    if is_current:  # never a theft, whatever the clocks of two nodes say
        was_just_issued = is_previous and family.sealed_pair is not None and age < leeway and is_alive
        return RefreshDecision.REPEAT if was_just_issued else RefreshDecision.ROTATE
    if not is_previous or family.sealed_pair is None:
        return RefreshDecision.THEFT
    if age < leeway:
        return RefreshDecision.REPEAT
    if age < retry_lifetime and family.used_at is None:
        return RefreshDecision.LATE_REPEAT if is_alive else RefreshDecision.REPLACE
    return RefreshDecision.THEFT
