"""What a presented refresh token means, decided from the one row of its family.

A client that lost an answer, or two tabs that refresh at once, present a token again; so does a thief. Time alone cannot
tell them apart, use can (RFC 9700 §4.14.2 asks for the family's end on reuse, and leaves open how reuse is told):

    presented token                          verdict
    ---------------------------------------  -------------------------------------------------------------
    the current one                          ROTATE, unless it was just used and rotation is off: REPEAT
    the one before, within the leeway        REPEAT, whatever was done with the successor's access token
    the one before, later, successor unused  REPEAT while the access token lives, then REPLACE
    the one before, successor used           THEFT
    an older one                             THEFT
"""

import hmac
from datetime import timedelta
from enum import Enum, auto
from typing import Protocol

from protocol.clock import MICROSECONDS


class Verdict(Enum):
    ROTATE = auto()  # the next pair is issued
    REPEAT = auto()  # the pair that was issued for it is given again
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


def judge(family: Family, presented: bytes, now: int, leeway: timedelta, retry_lifetime: timedelta) -> Verdict:
    """The verdict on a token whose tag is right and whose family this is.

    presented: its digest. now: epoch microseconds, as `issued_at` is.
    """
    age = timedelta(microseconds=now - family.issued_at)
    is_current = hmac.compare_digest(family.refresh_token_digest, presented)
    is_previous = hmac.compare_digest(family.previous_refresh_token_digest or b"", presented)
    is_alive = now < family.access_token_expires_at * MICROSECONDS
    if is_current:  # never a theft, whatever the clocks of two nodes say
        was_just_issued = is_previous and family.sealed_pair is not None and age < leeway and is_alive
        return Verdict.REPEAT if was_just_issued else Verdict.ROTATE
    if not is_previous or family.sealed_pair is None:
        return Verdict.THEFT
    if age < leeway:
        return Verdict.REPEAT
    if age < retry_lifetime and family.used_at is None:
        return Verdict.REPEAT if is_alive else Verdict.REPLACE
    return Verdict.THEFT
