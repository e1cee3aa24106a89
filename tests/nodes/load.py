"""Clients that never stop: each remembers what was acknowledged to it, and says so when that turns out not to
be true.

Enters: a server that may lose its database meanwhile. Leaves: a `Report` with every broken promise in words.
A client does what RFC 6749 lets it do after a 503: it repeats a refresh and a revocation, and takes a new
code instead of one that may be spent.
"""

import http.client
import json
import threading
import time
from collections import Counter, defaultdict
from typing import NamedTuple

from sqlalchemy import create_engine, text

from crypto import credentials
from protocol import clock
from tests.builders import a_code, a_machine
from tests.flows.driving import Driver, exchange, machine_call, me, refresh, revoke

CONNECTIONS = 16
CODES = 100  # for each person, more than it can spend
REFRESHES = 3
PATIENCE_SECONDS = 20
PAUSE_SECONDS = 0.05  # after a 503; in a hurry, to see when it is over


class Answer(NamedTuple):
    sent_at: float
    answered_at: float
    status: int
    json: dict


class Client(threading.Thread):
    """One connection and one person: signs in, refreshes, gets a machine's token, signs out, on and on."""

    def __init__(self, port, client_id, user_id, codes, machine_id):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self.client_id, self.user_id, self.codes, self.machine_id = (
            client_id,
            user_id,
            iter(codes),
            machine_id,
        )
        self.is_over = threading.Event()
        self.answers, self.violations = [], []
        # access tokens that were acknowledged as ended, and as issued
        self.dead, self.machine_tokens = [], []
        self.live = None  # the pair that was acknowledged last, unless it was revoked

    def run(self):
        try:
            while not self.is_over.is_set():
                self.sign_in_and_out()
        except Exception as error:
            self.violations.append(f"a client ended: {error!r}")
        self.connection.close()

    def sign_in_and_out(self):
        code = next(self.codes)
        answer = self.send(exchange(self.client_id, code))
        if answer.status == 503:
            return  # it may be spent: the person signs in again
        self.keep(answer, "a code that was never used was refused")
        for _ in range(REFRESHES):
            if self.live is None or self.is_over.is_set():
                return  # what was acknowledged last stays, to be looked at
            self.keep(
                self.insist(refresh(self.client_id, self.live["refresh_token"])),
                "an acknowledged token was lost",
            )
        if self.live is None:
            return
        self.machine_tokens.append(self.insist(machine_call(self.machine_id)).json.get("access_token"))
        self.insist(revoke(self.client_id, self.live["refresh_token"]))
        self.dead.append(self.live["access_token"])
        self.live = None

    def keep(self, answer, otherwise):
        """Remember the pair of a 200, which ends the one before."""
        if self.live is not None:
            self.dead.append(self.live["access_token"])
        self.live = answer.json if answer.status == 200 else None
        if self.live is None:
            self.violations.append(f"{otherwise}: {answer.status} {answer.json}")

    def insist(self, call):
        """Send it again until the answer is no 503."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.send(call)).status == 503 and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        return answer

    def send(self, call):
        sent_at = time.monotonic()
        self.connection.request(call.method, call.path, call.body or None, call.headers)
        response = self.connection.getresponse()
        answer = Answer(sent_at, time.monotonic(), response.status, json.loads(response.read() or "{}"))
        self.answers.append(answer)
        return answer

    def first_success_after(self, instant):
        """When it came; None while it has not."""
        times = (
            answer.answered_at
            for answer in self.answers
            if answer.status == 200 and answer.sent_at >= instant
        )
        return min(times, default=None)


class Report(NamedTuple):
    """What a crowd was answered, and what was promised to it and not kept."""

    statuses: Counter
    acknowledged: int
    slowest_seconds: float
    violations: list[str]

    def __str__(self):
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return (
            f"{statuses}; {self.acknowledged} acknowledged writes; the slowest answer took"
            f" {self.slowest_seconds:.2f} s"
        )


class Crowd:
    """`with Crowd(server) as crowd:` sends requests until the end of the block; then `report(…)`."""

    def __init__(self, server):
        with Driver(server) as driver:
            machine_id = driver.client(build=a_machine)
            client_id = driver.client()
            self.clients = []
            for user_id in driver.people(CONNECTIONS):
                codes = [credentials.new_authorization_code() for _ in range(CODES)]
                ends = clock.now() + 600
                driver.store(
                    *(a_code(code, client_id=client_id, user_id=user_id, expires_at=ends) for code in codes)
                )
                self.clients.append(Client(server.port, client_id, user_id, codes, machine_id))

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *failure):
        for client in self.clients:
            client.is_over.set()
        for client in self.clients:
            client.join(PATIENCE_SECONDS)

    def successes_after(self, instant):
        """When the first and the last of the clients had its first 200 to a request that it sent after
        `instant`; waits for it.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            firsts = [client.first_success_after(instant) for client in self.clients]
            if None not in firsts:
                return min(firsts), max(firsts)
            time.sleep(0.02)
        violations = [violation for client in self.clients for violation in client.violations]
        raise AssertionError(
            f"{firsts.count(None)} clients had no success in {PATIENCE_SECONDS} s: {violations}"
        )

    def report(self, server, database_url):
        """Compare what was acknowledged with the rows of `database_url` and with what the server says.

        The clients have ended.
        """
        answers = [answer for client in self.clients for answer in client.answers]
        violations = [violation for client in self.clients for violation in client.violations]
        odd = Counter(answer.status for answer in answers if answer.status not in (200, 503))
        violations += [f"{count} answers of {status}" for status, count in odd.items()]
        violations += self.lost_rows(database_url)
        violations += self.lost_in_use(server)
        return Report(
            Counter(answer.status for answer in answers),
            sum(answer.status == 200 for answer in answers),
            max(answer.answered_at - answer.sent_at for answer in answers),
            violations,
        )

    def lost_rows(self, database_url):
        stored = stored_access_tokens(database_url)
        for client in self.clients:
            person = stored[client.user_id]
            expected = {credentials.digest(client.live["access_token"])} if client.live else set()
            if lost := expected - person:
                yield f"{len(lost)} acknowledged tokens of person {client.user_id} are not stored"
            if ended := person & set(map(credentials.digest, client.dead)):
                yield f"{len(ended)} tokens of person {client.user_id} are back from the dead"
            if len(person) > 1:
                yield f"{len(person)} rows for person {client.user_id}"
            if lost := set(map(credentials.digest, client.machine_tokens)) - stored[None]:
                yield f"{len(lost)} acknowledged tokens of a machine are not stored"

    def lost_in_use(self, server):
        """The same through the front door, for what was acknowledged last."""
        with Driver(server) as driver:
            for client in self.clients:
                if client.live and driver.send(me(client.live["access_token"])).status != 200:
                    yield f"the access token of person {client.user_id} does not work"
                if client.dead and driver.send(me(client.dead[-1])).status != 401:
                    yield f"an access token of person {client.user_id} that was ended works"


def stored_access_tokens(database_url):
    """The digests in the database, by the id of the person; a machine's under None."""
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            stored = defaultdict(set)
            for user_id, access_token in connection.execute(
                text("SELECT user_id, access_token_digest FROM token")
            ):
                stored[user_id].add(access_token)
            return stored
    finally:
        engine.dispose()
