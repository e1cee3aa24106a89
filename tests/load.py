"""Clients that never stop writing, and what each was told: sign-ins, refreshes, revocations, machine tokens.

Enters: a driver of a live server that may lose its database or its processes meanwhile. Leaves: a `Report`
with every broken promise in words. Whoever is answered 503, or not at all, does what RFC 6749 lets a client
do: it repeats a refresh and a revocation, and takes another code instead of one that may be spent.
"""

import http.client
import itertools
import threading
import time
from typing import NamedTuple

from sqlalchemy import create_engine, func

from crypto import credentials
from models import Token
from protocol import clock
from tests.builders import a_code
from tests.crashes.history import NO_ROW, History
from tests.flows.driving import PATIENCE_SECONDS, ask, exchange, machine_call, me, refresh, revoke
from tests.lines.asking import ask as ask_anew
from tests.statements import select

WRITERS = 16
REFRESHES_A_SIGN_IN = 4
CODES = 400  # of each user: one for each sign-in, and one for each 503 that a code was in play at
PAUSE_SECONDS = 0.02  # after an answer that was none
NO_ANSWER = "no answer"


class Senders:
    """`with Senders(steps):` takes each `step(is_over)` again and again in a thread of its own, until the end
    of the block. `is_over` is an event; `failures` are the exceptions of steps.
    """

    def __init__(self, steps):
        self.steps, self.threads, self.failures = steps, [], []
        self.is_over = threading.Event()

    def __enter__(self):
        self.begin()
        return self

    def __exit__(self, *failure):
        self.end()

    def begin(self):
        self.is_over.clear()
        self.threads = [threading.Thread(target=self._go_on, args=[step], daemon=True) for step in self.steps]
        for thread in self.threads:
            thread.start()

    def end(self):
        """No step begins any more, and none is under way."""
        self.is_over.set()
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "an answer takes too long"

    def _go_on(self, step):
        while not self.is_over.is_set():
            try:
                step(self.is_over)
            except Exception as error:
                self.failures.append(repr(error))
                self.is_over.wait(PAUSE_SECONDS)


class Answered(NamedTuple):
    sent_at: float
    answered_at: float
    status: int | str


class Writer:
    """One user with one client, and a machine. `step` writes; everything else is for afterwards."""

    def __init__(self, port, client_id, user_id, machine_id):
        self.port = port
        self.client_id, self.user_id, self.machine_id = client_id, user_id, machine_id
        codes = [credentials.new_authorization_code() for _ in range(CODES)]
        of_user = {"client_id": client_id, "user_id": user_id, "expires_at": clock.now() + 3600}
        self.rows = [a_code(code, **of_user) for code in codes]
        self.codes = iter(codes)
        self.history = History()
        self.pair, self.refreshes = None, 0
        self.ended = None  # an access token that was acknowledged as ended
        self.connection = None
        self.answers, self.machine_tokens = [], []

    def step(self, is_over):
        if not self.write():
            is_over.wait(PAUSE_SECONDS)

    def write(self):
        """The next write; whether it was acknowledged."""
        if self.pair is None:
            code = next(self.codes)
            self.pair, self.refreshes = self.send(exchange(self.client_id, code), credentials.digest(code)), 0
            return self.pair is not None
        token = self.pair["refresh_token"]
        is_last = self.refreshes == REFRESHES_A_SIGN_IN
        call = (revoke if is_last else refresh)(self.client_id, token)
        pair = self.send(call, NO_ROW if is_last else credentials.digest(token))
        if pair is None:
            if self.answers[-1].status == 400:  # what was acknowledged is lost, which the report says
                self.pair = None
            return False
        self.ended = self.pair["access_token"]
        self.pair, self.refreshes = None if is_last else pair, self.refreshes + 1
        if is_last and (issued := self.request(machine_call(self.machine_id))):
            self.machine_tokens.append(credentials.digest(issued.json["access_token"]))
        return True

    def send(self, call, value):
        """The acknowledged answer's JSON; None where there is none."""
        self.history.begin(value)
        answer = self.request(call)
        if answer is None:
            return None
        self.history.acknowledge()
        return answer.json

    def request(self, call):
        """A 200; None for anything else."""
        sent_at, answer = time.monotonic(), None
        try:
            self.connection = self.connection or http.client.HTTPConnection(
                "127.0.0.1", self.port, timeout=PATIENCE_SECONDS
            )
            answer = ask(self.connection, call)
        except (OSError, http.client.HTTPException):
            self.hang_up()
        self.answers.append(Answered(sent_at, time.monotonic(), answer.status if answer else NO_ANSWER))
        return answer if answer is not None and answer.status == 200 else None

    def hang_up(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def first_success_after(self, instant):
        """When the first 200 came to a request that was sent after `instant`; None while it has not."""
        return next((at for sent, at, status in self.answers if status == 200 and sent >= instant), None)


class WriteLoad:
    """`with WriteLoad(driver) as load:` writes until the end of the block; then `check` and `check_use`."""

    def __init__(self, driver, writers=WRITERS):
        self.driver = driver
        client_id, machine_id = driver.client(), driver.client()
        self.writers = [
            Writer(driver.server.port, client_id, user_id, machine_id)
            for user_id in driver.new_users(writers)
        ]
        driver.store(*itertools.chain.from_iterable(writer.rows for writer in self.writers))
        self.client_id, self.machine_id = client_id, machine_id
        self.senders = Senders([writer.step for writer in self.writers])
        self.begun_at = None

    def __enter__(self):
        self.begin()
        return self

    def __exit__(self, *failure):
        self.end()
        for writer in self.writers:
            writer.hang_up()

    def begin(self):
        """Let them write, if they do not."""
        if not any(thread.is_alive() for thread in self.senders.threads):
            self.begun_at = time.monotonic()
            self.senders.begin()

    def end(self):
        self.senders.end()

    def served_after(self, instant, seconds=PATIENCE_SECONDS):
        """When the first and the last of the writers had its first 200 to a request that it sent after
        `instant`; waits for it.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            firsts = [writer.first_success_after(instant) for writer in self.writers]
            if None not in firsts:
                return min(firsts), max(firsts)
            time.sleep(0.02)
        raise AssertionError(f"{firsts.count(None)} clients are not served after {seconds} s")

    def check(self, report, database_url, allowed):
        """Put what is wrong with the rows of `database_url` into the report, and go on from them. Nothing is
        under way. allowed: the answers that there may be beside 200.
        """
        stored = stored_values(database_url, self.client_id, Token.user_id)
        for writer in self.writers:
            rows = stored.get(writer.user_id, [])
            if violation := writer.history.find_violation(rows):
                report.violations.append(f"user {writer.user_id}: {violation}")
            report.in_doubt += writer.history.settle(rows)
            report.note(writer.answers, allowed)
            writer.answers = []
        machines = stored_values(database_url, self.machine_id, Token.client_id).get(self.machine_id, [])
        if lost := {token for writer in self.writers for token in writer.machine_tokens} - set(machines):
            report.violations.append(f"{len(lost)} acknowledged tokens of a machine are not stored")
        report.violations += self.senders.failures

    def finish(self, report, database_url):
        """End, and check all there is; 503 is allowed."""
        self.end()
        self.check_use(report)
        self.check(report, database_url, {503})

    def check_use(self, report):
        """The same through the front door, for what was acknowledged last. Before `check`."""
        for writer in self.writers:
            if writer.pair and not writer.history.in_doubt:
                if ask_anew(self.driver.server, me(writer.pair["access_token"])).status != 200:
                    report.violations.append(f"user {writer.user_id}: the acknowledged token does not work")
                if writer.ended and ask_anew(self.driver.server, me(writer.ended)).status != 401:
                    report.violations.append(f"user {writer.user_id}: an access token that was ended works")


def stored_values(database_url, client_id, key):
    """What each token row at this client came of, by `key`: the refresh token before, the code, or itself."""
    came_of = func.coalesce(Token.previous_refresh_token_digest, Token.code_digest, Token.access_token_digest)
    engine = create_engine(database_url)
    stored = {}
    try:
        with engine.connect() as connection:
            for name, value in connection.execute(select(key, came_of).where(Token.client_id == client_id)):
                stored.setdefault(name, []).append(value)
    finally:
        engine.dispose()
    return stored
