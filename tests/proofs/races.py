"""Races for one credential each, over HTTP, thousands of them: how many had one winner, and exactly what it
got was stored.

Enters: a driver of a server with several processes. Leaves: counts, no exception: a proof that fails says how
often.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import select

from crypto import credentials
from models import Token, db
from tests.builders import a_token
from tests.flows.driving import ask, exchange, refresh
from tests.live import SECRET_KEY

SENDERS = 4  # of each credential
AT_ONCE = 2  # credentials: with their senders as many as the server has threads
CHUNK = 50  # races that are prepared and looked at together
UNIQUE_KEY = re.compile(r"lost a race.*(?:UNIQUE|23505|\b1062\b)")


@dataclass
class Races:
    """What came out. `won`: races with one winner, or one successor for all, and nothing else stored."""

    played: int = 0
    won: int = 0
    requests: int = 0
    server_errors: int = 0
    unique_key_retries: int = 0
    broken: Counter = field(default_factory=Counter)

    def judge(self, problem):
        """problem: what was wrong with one race, or None."""
        self.played += 1
        if problem is None:
            self.won += 1
        else:
            self.broken[problem] += 1


def race_codes(driver, client_id, user_ids, races):
    """One exchange of a code succeeds; its replays are refused, and end what it became (RFC 6749 §4.1.2)."""
    codes = driver.codes(client_id, user_ids)
    crowds = play(driver, [[exchange(client_id, code)] * SENDERS for code in codes], races)
    stored = stored_tokens(driver, client_id)
    for user_id, answers in zip(user_ids, crowds, strict=True):
        statuses = Counter(answer.status for answer in answers)
        if statuses != {200: 1, 400: SENDERS - 1}:
            races.judge(f"one code was answered {dict(statuses)}")
        else:
            races.judge("a replayed code left a token" if user_id in stored else None)


def race_refresh_tokens(driver, client_id, user_ids, races):
    """Every sender gets the same successor, and it is stored."""
    held = {user_id: str(credentials.RefreshTokenMaker(SECRET_KEY).new()) for user_id in user_ids}
    driver.store(*(a_token(token, client_id=client_id, user_id=user_id) for user_id, token in held.items()))
    crowds = play(driver, [[refresh(client_id, token)] * SENDERS for token in held.values()], races)
    stored = stored_tokens(driver, client_id)
    for user_id, answers in zip(user_ids, crowds, strict=True):
        races.judge(problem_of_successor(answers, stored.get(user_id, []), successors=1))


def race_sign_ins(driver, client_id, user_ids, races):
    """Everybody who signs in gets a token; the newest one stays."""
    codes = [driver.codes(client_id, [user_id] * SENDERS) for user_id in user_ids]
    crowds = play(driver, [[exchange(client_id, code) for code in of_person] for of_person in codes], races)
    stored = stored_tokens(driver, client_id)
    for user_id, answers in zip(user_ids, crowds, strict=True):
        races.judge(problem_of_successor(answers, stored.get(user_id, []), successors=SENDERS))


CREDENTIALS = {"codes": race_codes, "refresh tokens": race_refresh_tokens, "sign-ins": race_sign_ins}


def problem_of_successor(answers, stored, successors):
    """What is wrong when all are granted, so many different tokens are issued, and one of them is stored; or
    None.
    """
    if any(answer.status != 200 for answer in answers):
        return f"answered {dict(Counter(answer.status for answer in answers))}"
    issued = {credentials.digest(answer.json["access_token"]) for answer in answers}
    if len(issued) != successors:
        return f"{len(issued)} successors"
    return None if len(stored) == 1 and stored[0] in issued else f"{len(stored)} tokens stored"


def play(driver, crowds, races):
    """The answers to each crowd of calls, AT_ONCE crowds at the same moment."""
    answered = []
    for group in in_parts(crowds, AT_ONCE):
        calls = [call for crowd in group for call in crowd]
        answers = driver.meet([lambda connection, call=call: ask(connection, call) for call in calls])
        races.requests += len(answers)
        races.server_errors += sum(answer.status >= 500 for answer in answers)
        answered += in_parts(answers, SENDERS)
    return answered


def in_parts(values, size):
    return [values[start : start + size] for start in range(0, len(values), size)]


def stored_tokens(driver, client_id):
    """The digests of the access tokens at a client, by person."""
    stored = {}
    with driver.app.app_context():
        for user_id, digest in db.session.execute(
            select(Token.user_id, Token.access_token_digest).where(Token.client_id == client_id)
        ):
            stored.setdefault(user_id, []).append(digest)
    return stored


def race(driver, credential, count, progress=None):
    """So many races for credentials of this kind. `progress`: a function that is told of each chunk."""
    races = Races()
    log_start = len(driver.server.log())
    while races.played < count:
        user_ids = driver.people(min(CHUNK, count - races.played))
        CREDENTIALS[credential](driver, driver.client(), user_ids, races)
        if progress is not None:
            progress(f"{races.played} of {count} races for {credential}")
    races.unique_key_retries = len(UNIQUE_KEY.findall(driver.server.log()[log_start:]))
    return races
