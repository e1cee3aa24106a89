"""Generated requests over sockets to the shipped server: parameters, headers and paths, and bytes that are no
HTTP at all. And, on PostgreSQL, what only that refuses, in every parameter.

The values, ways and callers are those of `test_generated.py`. Whatever arrives, no worker fails, dawdles or
grows, no answer repeats it, and nothing that was issued is lost.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, configuration, given, settings
from hypothesis import strategies as st

from app import create_app
from config import Settings
from models import db
from services import passwords
from tests.builders import PASSWORD, refresh_request
from tests.generated.checks import problems
from tests.generated.raw import quoted, send
from tests.generated.routes import CASES, World, basic
from tests.generated.test_generated import PATIENT
from tests.generated.values import KINDS
from tests.generated.ways import (
    HEADERS,
    HEADERS_OF_FILES,
    HEADERS_OF_FORMS,
    HEADERS_OF_INTROSPECTION,
    OTHER_WAYS,
    PATHS,
    UNREAD_HEADERS,
    instead,
)
from tests.generated.wire import BREAKS, exchange
from tests.live import SECRET_KEY, LiveServer, new_database

AT_ONCE = 8
SHORT, MIDDLE, LONG, WARM = (
    600,
    5_000,
    20_000,
    2_000,
)  # requests; after the warm ones the workers are as large as they should ever be
SECONDS, MEGABYTES = 1.0, 20
USES = 10  # of the same code, ticket or session, before new ones are seeded
WAYS = [instead, instead, *OTHER_WAYS]
ALL_HEADERS = list(
    (HEADERS | HEADERS_OF_FILES | HEADERS_OF_FORMS | HEADERS_OF_INTROSPECTION | UNREAD_HEADERS).items()
)


@pytest.fixture(scope="module", autouse=True)
def home_of_hypothesis(tmp_path_factory):
    """It keeps tables of characters somewhere: not in the project's folder."""
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture
def server(engine, tmp_path, postgres):
    server = LiveServer(new_database(engine, tmp_path, postgres), tmp_path, **PATIENT)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def world(server):
    """The people and clients of the live server, put in through a second app on its database."""
    app = create_app(Settings(issuer=server.issuer, database_url=server.database_url, secret_key=SECRET_KEY))
    yield World(app, server.issuer, SECRET_KEY, passwords.hash_password(PASSWORD))
    with app.app_context():
        db.engine.dispose()


@dataclass(frozen=True)
class Plan:
    """A request to be made: `number` picks the parameter, header, path or break, and the way."""

    case: object
    part: str
    number: int
    value: bytes

    def __repr__(self):
        return f"{self.case!r}: {self.part} {self.number} {self.value[:100]!r}"

    def pick(self, choices):
        return choices[self.number % len(choices)]

    def pick_way(self, choices, ways):
        return ways[self.number // len(choices) % len(ways)]


PLANS = st.builds(
    Plan,
    st.sampled_from(CASES),
    st.sampled_from(["parameter", "parameter", "header", "header", "path", "break"]),
    st.integers(0, 10_000),
    st.one_of(*KINDS.values()),
)


class Stock:
    """Right requests of each case, each used a few times."""

    def __init__(self, world):
        self.world = world
        self.parts = {}
        self.uses = Counter()

    def take(self, case):
        if self.uses[case.name] % USES == 0:
            self.parts[case.name] = case.parts(self.world)
        self.uses[case.name] += 1
        return self.parts[case.name]


def make(plan, parts):
    """The plan as a request, the name of its parameter, and its bytes."""
    request, name = parts.request(), b"next"  # what ends up in the query may end up in it
    if plan.part == "parameter":
        parameters = plan.case.parameters()
        place, name = plan.pick(parameters)
        request = plan.pick_way(parameters, WAYS)(parts, place, name, plan.value)
    elif plan.part == "header":
        header, ways = plan.pick(ALL_HEADERS)
        lines = plan.pick_way(ALL_HEADERS, ways)(parts.header(header), plan.value)
        request = parts.with_header(header, lines)
    elif plan.part == "path":
        request = replace(request, target=plan.pick(PATHS)(parts.path, quoted(plan.value)))
    sent = plan.pick(BREAKS)(request.wire(), plan.value) if plan.part == "break" else request.wire()
    return request, name, sent


class Load:
    """Sends plans, a few at once, and checks each answer; `answers` counts the statuses, `slowest` is in
    seconds.
    """

    def __init__(self, server, world):
        self.server = server
        self.stock = Stock(world)
        self.pool = ThreadPoolExecutor(AT_ONCE)
        self.answers = Counter()
        self.slowest = 0.0
        self.workers_at_start = workers(server)
        self.warm = None

    def send(self, plans):
        made = [make(plan, self.stock.take(plan.case)) for plan in plans]
        for plan, (request, name, sent), timed in zip(
            plans, made, self.pool.map(self.exchange, made), strict=True
        ):
            check(plan, request, name, sent, timed)
            self.answers[timed.answer and timed.answer.status] += 1
            self.slowest = max(self.slowest, timed.seconds)
        if self.warm is None and self.answers.total() >= WARM:
            self.warm = resident(self.server)

    def exchange(self, made):
        """A request that took too long is sent again: whatever else this machine does, one of two
        is quick.
        """
        request, _name, sent = made
        timed = exchange(self.server.port, sent, request.method)
        return timed if timed.seconds <= SECONDS else exchange(self.server.port, sent, request.method)


def check(plan, request, name, sent, timed):
    where = f"{plan.case.name}: {plan.part} {name.decode()} with {plan.value[:100]!r}\n{sent[:2_000]!r}"
    assert timed.seconds <= SECONDS, f"{timed.seconds:.1f} s, {where}"
    if timed.answer is None:
        assert plan.part == "break" or not is_framed(request), f"no answer, {where}"
        return
    path = request.target.partition(b"?")[0].decode("latin-1") if plan.part in ("parameter", "header") else ""
    plain = timed.answer.headers.get("Content-Type", "").startswith("text/plain")
    is_early = plain or "Request-Id" not in timed.answer.headers  # a wrong Host; gunicorn
    found = problems(timed.answer, path, plan.value, name=name, may_wait=True, is_early=is_early)
    assert not found, f"{found}, {where}\n{timed.answer}"


def is_framed(request):
    """Whether a server can tell where the body ends, and has received all of it."""
    headers = dict(request.headers)
    length = headers.get(b"Content-Length", b"0")
    return (
        b"Transfer-Encoding" not in headers
        and length == str(len(request.body)).encode()
        and len(request.wire()) < 60_000
    )


def workers(server):
    """The process ids of the workers."""
    return Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()


def resident(server):
    """The memory of each worker in megabytes."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in workers(server)]
    return [int(text.partition("VmRSS:")[2].split()[0]) / 1024 for text in status]


@pytest.mark.parametrize(
    ("engine", "requests"),
    [
        ("sqlite", SHORT),
        pytest.param("sqlite", LONG, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
        # It takes no NUL in a text, SQLite does.
        pytest.param("postgresql", MIDDLE, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
        pytest.param("mariadb", MIDDLE, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_a_server_under_generated_load(server, world, requests):
    load = Load(server, world)

    @settings(
        max_examples=requests // AT_ONCE,
        deadline=None,
        database=None,
        derandomize=requests == SHORT,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    @given(st.lists(PLANS, min_size=AT_ONCE, max_size=AT_ONCE))
    def run(plans):
        load.send(plans)

    run()
    load.pool.shutdown()
    assert load.answers.total() >= requests
    assert {200, 303, 400, 401, 404} <= load.answers.keys()
    assert workers(server) == load.workers_at_start  # none was replaced
    assert "bug:" not in server.log() and "Traceback" not in server.log()
    if load.warm is not None:
        for before, after in zip(load.warm, resident(server), strict=True):
            assert after - before < MEGABYTES, (
                f"{before:.1f} MB after {WARM} requests, {after:.1f} MB after {requests}"
            )
    assert_nothing_is_lost(server, world)


# SQLite takes them all. In a text, as a number; half a surrogate pair; letters beyond the 16-bit plane;
# longer than any column.
REFUSED_BY_SERVERS = [
    b"x\0y",
    b"9" * 99,
    b"\xed\xa0\x80",
    "\U0001f511 \U0010ffff".encode(),
    b"a" * 4_000 + b"@long.invalid",
]


@pytest.mark.long
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_what_only_servers_refuse(engine, tmp_path, servers):
    """In this process: a server would do nothing else, later."""
    server = LiveServer(new_database(engine, tmp_path, servers), tmp_path, **PATIENT)
    server.migrate()
    app = create_app(server.settings())
    world = World(app, server.issuer, SECRET_KEY, passwords.hash_password(PASSWORD))
    for case in CASES:
        for place, name in case.parameters():
            parts = case.parts(world)
            for value in REFUSED_BY_SERVERS:
                request = instead(parts, place, name, value)
                found = problems(send(app, request), parts.path.decode(), value, name=name, may_wait=True)
                assert not found, f"{case.name}: {name.decode()} {found}\n{request}"
    with app.app_context():
        db.engine.dispose()


def assert_nothing_is_lost(server, world):
    """The bystander's access token is answered for, and the refresh token becomes a new pair."""
    authorization = "Bearer " + world.bystander_access_token
    me = exchange(server.port, world.get(b"/api/me", Authorization=authorization).request().wire()).answer
    assert (me.status, json.loads(me.body)["name"]) == (200, "Bob")
    form = refresh_request(world.bystander_refresh_token)
    refresh = world.post(b"/oauth/token", form, Authorization=basic("web")).request()
    assert exchange(server.port, refresh.wire(), b"POST").answer.status == 200
