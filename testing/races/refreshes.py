"""Scenarios about refreshes that take longer, or want settings of their own: devices, thieves, late retries.

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


def wait_out_the_leeway(stage: Testbed) -> None:
    time.sleep(stage.settings.refresh_leeway.total_seconds() + 0.05)


def one_lasting_refresh_token(stage: Testbed) -> None:
    """Rotation is off: all senders get the same access token, and so do others soon after them."""
    client_id, user_id = stage.client(rotate_refresh_tokens=False), stage.person()
    presented = stage.sign_in(client_id, user_id).refresh_token
    many = [stage.refresh(client_id, presented)] * stage.crowd.size
    first, second = (the_one_pair(stage.at_once(many)) for _ in range(2))
    check(first == second and first.refresh_token == presented, "a repeat got another pair")
    check_live(stage, client_id, user_id, [first.access_token])


def devices(stage: Testbed) -> None:
    """A user's three devices refresh in every order, and at once: each stays signed in beside the others."""
    client_id, user_id = stage.client(max_sessions=3), stage.person()
    pairs = [stage.sign_in(client_id, user_id) for _ in range(3)]
    for order in itertools.permutations(range(3)):
        for device in order:
            pairs[device] = stage.pair(stage.refresh(client_id, pairs[device].refresh_token))
        check_live(stage, client_id, user_id, [pair.access_token for pair in pairs])
        answers = stage.at_once([stage.refresh(client_id, pair.refresh_token) for pair in pairs])
        check_granted(answers)
        pairs = [pair_of(answer) for answer in answers]
        check_live(stage, client_id, user_id, [pair.access_token for pair in pairs])


# ---- thieves -----------------------------------------------------------------------------------------------


def steal(stage: Testbed, client_id: str, user_id: int) -> tuple[str, list[Pair]]:
    """Refresh with a stolen token, and with what that gave; return it, and all that it became."""
    stolen = stage.sign_in(client_id, user_id).refresh_token
    first = stage.pair(stage.refresh(client_id, stolen))
    second = stage.pair(stage.refresh(client_id, first.refresh_token))
    check_live(stage, client_id, user_id, [second.access_token])
    return stolen, [first, second]


def theft_within_the_leeway(stage: Testbed, is_late: bool = False) -> None:
    """The owner presents the stolen token right after: the thief has nothing any more."""
    client_id, user_id = stage.client(), stage.person()
    stolen, loot = steal(stage, client_id, user_id)
    if is_late:
        wait_out_the_leeway(stage)
    check_refused([stage.send(stage.refresh(client_id, stolen))])
    check_dead(stage, client_id, user_id, loot)


def theft_after_the_leeway(stage: Testbed) -> None:
    """The same, later: the owner had been away."""
    theft_within_the_leeway(stage, is_late=True)


def forged_tag(stage: Testbed) -> None:
    """Who knows the family part alone, from a log say, can end nothing: not with a wrong secret, nor with a
    wrong tag.
    """
    client_id, user_id = stage.client(), stage.person()
    pair = stage.sign_in(client_id, user_id)
    real = credentials.RefreshToken.parse(pair.refresh_token)
    if real is None:
        raise BrokenPromiseError("a refresh token has another form")
    other = credentials.RefreshTokenMaker("another server's secret key, just as long").new(real.family)
    forged = [real._replace(secret=other.secret), real._replace(tag=other.tag), other]
    check_refused(stage.at_once([stage.refresh(client_id, str(token)) for token in forged]))
    check_live(stage, client_id, user_id, [pair.access_token])
    renewed = stage.pair(stage.refresh(client_id, pair.refresh_token))
    check_live(stage, client_id, user_id, [renewed.access_token])


def replay_a_code(stage: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
    again = stage.exchange(client_id, stage.code(client_id, user_id))
    return again, stage.pair(again)


def present_an_ancestor(stage: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
    stolen, loot = steal(stage, client_id, user_id)
    return stage.refresh(client_id, stolen), loot[-1]


def replays_against_refreshes(stage: Testbed) -> None:
    ends_against_refreshes(stage, stage.client(), replay_a_code, check_refused)


def thefts_against_refreshes(stage: Testbed) -> None:
    ends_against_refreshes(stage, stage.client(), present_an_ancestor, check_refused)


def sign_in_against_the_old_family(stage: Testbed) -> None:
    """A new sign-in meets a refresh and a replay of the sign-in before: it stays, and nothing of the old one
    does.
    """
    client_id, user_id = stage.client(), stage.person()
    replay, old = replay_a_code(stage, client_id, user_id)
    sign_in = stage.exchange(client_id, stage.code(client_id, user_id))
    new, refreshed, replayed = stage.at_once([sign_in, stage.refresh(client_id, old.refresh_token), replay])
    check_refused([replayed])
    granted_or_refused(refreshed)
    check_live(stage, client_id, user_id, [pair_of(new).access_token])


# ---- late retries ------------------------------------------------------------------------------------------


def lose_an_answer(stage: Testbed, client_id: str, user_id: int) -> tuple[str, Pair]:
    """Refresh; return the token that was presented, and the pair that never came to the client."""
    presented = stage.sign_in(client_id, user_id).refresh_token
    return presented, stage.pair(stage.refresh(client_id, presented))


def late_retry_of_an_unused_pair(stage: Testbed) -> None:
    """The client comes back after the leeway, in several tabs: they get the lost pair, while it lives."""
    client_id, user_id = stage.client(), stage.person()
    presented, lost = lose_an_answer(stage, client_id, user_id)
    wait_out_the_leeway(stage)
    pair = the_one_pair(stage.at_once([stage.refresh(client_id, presented)] * stage.crowd.handful))
    check(pair == lost, "a late retry got another pair")
    check_live(stage, client_id, user_id, [pair.access_token])


def late_retry_of_a_used_pair(stage: Testbed) -> None:
    """The answer was not lost, and is used: who comes after the leeway is refused, and the family ends."""
    client_id, user_id = stage.client(), stage.person()
    presented, used = lose_an_answer(stage, client_id, user_id)
    check_live(stage, client_id, user_id, [used.access_token])
    wait_out_the_leeway(stage)
    check_refused(stage.at_once([stage.refresh(client_id, presented)] * stage.crowd.handful))
    check_dead(stage, client_id, user_id, [used])
