"""Races for a person's tokens, over HTTP, against a server of several processes.

Each race is `race(server, rounds)`: it plays one scene so many times, with people of its own, and raises
AssertionError when a rule of the tokens was broken, when an answer was a 5xx, or when the server had to run a
request twice. The same functions judge the shipped server (`test_races.py`) and copies of it with a rule
taken out (`test_mutations.py`).
"""

import functools
import itertools
import re
import time
from contextlib import contextmanager
from typing import NamedTuple

from crypto import credentials
from protocol import clock
from tests.builders import a_machine, a_token
from tests.flows.driving import CONNECTIONS, Driver, exchange, machine_call, me, refresh, revoke, send

CROWD = CONNECTIONS  # more than the server has threads: some wait inside, some at the door
HANDFUL = 8  # as many as it has threads
DEFAULT_LEEWAY_SECONDS = 10
TAB_DELAYS = (0, 0.005, 0.02, 0.1, 1)
LEADS = (-0.002, -0.001, 0, 0.001)  # by how many seconds a refresh begins before a penalty
TROUBLE = re.compile(r".*(?:lost a race|storage unavailable|bug:|Traceback|Warning).*")


def race(scene):
    """Make `scene(driver)` a race: played `rounds` times with a driver for `server`, its log watched."""

    @functools.wraps(scene)
    def played(server, rounds):
        with Driver(server) as driver, without_trouble(server):
            for _ in range(rounds):
                scene(driver)

    return played


@contextmanager
def without_trouble(server, tolerated="(?!)"):
    """The server's log says nothing of retries, failures or warnings while the block runs, but for lines with
    `tolerated`.
    """
    start = len(server.log())
    yield
    found = [line for line in TROUBLE.findall(server.log()[start:]) if not re.search(tolerated, line)]
    assert not found, f"trouble in the log, {len(found)} lines, the first: {found[0]}"


# ---- what must hold afterwards -----------------------------------------------------------------------------


def check_live(driver, client_id, user_id, pairs):
    """The access tokens of these pairs work, and this person has no other at this client."""
    access_tokens = {pair["access_token"] for pair in pairs}
    digests = [credentials.digest(token) for token in access_tokens]
    rows = driver.token_rows(client_id, user_id)
    assert sorted(rows) == sorted(digests), f"{len(rows)} rows, not just the {len(digests)} that should live"
    assert all(driver.is_live(token) for token in access_tokens), "an access token with a row does not work"


def check_dead(driver, client_id, user_id, pairs):
    """None of these pairs is worth anything, and this person has no token at this client."""
    rows = driver.token_rows(client_id, user_id)
    assert rows == [], f"{len(rows)} rows outlived the end of their family"
    for pair in pairs:
        assert not driver.is_live(pair["access_token"]), "an access token outlived its family"
        answer = driver.send(refresh(client_id, pair["refresh_token"]))
        assert answer.error == "invalid_grant", f"a refresh token outlived its family: {answer}"


def check_granted(answers):
    refused = [answer for answer in answers if answer.status != 200]
    assert not refused, f"{len(refused)} of {len(answers)} were refused, the first: {refused[0]}"


def check_refused(answers):
    """All of them with the one answer for a grant that is worth nothing (RFC 6749 §5.2)."""
    kinds = {(answer.status, answer.error) for answer in answers}
    assert kinds == {(400, "invalid_grant")}, f"instead of refusals: {kinds}"


def the_one_pair(answers):
    """All answers are 200 with the same two tokens, which are returned."""
    check_granted(answers)
    pairs = {(answer.json["access_token"], answer.json["refresh_token"]) for answer in answers}
    assert len(pairs) == 1, f"{len(pairs)} pairs for one refresh token"
    return answers[0].json


def wait_out_the_leeway(driver):
    leeway = driver.server.environment.get("OSTIARY_REFRESH_LEEWAY", DEFAULT_LEEWAY_SECONDS)
    time.sleep(float(leeway) + 0.05)


# ---- one credential, many senders --------------------------------------------------------------------------


@race
def one_code_many_times(driver):
    """One sender wins; the others are replays, so what the code issued is dead in the end."""
    client_id, user_id = driver.client(), driver.person()
    code = driver.code(client_id, user_id)
    answers = driver.at_once([exchange(client_id, code)] * CROWD)
    winners = [answer for answer in answers if answer.status == 200]
    assert len(winners) == 1, f"one code, {len(winners)} winners"
    check_refused([answer for answer in answers if answer not in winners])
    check_dead(driver, client_id, user_id, [winners[0].json])


@race
def one_refresh_token_many_times(driver):
    """All senders get one and the same pair, and it works: its access token, then its refresh token."""
    client_id, user_id = driver.client(), driver.person()
    presented = driver.sign_in(client_id, user_id)["refresh_token"]
    pair = the_one_pair(driver.at_once([refresh(client_id, presented)] * CROWD))
    assert pair["refresh_token"] != presented
    check_live(driver, client_id, user_id, [pair])
    check_live(driver, client_id, user_id, [driver.pair(refresh(client_id, pair["refresh_token"]))])


@race
def one_lasting_refresh_token_many_times(driver):
    """Rotation is off: all senders get the same access token, and so does a second crowd within the
    leeway.
    """
    client_id, user_id = driver.client(rotate_refresh_tokens=False), driver.person()
    presented = driver.sign_in(client_id, user_id)["refresh_token"]
    first, second = (the_one_pair(driver.at_once([refresh(client_id, presented)] * CROWD)) for _ in range(2))
    assert presented == first["refresh_token"] == second["refresh_token"]
    assert first["access_token"] == second["access_token"]
    check_live(driver, client_id, user_id, [first])


@race
def two_tabs(driver):
    """One tab refreshes a little after the other, and both use what they get: both stay signed in, this time
    and the next.
    """
    client_id, user_ids = driver.client(), driver.people(len(TAB_DELAYS))
    tokens = [driver.sign_in(client_id, user_id)["refresh_token"] for user_id in user_ids]
    for _ in range(2):
        tabs = [
            functools.partial(refresh_and_use, refresh(client_id, token).later(after))
            for token, delay in zip(tokens, TAB_DELAYS, strict=True)
            for after in (0, delay)
        ]
        answers = driver.meet(tabs)
        pairs = [the_one_pair(both) for both in zip(answers[::2], answers[1::2], strict=True)]
        for user_id, pair in zip(user_ids, pairs, strict=True):
            check_live(driver, client_id, user_id, [pair])
        tokens = [pair["refresh_token"] for pair in pairs]


def refresh_and_use(call, connection):
    """A tab: it refreshes, and uses the access token as soon as it has it."""
    answer = send(connection, call)
    check_granted([answer, send(connection, me(answer.json.get("access_token")))])
    return answer


# ---- sign-ins and devices ----------------------------------------------------------------------------------


def sign_ins_at_once(driver, max_sessions):
    """All succeed and the newest stay, both where the person had no token and where every slot was taken."""
    client_id, user_id = driver.client(max_sessions=max_sessions), driver.person()
    for _ in range(2):
        codes = driver.codes(client_id, [user_id] * HANDFUL)
        answers = driver.at_once([exchange(client_id, code) for code in codes])
        check_granted(answers)
        live = [answer.json for answer in answers if driver.is_live(answer.json["access_token"])]
        assert len(live) == max_sessions, f"{len(live)} live tokens where {max_sessions} are allowed"
        check_live(driver, client_id, user_id, live)


@race
def sign_ins_for_one_session(driver):
    sign_ins_at_once(driver, max_sessions=1)


@race
def sign_ins_for_three_sessions(driver):
    sign_ins_at_once(driver, max_sessions=3)


@race
def devices_refresh(driver):
    """A person's three devices refresh in every order, and at once: each stays signed in beside the
    others.
    """
    client_id, user_id = driver.client(max_sessions=3), driver.person()
    pairs = [driver.sign_in(client_id, user_id) for _ in range(3)]
    for order in itertools.permutations(range(3)):
        for device in order:
            pairs[device] = driver.pair(refresh(client_id, pairs[device]["refresh_token"]))
        check_live(driver, client_id, user_id, pairs)
        answers = driver.at_once([refresh(client_id, pair["refresh_token"]) for pair in pairs])
        check_granted(answers)
        pairs = [answer.json for answer in answers]
        check_live(driver, client_id, user_id, pairs)


@race
def neighbours(driver):
    """People who sign in at the same moment do not meet: nobody is refused and nobody's request is
    run twice.
    """
    client_id, user_ids = driver.client(), driver.people(HANDFUL)
    codes = driver.codes(client_id, user_ids)
    answers = driver.at_once([exchange(client_id, code) for code in codes])
    check_granted(answers)
    for user_id, answer in zip(user_ids, answers, strict=True):
        check_live(driver, client_id, user_id, [answer.json])


@race
def machines(driver):
    """Workers of one client get a token each, while they sweep the same expired ones."""
    client_id = driver.client(build=a_machine)
    expired = {"user_id": None, "slot": None, "auth_time": None, "access_token_expires_at": clock.now() - 1}
    driver.store(*(a_token(client_id=client_id, **expired) for _ in range(CROWD)))
    answers = driver.at_once([machine_call(client_id)] * CROWD)
    check_granted(answers)
    access_tokens = {answer.json["access_token"] for answer in answers}
    assert len(access_tokens) == CROWD
    assert set(driver.token_rows(client_id)) == {credentials.digest(token) for token in access_tokens}
    for token in access_tokens:
        assert driver.send(me(token)).error == "insufficient_scope"  # live, but of no person


# ---- thieves -----------------------------------------------------------------------------------------------


def steal(driver, client_id, user_id):
    """A thief refreshes with a stolen token, and with what that gave: the stolen token, and all that the
    thief got.
    """
    stolen = driver.sign_in(client_id, user_id)["refresh_token"]
    first = driver.pair(refresh(client_id, stolen))
    second = driver.pair(refresh(client_id, first["refresh_token"]))
    check_live(driver, client_id, user_id, [second])
    return stolen, [first, second]


@race
def theft_within_the_leeway(driver):
    """The owner presents the stolen token right after: the thief has nothing any more."""
    client_id, user_id = driver.client(), driver.person()
    stolen, loot = steal(driver, client_id, user_id)
    check_refused([driver.send(refresh(client_id, stolen))])
    check_dead(driver, client_id, user_id, loot)


@race
def theft_after_the_leeway(driver):
    """The same, later: the owner had been away."""
    client_id, user_id = driver.client(), driver.person()
    stolen, loot = steal(driver, client_id, user_id)
    wait_out_the_leeway(driver)
    check_refused([driver.send(refresh(client_id, stolen))])
    check_dead(driver, client_id, user_id, loot)


@race
def forged_tag(driver):
    """Who knows the family part alone, from a log say, can end nothing: not with a wrong secret, nor with a
    wrong tag.
    """
    client_id, user_id = driver.client(), driver.person()
    pair = driver.sign_in(client_id, user_id)
    real = credentials.RefreshToken.parse(pair["refresh_token"])
    other = credentials.RefreshTokenMaker("another server's secret key, just as long").new(real.family)
    forged = [real._replace(secret=other.secret), real._replace(tag=other.tag), other]
    check_refused(driver.at_once([refresh(client_id, str(token)) for token in forged]))
    check_live(driver, client_id, user_id, [pair])
    check_live(driver, client_id, user_id, [driver.pair(refresh(client_id, pair["refresh_token"]))])


# ---- late retries ------------------------------------------------------------------------------------------


@race
def late_retry_of_an_unused_pair(driver):
    """The answer was lost and the client comes back after the leeway, in several tabs: the same pair, while
    it lives.
    """
    client_id, user_id = driver.client(), driver.person()
    presented = driver.sign_in(client_id, user_id)["refresh_token"]
    lost = driver.pair(refresh(client_id, presented))
    wait_out_the_leeway(driver)
    pair = the_one_pair(driver.at_once([refresh(client_id, presented)] * HANDFUL))
    assert (pair["access_token"], pair["refresh_token"]) == (lost["access_token"], lost["refresh_token"])
    check_live(driver, client_id, user_id, [pair])


@race
def late_retry_of_an_expired_pair(driver):
    """The same, but its access token has expired: one new pair for all tabs takes its place."""
    client_id, user_id = driver.client(), driver.person()
    presented = driver.sign_in(client_id, user_id)["refresh_token"]
    lost = driver.pair(refresh(client_id, presented))
    driver.expire_access_tokens(user_id)
    wait_out_the_leeway(driver)
    pair = the_one_pair(driver.at_once([refresh(client_id, presented)] * HANDFUL))
    assert pair["access_token"] != lost["access_token"]
    check_live(driver, client_id, user_id, [pair])


@race
def late_retry_of_a_used_pair(driver):
    """The answer was not lost, somebody uses it: who comes after the leeway is told no, and the
    family ends.
    """
    client_id, user_id = driver.client(), driver.person()
    presented = driver.sign_in(client_id, user_id)["refresh_token"]
    used = driver.pair(refresh(client_id, presented))
    check_live(driver, client_id, user_id, [used])
    wait_out_the_leeway(driver)
    check_refused(driver.at_once([refresh(client_id, presented)] * HANDFUL))
    check_dead(driver, client_id, user_id, [used])


# ---- penalties against what is in flight -------------------------------------------------------------------


def ends_against_refreshes(driver, offend, check_ended):
    """Families are ended while they are refreshed: they are dead in the end, whichever was first.

    `offend(driver, client_id, user_id)` gives the call that ends a family, and the family's current pair;
    `check_ended` is for the answers to those calls.
    """
    client_id, user_ids = driver.client(), driver.people(len(LEADS))
    offences = [offend(driver, client_id, user_id) for user_id in user_ids]
    calls = []
    for lead, (offence, pair) in zip(LEADS, offences, strict=True):
        rival = refresh(client_id, pair["refresh_token"])
        calls += [offence.later(max(lead, 0)), rival.later(max(-lead, 0))]
    answers = driver.at_once(calls)
    check_ended(answers[::2])
    for user_id, (_, pair), answer in zip(user_ids, offences, answers[1::2], strict=True):
        check_dead(driver, client_id, user_id, [pair, *granted_or_refused(answer)])


def granted_or_refused(answer):
    """The pair of a refresh that was fast enough; of one that was not, nothing."""
    if answer.status == 200:
        return [answer.json]
    check_refused([answer])
    return []


def replay_a_code(driver, client_id, user_id):
    again = exchange(client_id, driver.code(client_id, user_id))
    return again, driver.pair(again)


def revoke_the_sign_in(driver, client_id, user_id):
    pair = driver.sign_in(client_id, user_id)
    return revoke(client_id, pair["refresh_token"]), pair


def present_an_ancestor(driver, client_id, user_id):
    stolen, loot = steal(driver, client_id, user_id)
    return refresh(client_id, stolen), loot[-1]


@race
def replays_against_refreshes(driver):
    ends_against_refreshes(driver, replay_a_code, check_refused)


@race
def thefts_against_refreshes(driver):
    ends_against_refreshes(driver, present_an_ancestor, check_refused)


@race
def revocations_against_refreshes(driver):
    ends_against_refreshes(driver, revoke_the_sign_in, check_granted)


@race
def sign_in_against_the_old_family(driver):
    """A new sign-in meets a refresh and a replay of the sign-in before: it stays, and nothing of the old one
    does.
    """
    client_id, user_id = driver.client(), driver.person()
    replay, old = replay_a_code(driver, client_id, user_id)
    sign_in = exchange(client_id, driver.code(client_id, user_id))
    new, refreshed, replayed = driver.at_once([sign_in, refresh(client_id, old["refresh_token"]), replay])
    check_granted([new])
    check_refused([replayed])
    granted_or_refused(refreshed)
    check_live(driver, client_id, user_id, [new.json])


# ---- how often ---------------------------------------------------------------------------------------------


class Rounds(NamedTuple):
    """The short form goes with every change, the long one meets rare interleavings."""

    short: int
    long: int


RACES = {
    one_code_many_times: Rounds(8, 60),
    one_refresh_token_many_times: Rounds(10, 60),
    one_lasting_refresh_token_many_times: Rounds(2, 50),
    two_tabs: Rounds(1, 5),
    sign_ins_for_one_session: Rounds(4, 60),
    sign_ins_for_three_sessions: Rounds(4, 60),
    devices_refresh: Rounds(1, 40),
    neighbours: Rounds(4, 60),
    machines: Rounds(2, 40),
    theft_within_the_leeway: Rounds(2, 40),
    forged_tag: Rounds(2, 40),
    replays_against_refreshes: Rounds(12, 60),
    thefts_against_refreshes: Rounds(12, 60),
    revocations_against_refreshes: Rounds(12, 60),
    sign_in_against_the_old_family: Rounds(10, 60),
}
# These wait, so they want a server with a short leeway.
LATE_RACES = {
    theft_after_the_leeway: Rounds(1, 5),
    late_retry_of_an_unused_pair: Rounds(1, 5),
    late_retry_of_an_expired_pair: Rounds(1, 5),
    late_retry_of_a_used_pair: Rounds(1, 5),
}
