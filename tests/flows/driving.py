"""Seeds the database of a live server and speaks HTTP to it, one request at a time or many at the same
moment.

Enters: a `LiveServer`. Rows go in through a second app on the same database; requests go out on connections
that were made and used before, so that a race begins when the barrier opens. No answer may be a 5xx. It is
the testbed of `testing/races` with a server instead of workers: the same scenarios are played on both.
"""

import http.client
import itertools
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlencode

from app import create_app
from config import Settings
from models import Token, db
from protocol import clock
from testing.races.testbed import Testbed, TokenCalls
from testing.races.workers import Answer
from tests.builders import CLIENT_SECRET, REDIRECT_URI, VERIFIER, a_client, a_user
from tests.live import SECRET_KEY, LiveServer
from tests.statements import update
from unit_of_work import transaction

GRANT_TYPES = ["authorization_code", "refresh_token", "client_credentials"]
# The settings that scenarios and commands ask about, by what a server is started with.
ASKED_FOR = {
    "password_hashes": "OSTIARY_PASSWORD_HASHES",
    "refresh_leeway": "OSTIARY_REFRESH_LEEWAY",
    "refresh_retry_lifetime": "OSTIARY_REFRESH_RETRY_LIFETIME",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CONNECTIONS = 32  # more than the server has threads: some wait inside, some at the door
THREADS = 8  # of the server
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


OURS = TokenCalls(CLIENT_SECRET, VERIFIER, REDIRECT_URI)
exchange, refresh, revoke, me = OURS.exchange, OURS.refresh, OURS.revoke, OURS.me
machine_call = OURS.client_credentials


def ask(connection, call):
    """Wait as long as the call says, send it, and return its answer, whatever that is."""
    if call.after:
        time.sleep(call.after)
    started = time.perf_counter()
    connection.request(call.method, call.path, urlencode(call.form) or None, FORM | call.headers)
    response = connection.getresponse()
    content = response.read()
    seconds = time.perf_counter() - started
    return Answer(response.status, response.headers.get("Location", ""), content.decode(), seconds)


def send(connection, call):
    """The same, and the answer is no 5xx."""
    answer = ask(connection, call)
    assert answer.status < 500, f"{call.method} {call.path} was answered {answer.status}: {answer.json}"
    return answer


class Connections:
    """What sends at once: connections to a live server, each used before, for a new one has to be accepted
    first.
    """

    def __init__(self, port, size):
        self.port = port
        self.size = size
        self.capacity = min(size, THREADS)
        self.again = Counter()  # the server's log has them
        self.first = self.connect()
        self.all = deque(self.connect() for _ in range(size))

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        return connection

    def close(self):
        for connection in (self.first, *self.all):
            connection.close()

    def meet(self, actions):
        """Run each `action(connection)` in a thread of its own, all from the same moment on; return what they
        return.
        """
        barrier = threading.Barrier(len(actions))
        self.all.rotate(len(actions))  # not always the same ones: each belongs to one process

        def run(action, connection):
            barrier.wait(PATIENCE_SECONDS)
            return action(connection)

        with ThreadPoolExecutor(len(actions)) as pool:
            return list(pool.map(run, actions, itertools.islice(self.all, len(actions))))

    def at_once(self, calls):
        return self.meet([partial(ask, call=call) for call in calls])


class Driver(Testbed):
    """`with Driver(server) as driver:` gives users, clients and codes, and sends calls over HTTP."""

    code_scope = "profile email"

    def __init__(self, server, senders=CONNECTIONS):
        self.server = server
        asked_for = {
            name: server.environment[variable]
            for name, variable in ASKED_FOR.items()
            if variable in server.environment
        }
        settings = Settings(
            issuer=server.issuer, database_url=server.database_url, secret_key=SECRET_KEY, **asked_for
        )
        workers = Connections(server.port, senders)
        super().__init__(
            create_app(settings), settings, workers, OURS.client_secret, OURS.verifier, OURS.redirect_uri
        )
        self.meet = workers.meet

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.workers.close()
        with self.app.app_context():
            db.engine.dispose()

    def send(self, call):
        return send(self.workers.first, call)

    def store(self, *rows):
        with self.app.app_context(), transaction():
            db.session.add_all(rows)

    def new_users(self, count):
        """The ids of so many new users, who all have the same password."""
        users = [
            a_user(id=None, sub=name, email=f"{name}@example.com")
            for name in itertools.islice(self.names, count)
        ]
        with self.app.app_context(), transaction():
            db.session.add_all(users)
            db.session.flush()
            return [user.id for user in users]

    def client(self, build=a_client, **changed):
        """The client_id of a new confidential client, which may use every grant."""
        client_id = f"web-{next(self.names)}"
        self.store(build(**{"client_id": client_id, "grant_types": GRANT_TYPES} | changed))
        return client_id

    def expire_access_tokens(self, user_id):
        with self.app.app_context(), transaction():
            db.session.execute(
                update(Token).where(Token.user_id == user_id).values(access_token_expires_at=clock.now())
            )
