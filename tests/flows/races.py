"""The scenarios of `testing/races`, played over HTTP against a server of several processes.

`play` raises AssertionError when a rule of the tokens was broken, when an answer was a 5xx, or when the
server had to run a request twice. The same scenarios judge the shipped server (`test_races.py`) and copies
of it with a rule taken out (`test_mutations.py`).
"""

import functools
import re
from contextlib import contextmanager
from typing import NamedTuple

from protocol import clock
from testing.races import refreshes, scenarios
from testing.races.scenarios import check_granted, check_live, the_one_pair
from tests.builders import a_token
from tests.flows.driving import Driver, me, refresh, send

TAB_DELAYS = (0, 0.005, 0.02, 0.1, 1)
NOTHING = "(?!)"
TROUBLE = re.compile(r".*(?:lost a race|storage unavailable|bug:|Traceback|Warning).*")


def play(server, scenario, rounds, tolerated=NOTHING):
    """Play `scenario(driver)` so many times with a driver for `server`, whose log is watched."""
    with Driver(server) as driver, without_trouble(server, tolerated):
        for _ in range(rounds):
            scenario(driver)


@contextmanager
def without_trouble(server, tolerated=NOTHING):
    """The server's log says nothing of retries, failures or warnings while the block runs, but for lines with
    `tolerated`.
    """
    start = len(server.log())
    yield
    found = [line for line in TROUBLE.findall(server.log()[start:]) if not re.search(tolerated, line)]
    assert not found, f"trouble in the log, {len(found)} lines, the first: {found[0]}"


# ---- what only a server can be asked -----------------------------------------------------------------------


def two_tabs(driver):
    """One tab refreshes a little after the other, and both use what they get: both stay signed in, this time
    and the next.
    """
    client_id, user_ids = driver.client(), driver.new_users(len(TAB_DELAYS))
    tokens = [driver.sign_in(client_id, user_id).refresh_token for user_id in user_ids]
    for _ in range(2):
        tabs = [
            functools.partial(refresh_and_use, refresh(client_id, token).later(after))
            for token, delay in zip(tokens, TAB_DELAYS, strict=True)
            for after in (0, delay)
        ]
        answers = driver.meet(tabs)
        pairs = [the_one_pair(both) for both in zip(answers[::2], answers[1::2], strict=True)]
        for user_id, pair in zip(user_ids, pairs, strict=True):
            check_live(driver, client_id, user_id, [pair.access_token])
        tokens = [pair.refresh_token for pair in pairs]


def refresh_and_use(call, connection):
    """A tab: it refreshes, and uses the access token as soon as it has it."""
    answer = send(connection, call)
    check_granted([answer, send(connection, me(answer.json.get("access_token")))])
    return answer


def machines(driver):
    """Workers of one client get a token each, while they sweep the same expired ones."""
    client_id = driver.client()
    expired = {"user_id": None, "slot": None, "auth_time": None, "access_token_expires_at": clock.now() - 1}
    driver.store(*(a_token(client_id=client_id, **expired) for _ in range(driver.workers.size)))
    scenarios.client_credentials_of(driver, client_id)


def late_retry_of_an_expired_pair(driver):
    """The answer was lost and its access token has expired: one new pair for all tabs takes its place."""
    client_id, user_id = driver.client(), driver.new_user()
    presented, lost = refreshes.lose_an_answer(driver, client_id, user_id)
    driver.expire_access_tokens(user_id)
    refreshes.wait_out_the_leeway(driver)
    pair = the_one_pair(driver.at_once([refresh(client_id, presented)] * driver.workers.capacity))
    assert pair.access_token != lost.access_token
    check_live(driver, client_id, user_id, [pair.access_token])


# ---- how often ---------------------------------------------------------------------------------------------


class Rounds(NamedTuple):
    """The short form goes with every change, the long one meets rare interleavings."""

    short: int
    long: int


RACES = {
    scenarios.one_code: Rounds(4, 60),
    scenarios.one_refresh_token: Rounds(5, 60),
    refreshes.one_lasting_refresh_token: Rounds(1, 50),
    two_tabs: Rounds(1, 5),
    scenarios.sign_ins_for_one_session: Rounds(2, 60),
    scenarios.sign_ins_for_three_sessions: Rounds(2, 60),
    refreshes.devices: Rounds(1, 40),
    scenarios.neighbours: Rounds(2, 60),
    machines: Rounds(1, 40),
    refreshes.theft_within_the_leeway: Rounds(1, 40),
    refreshes.forged_tag: Rounds(1, 40),
    refreshes.replays_against_refreshes: Rounds(6, 60),
    refreshes.thefts_against_refreshes: Rounds(6, 60),
    scenarios.revocations_against_refreshes: Rounds(6, 60),
    refreshes.sign_in_against_the_old_family: Rounds(5, 60),
}
# These wait, so they want a server with a short leeway.
LATE_RACES = {
    refreshes.theft_after_the_leeway: Rounds(1, 5),
    refreshes.late_retry_of_an_unused_pair: Rounds(1, 5),
    late_retry_of_an_expired_pair: Rounds(1, 5),
    refreshes.late_retry_of_a_used_pair: Rounds(1, 5),
}
