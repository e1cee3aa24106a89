"""Signing keys follow each other and workers are restarted, on two real nodes under load: nobody is refused,
no `kid` is unknown.

Clients refresh on kept connections, at one node and then the other, and verify each ID token at once, with
joserfc and a copy of the JWKS that they keep for as long as its `max-age` allows. A request is sent once: any
answer but 200 is a failure, and so is none. A connection that the server closed before anything was sent on
it is opened again, as every HTTP client does (RFC 9112 §9.5).

A key is announced for a minute longer than the JWKS may be cached. The long form waits for that, on the
project's own files. The short form serves a copy in which that minute is three seconds, and so do the tests
of the test.
"""

import itertools
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from joserfc import jws, jwt
from joserfc.jwk import KeySet

from crypto import credentials
from tests.builders import a_code
from tests.flows.driving import FORM, Driver, exchange, refresh
from tests.flows.mutations import Replacement, mutated_copy
from tests.live import ENGINES, PROJECT, START_SECONDS, LiveServer, live_server, new_database
from tests.load import Senders
from tests.openid import ALGORITHMS, AllNames

pytestmark = [
    pytest.mark.long,
    pytest.mark.long,
]

CLIENTS = 8
CACHE_SECONDS = 2
PATIENCE_SECONDS = 30
LATE_SECONDS = 2  # from the claims to the signature, on a machine that is busy
BOOTED = re.compile(r"Booting worker with pid: (\d+)")
STOPPED = "Worker exiting (pid: %s)"

SIGNING_KEYS = "crypto/key_schedule.py"
IN_SECONDS = [
    Replacement(
        SIGNING_KEYS, "REREAD_INTERVAL = timedelta(seconds=30)", "REREAD_INTERVAL = timedelta(seconds=2)"
    ),
    Replacement(SIGNING_KEYS, "CLOCK_SKEW = timedelta(seconds=30)", "CLOCK_SKEW = timedelta(seconds=1)"),
]
# What breaks a promise, for the tests of the tests.
SIGNS_AT_ONCE = Replacement(
    SIGNING_KEYS, "if row.alg == alg and row.active_from <= now]", "if row.alg == alg]"
)
NODES_NOT_WAITED_FOR = Replacement(
    SIGNING_KEYS, "(self.jwks_cache + REREAD_INTERVAL + CLOCK_SKEW)", "(self.jwks_cache)"
)
GONE_AT_ONCE = Replacement(
    SIGNING_KEYS, "successor.active_from + schedule.retirement", "successor.active_from"
)
CLOSED_AT_ONCE = Replacement(
    "gunicorn.conf.py",
    "    gthread.DEFAULT_WORKER_DATA_TIMEOUT =",
    "    gthread.STOP_KEEPALIVE_LINGER = 0\n    gthread.DEFAULT_WORKER_DATA_TIMEOUT =",
)


# ---- clients -----------------------------------------------------------------------------------------------


class IdToken(NamedTuple):
    kid: str
    alg: str
    issued_at: int
    text: str


class Line:
    """A kept connection to a node.

    To both nodes the issuer's name is said: there is a proxy in front of them.
    """

    def __init__(self, node, issuer):
        self.host = urlsplit(issuer).netloc
        self.connection = HTTPConnection("127.0.0.1", node.port, timeout=PATIENCE_SECONDS)

    def send(self, method, path, headers, body):
        """(status, headers, content). Raises OSError or HTTPException when there is no answer."""
        if self.has_ended():
            self.connection.close()
        self.connection.request(method, path, body, headers | {"Host": self.host})
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def has_ended(self):
        """Whether there is something to read where no answer is due: the end."""
        return self.connection.sock is not None and bool(select.select([self.connection.sock], [], [], 0)[0])


class Client:
    """Refreshes on and on, and verifies each ID token with its own copy of the JWKS."""

    def __init__(self, nodes, issuer, client_id, refresh_token):
        self.lines = [Line(node, issuer) for node in nodes]
        self.turns = itertools.cycle(self.lines)
        self.client_id, self.refresh_token = client_id, refresh_token
        self.keys, self.keys_end_at = {}, 0.0
        self.id_tokens, self.failures, self.unknown, self.seconds = [], [], [], []

    def refresh(self, _is_over):
        call = refresh(self.client_id, self.refresh_token)
        if answer := self.ask(call.method, call.path, FORM | call.headers, urlencode(call.form)):
            tokens = json.loads(answer[1])
            self.refresh_token = tokens["refresh_token"]
            self.verify(tokens["id_token"])

    def verify(self, text):
        header = jws.extract_compact(text.encode()).headers()
        kid = header["kid"]
        if kid not in self.published():
            self.unknown.append(kid)
            return
        claims = verified(text, self.keys[kid])
        assert claims["aud"] == self.client_id
        self.id_tokens.append(IdToken(kid, header["alg"], claims["iat"], text))

    def published(self):
        """The keys by `kid`, from a copy that is as old as it may be."""
        if time.monotonic() >= self.keys_end_at and (answer := self.ask("GET", "/oauth/jwks", {})):
            max_age = re.fullmatch(r"public, max-age=(\d+)", answer[0]["Cache-Control"])[1]
            self.keys = keys_of(answer[1])
            self.keys_end_at = time.monotonic() + int(max_age)
        return self.keys

    def ask(self, method, path, headers, body=None):
        """(headers, content) of the answer; None is a failure."""
        started = time.monotonic()
        try:
            status, headers, content = next(self.turns).send(method, path, headers, body)
        except (OSError, HTTPException) as error:
            self.failures.append(f"{method} {path}: {error!r}")
            return None
        self.seconds.append(time.monotonic() - started)
        if status == 200:
            return headers, content
        self.failures.append(f"{method} {path}: {status} {content[:200]!r}")
        return None


def keys_of(content):
    return {key.kid: key for key in KeySet.import_key_set(json.loads(content)).keys}


def verified(text, key):
    """The claims; raises JoseError."""
    return jwt.decode(text, key, registry=AllNames(algorithms=ALGORITHMS)).claims


class Clients(Senders):
    """Clients that sign their ID tokens with every `alg`, in turn, each for a person of its own."""

    def __init__(self, nodes):
        first = nodes[0]
        self.clients = []
        with Driver(first) as driver:
            for alg in itertools.islice(itertools.cycle(ALGORITHMS), CLIENTS):
                client_id = driver.client(
                    scope="openid", extra_metadata={"id_token_signed_response_alg": alg}
                )
                code = credentials.new_authorization_code()
                driver.store(a_code(code, client_id=client_id, user_id=driver.new_user(), scope="openid"))
                token = driver.pair(exchange(client_id, code)).refresh_token
                self.clients.append(Client(nodes, first.issuer, client_id, token))
        super().__init__([client.refresh for client in self.clients])

    def __exit__(self, *failure):
        super().__exit__()
        for line in self.all("lines"):
            line.connection.close()

    def all(self, name):
        return [each for client in self.clients for each in getattr(client, name)]

    def has_trouble(self):
        return bool(self.failures or self.all("failures") or self.all("unknown"))

    def wait_for(self, count):
        """Until so many ID tokens have come, or there is no point in waiting."""
        while len(self.all("id_tokens")) < count and not self.has_trouble():
            time.sleep(0.05)

    def figures(self, announced):
        seconds, id_tokens = self.all("seconds"), self.all("id_tokens")
        new = sum(token.kid == announced[token.alg].kid for token in id_tokens)
        return (
            f"{len(seconds)} requests, {len(id_tokens)} ID tokens, {new} by the new keys,"
            f" the slowest answer took {max(seconds):.2f} s"
        )


# ---- nodes that come and go --------------------------------------------------------------------------------


# systemd hands a socket over as number 3, and says to whom (sd_listen_fds(3)).
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Node(LiveServer):
    """Its listening socket is kept while it is away, as systemd keeps the one of `deploy/ostiary.socket`."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.listener = socket.create_server(("127.0.0.1", self.port))

    def start(self):
        self.migrate()
        gunicorn = ["-m", "gunicorn", "--config", "gunicorn.conf.py", "app:create_app()"]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, str(self.listener.fileno()), *gunicorn],
                cwd=self.source,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[self.listener.fileno()],
            )
        self.wait_until_ready()
        return self


@contextmanager
def running(node):
    try:
        yield node.start()
    finally:
        node.kill()
        node.listener.close()


@contextmanager
def two_nodes(engine, folder, postgres, source):
    """Two servers of one issuer on one database."""
    url = new_database(engine, folder, postgres)
    (folder / "second").mkdir()
    settings = {"source": source, "jwks_cache_lifetime": CACHE_SECONDS}
    with running(Node(url, folder, **settings)) as first:
        with running(Node(url, folder / "second", issuer=first.issuer, **settings)) as second:
            yield [first, second]


def workers_of(node):
    """The pids of the processes that serve now."""
    log = node.log()
    return [int(pid) for pid in BOOTED.findall(log) if STOPPED % pid not in log]


def wait_for_others(node, old):
    """Until `old` have all been replaced."""
    deadline = time.monotonic() + START_SECONDS
    while set(old) & set(now := workers_of(node)) or len(now) < node.workers:
        assert time.monotonic() < deadline, f"the workers {old} were not replaced:\n{node.log()}"
        time.sleep(0.1)


def reload(node):
    """As `systemctl reload` does: new workers for all the old ones."""
    old = workers_of(node)
    os.kill(node.process.pid, signal.SIGHUP)
    wait_for_others(node, old)


def replace_workers(node):
    """One after the other."""
    for pid in workers_of(node):
        os.kill(pid, signal.SIGTERM)
        wait_for_others(node, [pid])


def restart(node):
    """The whole server, as `systemctl restart` does for an upgrade."""
    old = workers_of(node)
    node.stop()
    node.start()
    wait_for_others(node, old)


class Announced(NamedTuple):
    kid: str
    signs_from: int


def rotate(node):
    """The keys that are announced now, by `alg`: by the node's own files."""
    keys = json.loads(node.flask_process("keys", "rotate", "--json").stdout)
    return {key["alg"]: Announced(key["kid"], key["signs_from"]) for key in keys}


# ---- the scene ---------------------------------------------------------------------------------------------


def rotate_under_load(nodes, count, meanwhile=time.sleep):
    """So many ID tokens and more, through a rotation and on.

    `meanwhile(seconds)` is what happens until it is over.
    """
    with Clients(nodes) as clients:
        clients.wait_for(count // 4)
        announced = rotate(nodes[0])
        is_over_at = max(key.signs_from for key in announced.values()) + CACHE_SECONDS
        while time.time() < is_over_at and not clients.has_trouble():
            meanwhile(1)
        clients.wait_for(max(count, len(clients.all("id_tokens")) + count // 4))
    check(nodes, clients, announced)
    print(clients.figures(announced))


def coming_and_going(nodes):
    """Every kind of restart, at one node and then the other: a function to call meanwhile."""
    turns = itertools.cycle([nodes, nodes[::-1]])

    def come_and_go(_seconds):
        first, second = next(turns)
        reload(first)
        replace_workers(first)
        restart(second)

    return come_and_go


def has_its_turn(token, new_kid, signs_from):
    """Whether the key is the one of that second: the new one from its first second on, the old one before."""
    if token.kid == new_kid:
        return token.issued_at >= signs_from - LATE_SECONDS
    return token.issued_at < signs_from


def check(nodes, clients, announced):
    unknown, id_tokens = clients.all("unknown"), clients.all("id_tokens")
    failures = clients.failures + clients.all("failures")
    assert not failures, f"{len(failures)} requests failed, the first: {failures[0]}"
    assert not unknown, f"{len(unknown)} ID tokens had an unknown kid"
    early = [token for token in id_tokens if not has_its_turn(token, *announced[token.alg])]
    assert not early, f"{len(early)} ID tokens were signed by a key that had not its turn"
    assert len({token.kid for token in id_tokens}) == 2 * len(ALGORITHMS)
    for node in nodes:
        published = keys_of(
            Line(node, nodes[0].issuer).send("GET", "/oauth/jwks", {"Connection": "close"}, None)[2]
        )
        outlived = [token for token in id_tokens if token.kid not in published]
        assert not outlived, f"{len(outlived)} ID tokens outlived their keys"
        for token in id_tokens:
            verified(token.text, published[token.kid])
        assert "Traceback" not in node.log()


@pytest.fixture
def serve(tmp_path, postgres):
    """A function that gives a context with two nodes: of the project, or of a copy with these
    replacements.
    """

    def serve(engine, replacements=()):
        source = mutated_copy(replacements, tmp_path / "source") if replacements else PROJECT
        return two_nodes(engine, tmp_path, postgres, source)

    return serve


@pytest.mark.threat("T136")
@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_notices(serve, engine):
    with serve(engine, IN_SECONDS) as nodes:
        rotate_under_load(nodes, 1_000, meanwhile=coming_and_going(nodes))


@pytest.mark.threat("T136")
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_notices_in_real_time(serve, engine):
    with serve(engine) as nodes:
        rotate_under_load(nodes, 10_000, meanwhile=coming_and_going(nodes))


@pytest.mark.parametrize(
    ("mutation", "words"),
    [
        ([*IN_SECONDS, SIGNS_AT_ONCE], "ID tokens had an unknown kid"),
        ([*IN_SECONDS, GONE_AT_ONCE], "ID tokens (had an unknown kid|outlived their keys)"),
        pytest.param(
            [NODES_NOT_WAITED_FOR],
            "ID tokens (had an unknown kid|were signed by a key)",
            marks=pytest.mark.long,
        ),
    ],
    ids=["signs_at_once", "gone_at_once", "nodes_not_waited_for"],
)
def test_a_key_that_comes_or_goes_too_early_is_noticed(serve, mutation, words):
    with serve("sqlite", mutation) as nodes, pytest.raises(AssertionError, match=words):
        rotate_under_load(nodes, 400)


# ---- a worker that stops, from close by --------------------------------------------------------------------

READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


def stop_a_worker(server):
    """Its clients: one has sent half a request, one sends another a second later, one is silent."""
    with ExitStack() as stack:
        half, later, silent = (stack.enter_context(connected(server)) for _ in range(3))
        for line in (half, later, silent):
            assert asked(line, READY) == (200, False)
        half.sendall(READY[:-1])
        [pid] = workers_of(server)
        os.kill(pid, signal.SIGTERM)
        time.sleep(1)
        assert asked(later, READY) == (200, True)
        assert asked(half, READY[-1:]) == (200, True)
        assert silent.recv(1) == b""
        wait_for_others(server, [pid])


def test_a_worker_that_stops_answers_first(tmp_path):
    with live_server(f"sqlite:///{tmp_path / 'stop.sqlite3'}", tmp_path, workers=1) as server:
        stop_a_worker(server)


def test_it_is_noticed_when_it_does_not(tmp_path):
    source = mutated_copy([CLOSED_AT_ONCE], tmp_path / "source")
    with live_server(f"sqlite:///{tmp_path / 'stop.sqlite3'}", tmp_path, source=source, workers=1) as server:
        with pytest.raises((OSError, HTTPException)):
            stop_a_worker(server)


@contextmanager
def connected(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as line:
        yield line


def asked(line, data):
    """(status, whether the server says that it will close) of the answer to this."""
    line.sendall(data)
    answer = HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status, answer.will_close
