"""People whose clients write all the time: sign-ins, refreshes and revocations over HTTP, each noted in a
history.

Enters: a live server. Leaves: rows, answers by status, and a `History` for each person. Whoever is not
answered, or with 503, does what a good client does: asks again with the same refresh token, or takes another
code where one was in play.
"""

import http.client
import json
import threading
import time

from sqlalchemy import select

from crypto import credentials
from models import Token, db
from protocol import clock
from tests.builders import a_code
from tests.crashes.history import NO_ROW, History
from tests.flows.driving import PATIENCE_SECONDS, exchange, me, refresh, revoke

REFRESHES_A_SIGN_IN = 6
CODES = 400  # of each person: one for each sign-in, and one for each 503 that a code was in play at
PAUSE_SECONDS = 0.02  # after an answer that was none


class Person:
    """One person with one client.

    `write_on` runs in a thread of its own; everything else when that is over.
    """

    def __init__(self, stage, client_id, user_id, codes):
        self.stage = stage
        self.client_id = client_id
        self.user_id = user_id
        self.codes = codes
        self.history = History()
        self.pair = None
        self.refreshes = 0
        self.connection = None
        self.statuses = []
        self.acknowledged = 0
        self.first_at = None  # when the first write was acknowledged, since `write_on` began

    def write_on(self, is_over):
        self.first_at = None
        while not is_over.is_set():
            if not self.write():
                is_over.wait(PAUSE_SECONDS)

    def write(self):
        """The next write; whether it was acknowledged."""
        if self.pair is None:
            return self.exchange()
        token = self.pair["refresh_token"]
        if self.refreshes == REFRESHES_A_SIGN_IN:
            if self.send(revoke(self.client_id, token), value=NO_ROW) is None:
                return False
            self.pair, self.refreshes = None, 0
            return True
        pair = self.send(refresh(self.client_id, token), value=credentials.digest(token))
        if pair is None:
            return False
        self.pair, self.refreshes = pair, self.refreshes + 1
        return True

    def exchange(self):
        code = next(self.codes)
        self.pair = self.send(exchange(self.client_id, code), value=credentials.digest(code))
        return self.pair is not None

    def send(self, call, value):
        """The acknowledged answer's JSON; None for no answer and for a 503."""
        self.history.begin(value)
        reply = self.request(call)
        self.statuses.append("no answer" if reply is None else reply.status)
        if reply is None or reply.status != 200:
            return None
        self.history.acknowledge()
        self.acknowledged += 1
        self.first_at = self.first_at or time.monotonic()
        return reply.json

    def request(self, call):
        port = self.stage.server.port
        self.connection = self.connection or http.client.HTTPConnection(
            "127.0.0.1", port, timeout=PATIENCE_SECONDS
        )
        try:
            self.connection.request(call.method, call.path, call.body or None, call.headers)
            return Reply(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.hang_up()
            return None

    def hang_up(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def rows(self):
        """What was spent for each row of this person: the refresh token before, or else the code."""
        columns = select(Token.previous_refresh_token_digest, Token.code_digest)
        with self.stage.app.app_context():
            found = db.session.execute(
                columns.where(Token.client_id == self.client_id, Token.user_id == self.user_id)
            )
            return [before or code for before, code in found]

    def check(self, report):
        """Put what is wrong with the rows into the report, and go on from them. With nothing under way."""
        rows = self.rows()
        if violation := self.history.find_violation(rows):
            report.violations.append(f"person {self.user_id}: {violation}")
        report.in_doubt += self.history.settle(rows)
        report.acknowledged += self.acknowledged
        report.statuses.update(self.statuses)
        self.acknowledged, self.statuses = 0, []

    def check_pair(self, report):
        """The same for the pair that the client holds, when it was told of all that it wrote."""
        if self.pair is not None and not self.history.in_doubt:
            reply = self.request(me(self.pair["access_token"]))
            if reply is None or reply.status != 200:
                report.violations.append(
                    f"person {self.user_id}: the acknowledged access token does not work"
                )


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.json = json.loads(response.read())


class Crowd:
    """So many people at one client: `with Crowd(…)`.

    `begin()` lets them write, `end()` waits for what is under way.
    """

    def __init__(self, stage, size):
        client_id, user_ids = stage.client(), stage.people(size)
        self.is_over = threading.Event()
        self.people = []
        for user_id in user_ids:
            codes = [credentials.new_authorization_code() for _ in range(CODES)]
            of_person = {"client_id": client_id, "user_id": user_id, "expires_at": clock.now() + 3600}
            stage.store(*(a_code(code, **of_person) for code in codes))
            self.people.append(Person(stage, client_id, user_id, iter(codes)))

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.is_over.set()
        for person in self.people:
            person.hang_up()

    def begin(self):
        self.is_over = threading.Event()
        self.threads = [
            threading.Thread(target=person.write_on, args=[self.is_over]) for person in self.people
        ]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "an answer takes too long"

    def wait_until_served(self, seconds):
        """Until everybody was told of a write since `begin`; returns the moment when that was, None after so
        many seconds.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            moments = [person.first_at for person in self.people]
            if None not in moments:
                return max(moments)
            time.sleep(0.01)
        return None

    def check(self, report):
        for person in self.people:
            person.check(report)

    def check_pairs(self, report):
        for person in self.people:
            person.check_pair(report)
