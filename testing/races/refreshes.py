"""Scenarios about refreshes that take longer or need settings of their own.

`flask prove` does not play them; the tests do, on a server over HTTP.
"""

import itertools
import time

from crypto import credentials
from testing.races.result import BrokenPromiseError
from testing.races.scenarios import (
    check_dead,
    check_granted,
    check_live,
    check_refused,
    ends_against_refreshes,
    granted_or_refused,
    the_one_pair,
)
from testing.races.testbed import Pair, Testbed, check, pair_of
from testing.races.workers import Call


def wait_out_the_leeway(testbed: Testbed) -> None:
    """Wait until the leeway of a refresh is over."""
    time.sleep(testbed.settings.refresh_leeway.total_seconds() + 0.05)


def one_lasting_refresh_token(testbed: Testbed) -> None:
    """Refresh many times where rotation is off: all requests get the same access token, twice."""
    client_id, user_id = testbed.client(rotate_refresh_tokens=False), testbed.new_user()
    presented = testbed.sign_in(client_id, user_id).refresh_token
    many = [testbed.refresh(client_id, presented)] * testbed.workers.size
    first, second = (the_one_pair(testbed.at_once(many)) for _ in range(2))
    check(first == second and first.refresh_token == presented, "a repeat got another pair")
    check_live(testbed, client_id, user_id, [first.access_token])


def devices(testbed: Testbed) -> None:
    """Refresh on a user's three devices, in every order and at once: all stay signed in."""
    client_id, user_id = testbed.client(max_sessions=3), testbed.new_user()
    pairs = [testbed.sign_in(client_id, user_id) for _ in range(3)]
    for order in itertools.permutations(range(3)):
        for device in order:
            pairs[device] = testbed.pair(testbed.refresh(client_id, pairs[device].refresh_token))
        check_live(testbed, client_id, user_id, [pair.access_token for pair in pairs])
        answers = testbed.at_once([testbed.refresh(client_id, pair.refresh_token) for pair in pairs])
        check_granted(answers)
        pairs = [pair_of(answer) for answer in answers]
        check_live(testbed, client_id, user_id, [pair.access_token for pair in pairs])


# ---- reuse -------------------------------------------------------------------------------------------------


def steal(testbed: Testbed, client_id: str, user_id: int) -> tuple[str, list[Pair]]:
    """Refresh with a stolen token, and with what that gave; return it, and all that it became."""
    stolen = testbed.sign_in(client_id, user_id).refresh_token
    first = testbed.pair(testbed.refresh(client_id, stolen))
    second = testbed.pair(testbed.refresh(client_id, first.refresh_token))
    check_live(testbed, client_id, user_id, [second.access_token])
    return stolen, [first, second]


def theft_within_the_leeway(testbed: Testbed, is_late: bool = False) -> None:
    """Use a stolen token, then present it as the user's client within the leeway: all is revoked."""
    client_id, user_id = testbed.client(), testbed.new_user()
    stolen, pairs = steal(testbed, client_id, user_id)
    if is_late:
        wait_out_the_leeway(testbed)
    check_refused([testbed.send(testbed.refresh(client_id, stolen))])
    check_dead(testbed, client_id, user_id, pairs)


def theft_after_the_leeway(testbed: Testbed) -> None:
    """Use a stolen token, then present it as the user's client after the leeway: all is revoked."""
    theft_within_the_leeway(testbed, is_late=True)


def forged_tag(testbed: Testbed) -> None:
    """Present tokens with a family part from a log and a wrong secret or tag: nothing is revoked."""
    client_id, user_id = testbed.client(), testbed.new_user()
    pair = testbed.sign_in(client_id, user_id)
    real = credentials.RefreshToken.parse(pair.refresh_token)
    if real is None:
        raise BrokenPromiseError("a refresh token has another form")
    other = credentials.RefreshTokenMaker("another server's secret key, just as long").new(real.family)
    forged = [real._replace(secret=other.secret), real._replace(tag=other.tag), other]
    check_refused(testbed.at_once([testbed.refresh(client_id, str(token)) for token in forged]))
    check_live(testbed, client_id, user_id, [pair.access_token])
    renewed = testbed.pair(testbed.refresh(client_id, pair.refresh_token))
    check_live(testbed, client_id, user_id, [renewed.access_token])


def replay_a_code(testbed: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
    """Return the call that exchanges a used code again, and the pair of its first use."""
    again = testbed.exchange(client_id, testbed.code(client_id, user_id))
    return again, testbed.pair(again)


def present_an_ancestor(testbed: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
    """Return the call that reuses a token which was replaced twice, and the current pair."""
    stolen, pairs = steal(testbed, client_id, user_id)
    return testbed.refresh(client_id, stolen), pairs[-1]


def replays_against_refreshes(testbed: Testbed) -> None:
    """Replay codes while their tokens are refreshed."""
    ends_against_refreshes(testbed, testbed.client(), replay_a_code, check_refused)


def thefts_against_refreshes(testbed: Testbed) -> None:
    """Reuse refresh tokens while their successors are refreshed."""
    ends_against_refreshes(testbed, testbed.client(), present_an_ancestor, check_refused)


def sign_in_against_the_old_family(testbed: Testbed) -> None:
    """Sign in while the sign-in before is refreshed and its code replayed: only the new one stays."""
    client_id, user_id = testbed.client(), testbed.new_user()
    replay, old = replay_a_code(testbed, client_id, user_id)
    sign_in = testbed.exchange(client_id, testbed.code(client_id, user_id))
    new, refreshed, replayed = testbed.at_once(
        [sign_in, testbed.refresh(client_id, old.refresh_token), replay]
    )
    check_refused([replayed])
    granted_or_refused(refreshed)
    check_live(testbed, client_id, user_id, [pair_of(new).access_token])


# ---- late retries ------------------------------------------------------------------------------------------


def lose_an_answer(testbed: Testbed, client_id: str, user_id: int) -> tuple[str, Pair]:
    """Refresh; return the token that was presented, and the pair that never came to the client."""
    presented = testbed.sign_in(client_id, user_id).refresh_token
    return presented, testbed.pair(testbed.refresh(client_id, presented))


def late_retry_of_an_unused_pair(testbed: Testbed) -> None:
    """Repeat a refresh after the leeway, many times, where its pair is unused: all get that pair."""
    client_id, user_id = testbed.client(), testbed.new_user()
    presented, lost = lose_an_answer(testbed, client_id, user_id)
    wait_out_the_leeway(testbed)
    pair = the_one_pair(testbed.at_once([testbed.refresh(client_id, presented)] * testbed.workers.capacity))
    check(pair == lost, "a late retry got another pair")
    check_live(testbed, client_id, user_id, [pair.access_token])


def late_retry_of_a_used_pair(testbed: Testbed) -> None:
    """Repeat a refresh after the leeway where its pair is used: it is refused, and the family revoked."""
    client_id, user_id = testbed.client(), testbed.new_user()
    presented, used = lose_an_answer(testbed, client_id, user_id)
    check_live(testbed, client_id, user_id, [used.access_token])
    wait_out_the_leeway(testbed)
    check_refused(testbed.at_once([testbed.refresh(client_id, presented)] * testbed.workers.capacity))
    check_dead(testbed, client_id, user_id, [used])
