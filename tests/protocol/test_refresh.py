"""What is done with a presented refresh token: every row of the table in `protocol/refresh.py`, and the edges
between them.
"""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from protocol.clock import MICROSECONDS
from protocol.refresh import RefreshDecision, RetryWindow, classify, retry_window_of

LEEWAY, RETRY = timedelta(seconds=10), timedelta(hours=24)
BORN = 1_000_000
CURRENT, PREVIOUS, OLDER = b"c" * 32, b"p" * 32, b"o" * 32


@dataclass
class Row:
    refresh_token_digest: bytes = CURRENT
    previous_refresh_token_digest: bytes | None = PREVIOUS
    sealed_pair: bytes | None = b"sealed"
    issued_at: int = BORN * MICROSECONDS
    used_at: int | None = None
    access_token_expires_at: int = BORN + 600


def after(seconds, presented, leeway=LEEWAY, retry_lifetime=RETRY, **row):
    return classify(
        Row(**row), presented, int((BORN + seconds) * MICROSECONDS), RetryWindow(leeway, retry_lifetime)
    )


@pytest.mark.parametrize("seconds", [0, 9.9, 10, 3_600, 90_000])
def test_the_current_token_rotates_whenever_it_comes(seconds):
    assert after(seconds, CURRENT) is RefreshDecision.ROTATE
    assert (
        after(seconds, CURRENT, previous_refresh_token_digest=None, sealed_pair=None)
        is RefreshDecision.ROTATE
    )


@pytest.mark.parametrize("seconds", [0, 9.9, 10, 3_600, 90_000])
def test_an_older_token_is_stolen_whenever_it_comes(seconds):
    assert after(seconds, OLDER) is RefreshDecision.REUSED
    assert after(seconds, OLDER, used_at=BORN) is RefreshDecision.REUSED


@pytest.mark.parametrize(
    ("seconds", "used_at", "verdict"),
    [
        (0, None, RefreshDecision.REPEAT),
        (9.999999, None, RefreshDecision.REPEAT),
        (9.999999, BORN + 1, RefreshDecision.REPEAT),
        (10, None, RefreshDecision.LATE_REPEAT),
        (10, BORN + 1, RefreshDecision.REUSED),
        (599, None, RefreshDecision.LATE_REPEAT),
        (600, None, RefreshDecision.REPLACE),
        (600, BORN + 20, RefreshDecision.REUSED),
        (86_399, None, RefreshDecision.REPLACE),
        (86_400, None, RefreshDecision.REUSED),
    ],
)
def test_the_previous_token_is_repeated_or_reused_by_its_age(seconds, used_at, verdict):
    assert after(seconds, PREVIOUS, used_at=used_at) is verdict


def test_without_a_seal_there_is_nothing_to_repeat():
    assert after(1, PREVIOUS, sealed_pair=None) is RefreshDecision.REUSED


def test_without_leeway_the_previous_token_is_reused():
    nothing = timedelta(0)
    assert after(0, PREVIOUS, nothing, nothing) is RefreshDecision.REUSED
    assert after(0, CURRENT, nothing, nothing) is RefreshDecision.ROTATE


def test_leeway_alone_repeats_until_it_is_over():
    assert after(9, PREVIOUS, retry_lifetime=timedelta(0)) is RefreshDecision.REPEAT
    assert after(10, PREVIOUS, retry_lifetime=timedelta(0)) is RefreshDecision.REUSED


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0, RefreshDecision.REPEAT), (9, RefreshDecision.REPEAT), (10, RefreshDecision.ROTATE)],
)
def test_without_rotation_a_burst_repeats(seconds, verdict):
    assert after(seconds, CURRENT, previous_refresh_token_digest=CURRENT) is verdict
    assert after(seconds, CURRENT, previous_refresh_token_digest=CURRENT, used_at=BORN) is verdict


def test_the_current_token_is_never_stolen_property():
    """Without rotation it is the one before, too; without a seal there is nothing to repeat, so a new pair is
    due.
    """
    assert (
        after(0, CURRENT, previous_refresh_token_digest=CURRENT, sealed_pair=None) is RefreshDecision.ROTATE
    )


def test_a_clock_that_went_back_is_within_the_leeway():
    assert after(-3_600, PREVIOUS) is RefreshDecision.REPEAT


@dataclass
class Registration:
    is_public: bool = False
    has_jwt_access_tokens: bool = False
    refresh_leeway: int | None = None
    refresh_retry_lifetime: int | None = None


@dataclass
class Leeways:
    refresh_leeway: timedelta = LEEWAY
    public_refresh_leeway: timedelta = timedelta(seconds=30)
    refresh_retry_lifetime: timedelta = RETRY


@pytest.mark.parametrize(
    ("client", "leeway", "retry_lifetime"),
    [
        (Registration(), 10, 86_400),
        (Registration(has_jwt_access_tokens=True), 10, 0),
        (Registration(is_public=True), 30, 0),
        (Registration(is_public=True, has_jwt_access_tokens=True), 30, 0),
        (Registration(refresh_leeway=3, refresh_retry_lifetime=60), 3, 60),
        (Registration(refresh_leeway=0, refresh_retry_lifetime=0), 0, 0),
        (Registration(is_public=True, refresh_leeway=3), 3, 0),
        (Registration(is_public=True, refresh_retry_lifetime=60), 30, 0),  # whatever its row says
        (Registration(has_jwt_access_tokens=True, refresh_retry_lifetime=60), 10, 0),
    ],
)
def test_only_a_client_that_proves_itself_may_repeat_after_the_leeway(client, leeway, retry_lifetime):
    patience = retry_window_of(client, Leeways())
    assert patience == RetryWindow(timedelta(seconds=leeway), timedelta(seconds=retry_lifetime))
    assert patience.is_strict is (not leeway and not retry_lifetime)


@pytest.mark.parametrize("is_public", [True, False])
def test_all_settings_at_nothing_are_strict(is_public):
    nothing = timedelta(0)
    settings = Leeways(nothing, nothing, nothing)
    assert retry_window_of(Registration(is_public=is_public), settings).is_strict
