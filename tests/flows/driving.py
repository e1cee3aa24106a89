"""Seeds the database of a live server and speaks HTTP to it, one request at a time or many at the same
moment.

Enters: a `LiveServer`. Rows go in through a second app on the same database; requests go out on connections
that were made and used before, so that a race begins when the barrier opens. No answer may be a 5xx.
"""

import http.client
import itertools
import json
import secrets
import threading
import time
from base64 import b64encode
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from sqlalchemy import select, update

from app import create_app
from config import Settings
from crypto import credentials
from models import Token, db
from protocol import clock
from tests.builders import CLIENT_SECRET, a_client, a_code, a_user, code_request, refresh_request
from tests.live import SECRET_KEY, LiveServer
from unit_of_work import transaction

CONNECTIONS = 32
PATIENCE_SECONDS = 20
# The kernel deals the connections among the processes; at a single socket one process may take them all.
EACH_PROCESS_LISTENS = "--reuse-port"
LOG_THE_PROCESS = "--access-logfile - --access-logformat 'process=%(p)s'"


@contextmanager
def race_server(database_url, folder, **options):
    """A live server whose processes all take part, and whose log says which of them answered."""
    server = LiveServer(database_url, folder, **options)
    server.environment["GUNICORN_CMD_ARGS"] = f"{EACH_PROCESS_LISTENS} {LOG_THE_PROCESS}"
    try:
        yield server.start()
    finally:
        server.kill()


@dataclass(frozen=True)
class Call:
    """A request to send, `after` so many seconds from the moment when all may begin."""

    method: str
    path: str
    headers: dict[str, str]
    body: str = ""
    after: float = 0.0

    def later(self, seconds):
        return replace(self, after=seconds)


@dataclass(frozen=True)
class Answer:
    """`json` is empty for a page; `location` is where a redirect leads."""

    status: int
    json: dict
    seconds: float
    location: str = ""

    @property
    def error(self):
        return self.json.get("error")


def token_call(client_id, body):
    """`POST /oauth/token` by a client with the secret that all of ours have."""
    basic = b64encode(f"{client_id}:{CLIENT_SECRET}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    return Call("POST", "/oauth/token", headers, urlencode(body))


def exchange(client_id, code, **changed):
    return token_call(client_id, code_request(code, **changed))


def refresh(client_id, refresh_token):
    return token_call(client_id, refresh_request(refresh_token))


def revoke(client_id, token):
    return replace(token_call(client_id, {"token": token}), path="/oauth/revoke")


def machine_call(client_id):
    return token_call(client_id, {"grant_type": "client_credentials"})


def me(access_token):
    return Call("GET", "/api/me", {"Authorization": f"Bearer {access_token}"})


def ask(connection, call):
    """Wait as long as the call says, send it, and return its answer, whatever that is."""
    if call.after:
        time.sleep(call.after)
    started = time.perf_counter()
    connection.request(call.method, call.path, call.body or None, call.headers)
    response = connection.getresponse()
    content = response.read()
    seconds = time.perf_counter() - started
    is_json = response.headers.get_content_type() == "application/json"
    location = response.headers.get("Location", "")
    return Answer(response.status, json.loads(content) if is_json else {}, seconds, location)


def send(connection, call):
    """The same, and the answer is no 5xx."""
    answer = ask(connection, call)
    assert answer.status < 500, f"{call.method} {call.path} was answered {answer.status}: {answer.json}"
    return answer


class Driver:
    """`with Driver(server) as driver:` gives people, clients and codes, and sends calls."""

    def __init__(self, server):
        self.server = server
        settings = Settings(issuer=server.issuer, database_url=server.database_url, secret_key=SECRET_KEY)
        self.app = create_app(settings)
        self.names = (f"{secrets.token_hex(4)}-{number}" for number in itertools.count())
        self.connection = self.connect()
        self.connections = deque(self.connect() for _ in range(CONNECTIONS))

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for connection in (self.connection, *self.connections):
            connection.close()
        with self.app.app_context():
            db.engine.dispose()

    # ---- rows ----------------------------------------------------------------------------------------------

    def store(self, *rows):
        with self.app.app_context(), transaction():
            db.session.add_all(rows)

    def people(self, count):
        """The ids of so many new people."""
        users = [
            a_user(id=None, sub=name, email=f"{name}@example.com")
            for name in itertools.islice(self.names, count)
        ]
        with self.app.app_context(), transaction():
            db.session.add_all(users)
            db.session.flush()
            return [user.id for user in users]

    def person(self):
        return self.people(1)[0]

    def client(self, build=a_client, **changed):
        """The client_id of a new confidential client."""
        client_id = f"web-{next(self.names)}"
        self.store(build(client_id=client_id, **changed))
        return client_id

    def codes(self, client_id, user_ids):
        """New codes, one for each of the people named; a person named twice has two."""
        codes = [credentials.new_authorization_code() for _ in user_ids]
        pairs = zip(codes, user_ids, strict=True)
        self.store(*(a_code(code, client_id=client_id, user_id=user_id) for code, user_id in pairs))
        return codes

    def code(self, client_id, user_id):
        return self.codes(client_id, [user_id])[0]

    def token_rows(self, client_id, user_id=None):
        """The digests of the access tokens that a person has at a client; without a person, a machine's."""
        statement = select(Token.access_token_digest).where(
            Token.client_id == client_id, Token.user_id == user_id
        )
        with self.app.app_context():
            return list(db.session.scalars(statement))

    def expire_access_tokens(self, user_id):
        with self.app.app_context(), transaction():
            db.session.execute(
                update(Token).where(Token.user_id == user_id).values(access_token_expires_at=clock.now())
            )

    # ---- HTTP ----------------------------------------------------------------------------------------------

    def connect(self):
        """A connection that has been used: a new one has to be accepted first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        return connection

    def send(self, call):
        return send(self.connection, call)

    def meet(self, actions):
        """Run each `action(connection)` in a thread of its own, all from the same moment on; return what they
        return.
        """
        barrier = threading.Barrier(len(actions))
        self.connections.rotate(len(actions))  # not always the same ones: each belongs to one process

        def run(action, connection):
            barrier.wait(PATIENCE_SECONDS)
            return action(connection)

        with ThreadPoolExecutor(len(actions)) as pool:
            return list(pool.map(run, actions, itertools.islice(self.connections, len(actions))))

    def at_once(self, calls):
        """The answers to calls that were sent at the same moment, in the order of the calls."""
        return self.meet([lambda connection, call=call: send(connection, call) for call in calls])

    # ---- short ways ----------------------------------------------------------------------------------------

    def sign_in(self, client_id, user_id):
        """The pair that a fresh code of this person becomes."""
        return self.pair(exchange(client_id, self.code(client_id, user_id)))

    def pair(self, call):
        """The token response to a call that must succeed."""
        answer = self.send(call)
        assert answer.status == 200, answer
        return answer.json

    def is_live(self, access_token):
        status = self.send(me(access_token)).status
        assert status in (200, 401), status
        return status == 200
