"""Hosts of clients that take a connection and never answer: whoever needs nothing of them does not notice.

Two processes, live.
"""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest
from sqlalchemy import make_url

from app import create_app
from models import db
from tests.builders import CLIENT_SECRET, a_machine
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.live import ENGINES, live_server, new_database
from tests.web import WebServer, json_answer

pytestmark = pytest.mark.long

KEY = key_for("ES256")
HOSTS = 16
SECONDS = 3
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATHS = {
    "/healthz": None,
    "/readyz": None,
    "/.well-known/openid-configuration": None,
    "/oauth/jwks": None,
    "/login": None,
    "/oauth/token": {
        "grant_type": "client_credentials",
        "client_id": "robot",
        "client_secret": CLIENT_SECRET,
    },
}
# Connections that have been in a transaction for a second without a statement.
IDLE = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '1 second'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
    " ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND p.command = 'Sleep' AND p.time_ms > 1000",
}


@pytest.fixture(params=ENGINES)
def server(request, tmp_path, servers):
    with live_server(new_database(request.param, tmp_path, servers), tmp_path) as server:
        yield server


@pytest.fixture
def silent():
    """Addresses of hosts that never say a word."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _host in range(HOSTS)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
            listener.listen(64)
        yield [f"http://127.0.0.1:{listener.getsockname()[1]}/jwks" for listener in listeners]


def add_machines(server, uris):
    app = create_app(server.settings())
    with app.app_context():
        db.session.add(a_machine(token_endpoint_auth_method="client_secret_post"))
        for client_id, uri in uris.items():
            signs = {"token_endpoint_auth_method": "private_key_jwt", "client_secret_digest": None}
            db.session.add(a_machine(client_id=client_id, **signs, extra_metadata={"jwks_uri": uri}))
        db.session.commit()
        db.engine.dispose()


def ask(server, method, path, body=None):
    """The status, the headers, and how long it took."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    started = time.monotonic()
    try:
        connection.request(method, path, body and urlencode(body), FORM if body else {})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return answer.status, answer.headers, time.monotonic() - started


def with_its_key(server, client_id):
    assertion = sign(assertion_claims(client_id, aud=server.issuer), KEY)
    return ask(server, "POST", "/oauth/token", with_assertion(assertion, grant_type="client_credentials"))


@contextmanager
def crowd_at(server, client_ids):
    """Each of these asks again and again, whatever it is told. The answers, as they come."""
    over, told = threading.Event(), []

    def insist(client_id):
        while not over.is_set():
            told.append(with_its_key(server, client_id)[:2])
            over.wait(0.05)

    with ThreadPoolExecutor(len(client_ids)) as pool:
        asking = [pool.submit(insist, client_id) for client_id in client_ids]
        try:
            yield told
        finally:
            over.set()
        for one in asking:
            one.result()


@pytest.mark.threat("T063")
def test_hosts_that_hang_stall_nobody_else(server, silent):
    slow = {f"slow-{number}": uri for number, uri in enumerate(silent)}
    slowest, idle = dict.fromkeys(PATHS, 0), 0
    with WebServer(json_answer(jwks(KEY))) as publisher:
        add_machines(server, slow | {"quick": publisher.url})
        for _time in range(8):  # so that both processes have what is made or fetched the first time
            assert with_its_key(server, "quick")[0] == 200
            assert ask(server, "GET", "/oauth/jwks")[0] == 200
        with crowd_at(server, list(slow)) as told:
            time.sleep(0.5)
            ends_at = time.monotonic() + SECONDS
            while time.monotonic() < ends_at:
                for path, body in PATHS.items():
                    status, _headers, seconds = ask(server, "POST" if body else "GET", path, body)
                    assert status == 200, path
                    slowest[path] = max(seconds, slowest[path])
                idle += idle_transactions(server)
    assert max(slowest.values()) < 1, slowest
    assert idle == 0
    assert {status for status, _headers in told} <= {401, 429, 503}
    turned_away = [headers for status, headers in told if status == 503]
    assert len(turned_away) > HOSTS
    assert all(int(headers["Retry-After"]) >= 1 for headers in turned_away)


def idle_transactions(server):
    query = IDLE.get(make_url(server.database_url).get_backend_name())
    return server.rows(query)[0][0] if query else 0
