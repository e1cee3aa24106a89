"""Refresh token rotation: what a presented token means, decided from the one row of its family.

A client that lost a response presents its token again, and so do two tabs that refresh at the same time. An
attacker who stole a token does the same. Time alone cannot tell them apart; the use of the new pair can. (RFC
9700 §4.14.2 asks to revoke the family when a token is reused, and does not say how reuse is detected.)

    presented token                          decision
    ---------------------------------------  -------------------------------------------------------------
    the current one                          ROTATE, unless it was just used and rotation is off: REPEAT
    the one before, within the leeway        REPEAT, whatever was done with the successor's access token
    the one before, later, successor unused  LATE_REPEAT while the access token is valid, then REPLACE
    the one before, successor used           REUSED
    an older one                             REUSED

"Later" is only for clients that authenticate: an attacker needs more than the token there. At a public client
an attacker who refreshes first and does not use the pair would not be noticed: the user's client would get
the same pair. So a public client has the leeway alone.
"""

import hmac
from datetime import timedelta
from enum import Enum, auto
from typing import NamedTuple, Protocol

from protocol.clock import MICROSECONDS


class RefreshDecision(Enum):
    """What a refresh request gets."""

    ROTATE = auto()  # a new pair
    REPEAT = auto()  # the pair that the token was exchanged for before
    LATE_REPEAT = auto()  # the same, after the leeway
    REPLACE = auto()  # a new pair in place of one that was never used
    REUSED = auto()  # a refusal, and the family is revoked


class Family(Protocol):
    """The columns of a token's row that the decision depends on."""

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
    """The client's own settings of how long a refresh may be repeated.

    In seconds; None for the server's setting.
    """

    @property
    def refresh_leeway(self) -> int | None: ...

    @property
    def refresh_retry_lifetime(self) -> int | None: ...

    @property
    def is_public(self) -> bool: ...

    @property
    def has_jwt_access_tokens(self) -> bool: ...


class Leeways(Protocol):
    """The server's settings of how long a refresh may be repeated."""

    @property
    def refresh_leeway(self) -> timedelta: ...

    @property
    def public_refresh_leeway(self) -> timedelta: ...

    @property
    def refresh_retry_lifetime(self) -> timedelta: ...


class RetryWindow(NamedTuple):
    """For how long a refresh may be repeated: in any case, and while the new pair is unused."""

    leeway: timedelta
    retry_lifetime: timedelta

    @property
    def is_strict(self) -> bool:
        """Return whether no refresh may be repeated."""
        return not self.leeway and not self.retry_lifetime


def retry_window_of(client: Client, settings: Leeways) -> RetryWindow:
    """Return for how long this client may repeat a refresh.

    Where access tokens are JWTs there is only the leeway, as for public clients: this server does not see
    their use.
    """
    leeway = leeway_of(client.is_public, client.refresh_leeway, settings)
    if client.is_public or client.has_jwt_access_tokens:
        return RetryWindow(leeway, timedelta(0))
    own = client.refresh_retry_lifetime
    return RetryWindow(leeway, settings.refresh_retry_lifetime if own is None else timedelta(seconds=own))


def leeway_of(is_public: bool, own: int | None, settings: Leeways) -> timedelta:
    """Return the leeway of a client. own: the client's own seconds, None for the server's setting."""
    if own is not None:
        return timedelta(seconds=own)
    return settings.public_refresh_leeway if is_public else settings.refresh_leeway


def classify(family: Family, presented: bytes, now: int, window: RetryWindow) -> RefreshDecision:
    """Return what a refresh request gets whose token has a valid tag and belongs to this family.

    presented: the token's digest. now: epoch microseconds, as `issued_at` is.
    """
    leeway, retry_lifetime = window
    age = timedelta(microseconds=now - family.issued_at)
    is_current = hmac.compare_digest(family.refresh_token_digest, presented)
    is_previous = hmac.compare_digest(family.previous_refresh_token_digest or b"", presented)
    is_alive = now < family.access_token_expires_at * MICROSECONDS
    if is_current:  # never reuse, also where the clocks of two nodes differ
        was_just_issued = is_previous and family.sealed_pair is not None and age < leeway and is_alive
        return RefreshDecision.REPEAT if was_just_issued else RefreshDecision.ROTATE
    if not is_previous or family.sealed_pair is None:
        return RefreshDecision.REUSED
    if age < leeway:
        return RefreshDecision.REPEAT
    if age < retry_lifetime and family.used_at is None:
        return RefreshDecision.LATE_REPEAT if is_alive else RefreshDecision.REPLACE
    return RefreshDecision.REUSED
