"""A tenant is removed while its clients and those of another ask on: nothing of it stays, all of the
other does, and nobody gets an error that is none.
"""

import re
import secrets
import threading
from collections import Counter
from contextlib import contextmanager
from itertools import cycle

import pytest

from models import db
from testing.races.workers import Call
from tests.flows.driving import OURS, Connections, ask
from tests.live import ENGINES, new_database
from tests.load import Senders
from tests.pages.page import Page
from tests.pages.steps import authorization_path
from tests.statements import select
from tests.tenants.issuers import SCOPE
from tests.tenants.live import CLIENT, at, codes, scene_on

pytestmark = [pytest.mark.integration, pytest.mark.long_on("sqlite", "mariadb")]

THREADS = 6  # at each tenant
LEFT_ALONE = ("end_user", "client", "scope", "client_origin", "consent")
REGISTERED = {"invalid_grant", "invalid_client", "invalid_token", "unauthorized_client", "invalid_request"}
BUG = re.compile(r".*(?:bug:|Traceback).*")


@pytest.fixture(params=ENGINES)
def scene(request, tmp_path, servers):
    with scene_on(new_database(request.param, tmp_path, servers), tmp_path) as scene:
        yield scene


def tables():
    return [table for table in db.metadata.sorted_tables if "tenant_id" in table.c]


def rows_of(scene, issuer, names=None):
    """The rows of a tenant, by table."""
    return {
        table.name: sorted(map(repr, scene.rows(select(table).where(table.c.tenant_id == issuer.id))))
        for table in tables()
        if names is None or table.name in names
    }


class Load:
    """A client and a browser of a tenant: each step signs in, exchanges, refreshes, asks and is refused."""

    def __init__(self, scene, issuer):
        self.issuer = issuer
        self.connections = Connections(scene.server.port, 1)
        self.answers = []
        self.codes = cycle(codes(issuer, [secrets.token_hex(8) for _ in range(60)]))

    def send(self, call):
        answer = ask(self.connections.first, at(self.issuer, call))
        self.answers.append((call.path.partition("?")[0], answer.status, answer.error, answer.text[:300]))
        return answer

    def step(self, is_over):
        answer = ask(self.connections.first, next(self.codes))
        self.answers.append(("exchange", answer.status, answer.error, answer.text[:300]))
        tokens = answer.json
        self.send(OURS.me(tokens.get("access_token", "x")))
        answer = self.send(OURS.refresh(CLIENT, tokens.get("refresh_token", "x")))
        self.send(OURS.revoke(CLIENT, answer.json.get("access_token", "x")))
        self.send(OURS.client_credentials("robot"))
        self.send(OURS.token_call("robot", {"grant_type": "nonsense"}))
        self.send(Call("POST", "/oauth/token", {"Authorization": "Basic d2ViOndyb25n"}))
        self.send(Call("GET", "/oauth/jwks"))
        self.send(Call("GET", authorization()))
        self.sign_up()

    def sign_up(self):
        shown = self.send(Call("GET", "/signup"))
        forms = Page(shown.text).forms if shown.status == 200 else []
        for form in forms[:1]:
            filled = {"name": "Nyx", "email": f"{secrets.token_hex(4)}@example.com", "password": "x" * 12}
            self.send(Call("POST", "/signup", {}, form.fields | filled))  # no cookie: refused


def authorization():
    return authorization_path(scope=SCOPE)


@pytest.mark.threat("T205")
def test_removal_under_load(scene):
    acme, beta = scene.add("acme"), scene.add("beta")
    before = rows_of(scene, beta, LEFT_ALONE)
    loads = [Load(scene, issuer) for issuer in (acme, beta) for _ in range(THREADS)]
    with at_work(loads, scene.server):
        wait_for(loads, 40)
        removed = scene.server.flask_process("tenants", "remove", "acme", "--yes")
        assert "Removed the tenant acme" in removed.stderr
        wait_for(loads, 40)
    assert {name: rows for name, rows in rows_of(scene, acme).items() if rows} == {}
    assert rows_of(scene, beta, LEFT_ALONE) == before
    check_answers(scene, loads, acme, beta)


@contextmanager
def at_work(loads, server):
    """Let them work until the block ends, also where the test fails: the server goes after them."""
    try:
        with Senders([load.step for load in loads]) as senders:
            yield
    finally:
        for load in loads:
            load.connections.close()
    said = [line for line in server.log().splitlines() if not line.startswith("process=")]
    assert not senders.failures, (senders.failures, said[-20:])


def wait_for(loads, more):
    """Until each has got so many answers more."""
    wanted = [len(load.answers) + more for load in loads]
    pause, rounds = threading.Event(), 0
    while any(len(load.answers) < count for load, count in zip(loads, wanted, strict=True)):
        pause.wait(0.1)
        rounds += 1
        assert rounds < 600, "the load stands still"


def check_answers(scene, loads, acme, beta):
    got = {issuer.name: Counter() for issuer in (acme, beta)}
    for load in loads:
        got[load.issuer.name].update(answer[:3] for answer in load.answers)
    bugs = BUG.findall(scene.server.log())
    assert not bugs, bugs[0]
    assert max(status for _path, status, _error in got["beta"]) < 500, got["beta"]
    for path, status, error in got["acme"]:
        assert status < 500 or status == 503, (path, status, error)
        if status in (400, 401) and path.startswith(("/oauth/token", "exchange")):
            assert error in REGISTERED | {"unsupported_grant_type"}, (path, status, error)
    for name, answers in got.items():
        assert answers["exchange", 200, ""] and answers["/oauth/jwks", 200, ""], (name, answers)
