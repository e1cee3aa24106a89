"""A database that is away, says nothing, or comes and goes, under a server of two processes: 503 in time, and
back by itself.

`/healthz` and the JWKS are served meanwhile. Nobody loses a token: who repeats what was answered 503 goes on
as if nothing were.
"""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle

import pytest

from crypto import credentials
from database.timeouts import ANSWER_TIMEOUT, IDLE_TRANSACTION_TIMEOUT, POOL_TIMEOUT
from tests.builders import a_machine
from tests.flows.driving import EACH_PROCESS_LISTENS, Driver, exchange, machine_call, me, refresh
from tests.lines.asking import PATIENCE_SECONDS, ask, look, wait_until
from tests.lines.proxy import COMMIT, Break, Proxy
from tests.lines.scene import SERVED
from tests.live import LiveServer, new_database

# more than a pool has connections, and than requests are sent at once: what needs no database finds one
THREADS = 28
CROWD = 24  # by the pigeonholes at least one of the two processes has more of them than connections
SLACK_SECONDS = 5  # the machine is busy with other tests
BACK_SECONDS = 5
EACH_IS_ASKED = 16  # so many times, whichever of the processes is asked at a time


@pytest.fixture(
    scope="module",
    params=[pytest.param(engine, marks=[pytest.mark.long] * (engine != "postgresql")) for engine in SERVED],
)
def proxy(request, tmp_path_factory, servers):
    with Proxy(new_database(request.param, tmp_path_factory.mktemp("database"), servers)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(proxy, tmp_path_factory):
    """Its processes reach the database through the proxy; what the test itself asks the database goes past
    it.
    """
    server = LiveServer(proxy.target_url, tmp_path_factory.mktemp("server"))
    server.environment["OSTIARY_DATABASE_URL"] = proxy.url
    server.environment["GUNICORN_CMD_ARGS"] = f"{EACH_PROCESS_LISTENS} --threads {THREADS}"
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def driver(server, proxy):
    """With the line whole, before and after."""
    with Driver(server) as driver:
        for _ in range(EACH_IS_ASKED):
            look(server, "/oauth/jwks")
        yield driver
        proxy.forget_faults()
        proxy.mend()
        wait_until(lambda: server.is_ready(), PATIENCE_SECONDS)


@pytest.fixture(autouse=True)
def a_line_for_each_failure(server):
    """The log tells a failure in a line, without a trace, and nobody's secrets."""
    start = len(server.log())
    yield
    said = server.log()[start:]
    for word in ("Traceback", "bug:", "ost_at_", "ost_rt_", "ost_ac_", "ost_cs_", "[SQL", "password"):
        assert word not in said


@contextmanager
def crowd(server, calls):
    """All calls under way at once; a function that waits for their answers."""
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = [pool.submit(ask, server, call) for call in calls]
        yield lambda: [answer.result() for answer in answers]


def families(driver, count):
    """So many clients, each with the refresh token of a person of its own."""
    client_id = driver.client()
    return [
        (client_id, driver.sign_in(client_id, user_id).refresh_token) for user_id in driver.new_users(count)
    ]


def is_back(server):
    """Each process of it: one that has found the database says nothing of the other."""
    return all(look(server, "/readyz").status == 200 for _ in range(EACH_IS_ASKED))


def check_nobody_lost_anything(server, sign_ins):
    for client_id, refresh_token in sign_ins:
        answer = ask(server, refresh(client_id, refresh_token))
        assert answer.status == 200
        assert ask(server, me(answer.json["access_token"])).status == 200


@pytest.mark.threat("T169")
def test_a_database_that_refuses_connections(server, proxy, driver):
    sign_ins = families(driver, CROWD)
    proxy.refuse()
    with crowd(server, [refresh(*sign_in) for sign_in in sign_ins]) as answers:
        assert all((answer.status, answer.error) == (503, "temporarily_unavailable") for answer in answers())
        assert all(answer.seconds < SLACK_SECONDS for answer in answers())
    assert look(server, "/readyz").status == 503
    assert look(server, "/healthz").status == 200
    assert look(server, "/oauth/jwks").json["keys"]
    proxy.mend()
    wait_until(lambda: is_back(server), BACK_SECONDS)
    check_nobody_lost_anything(server, sign_ins)


@pytest.mark.long
@pytest.mark.threat("T169")
def test_a_database_that_says_nothing(server, proxy, driver):
    """Every connection of a process is waiting for an answer: others wait for a connection, and not
    for long.
    """
    sign_ins = families(driver, CROWD)
    assert look(server, "/oauth/jwks").status == 200
    proxy.silence_all()
    with crowd(server, [refresh(*sign_in) for sign_in in sign_ins]) as answers:
        time.sleep(POOL_TIMEOUT.total_seconds() / 2)
        meanwhile = [look(server, path) for path in ("/healthz", "/oauth/jwks") * 8]
        assert {answer.status for answer in meanwhile} == {200}
        assert max(answer.seconds for answer in meanwhile) < SLACK_SECONDS
        assert {answer.status for answer in answers()} == {503}
        seconds = sorted(answer.seconds for answer in answers())
    assert seconds[0] < POOL_TIMEOUT.total_seconds() + SLACK_SECONDS
    assert seconds[-1] < ANSWER_TIMEOUT.total_seconds() + SLACK_SECONDS
    proxy.mend()
    wait_until(lambda: is_back(server), BACK_SECONDS)
    check_nobody_lost_anything(server, sign_ins)


# ---- lines that break all the time -------------------------------------------------------------------------


@pytest.mark.threat("T169")
@pytest.mark.parametrize("breaks", [25, pytest.param(500, marks=pytest.mark.long)])
def test_lines_that_break_all_the_time(server, proxy, driver, breaks):
    """Clients repeat what was answered 503, and start over where a code was in play, as they are told."""
    robot, sign_ins = driver.client(a_machine), families(driver, 8)
    web, people = driver.client(), driver.new_users(4)
    over = threading.Event()
    lives = [
        *(lambda sign_in=sign_in: refreshes(server, sign_in, over) for sign_in in sign_ins),
        *(lambda person=person: new_sign_ins(server, driver, web, person, over) for person in people),
        *[lambda: machine_tokens(server, robot, over)] * 4,
    ]
    with ThreadPoolExecutor(len(lives)) as pool:
        lived = [pool.submit(life) for life in lives]
        try:
            break_lines(proxy, breaks)
        finally:
            over.set()
        lived = [life.result() for life in lived]
    check_nobody_lost_anything(server, lived[:8])
    for user_id, token in zip(people, lived[8:12], strict=True):
        assert driver.token_digests(web, user_id) == [credentials.digest(token)]
    issued = {credentials.digest(token) for tokens in lived[12:] for token in tokens}
    assert issued and issued <= set(driver.token_digests(robot))


def break_lines(proxy, breaks):
    """So many, one after the other, at COMMIT and before it in turn; now and then all at once."""
    chance = random.Random(1)  # noqa: S311 - no secret
    kinds = cycle([(Break.BEFORE, COMMIT), (Break.AFTER, COMMIT), (Break.BEFORE, ""), (Break.AFTER, "")])
    proxy.broken.clear()
    for number in range(1, breaks + 1):
        kind, words = next(kinds)
        proxy.break_next(kind, words, number=1 if words else chance.randint(1, 6))
        wait_until(lambda number=number: len(proxy.broken) >= number, PATIENCE_SECONDS)
        if number % 20 == 0:
            proxy.cut_all()


def insist(server, call):
    """The first answer that is not 503."""
    while (answer := ask(server, call)).status == 503:
        pass
    return answer


def refreshes(server, sign_in, over):
    """Each refresh token once, until it is answered; returns the sign-in as it is then."""
    client_id, refresh_token = sign_in
    while not over.is_set():
        answer = insist(server, refresh(client_id, refresh_token))
        assert answer.status == 200, answer
        assert insist(server, me(answer.json["access_token"])).status == 200
        refresh_token = answer.json["refresh_token"]
    return client_id, refresh_token


def new_sign_ins(server, driver, client_id, user_id, over):
    """One after the other, each with a code of its own; the last token that was handed out."""
    token = None
    while not over.is_set() or token is None:
        answer = ask(server, exchange(client_id, driver.code(client_id, user_id)))
        token = answer.json["access_token"] if answer.status == 200 else None
        assert token is None or driver.token_digests(client_id, user_id) == [credentials.digest(token)]
    return token


def machine_tokens(server, client_id, over):
    """Every token that was handed out."""
    tokens = []
    while not over.is_set() or not tokens:
        answer = ask(server, machine_call(client_id))
        tokens += [answer.json["access_token"]] if answer.status == 200 else []
    return tokens


# ---- the ghost of a line -----------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.threat("T169")
def test_a_transaction_that_nobody_ends(server, proxy, driver):
    """The line dies in the middle of one, and the database does not learn of it: the person's row stays
    locked for a while.
    """
    [sign_in, other] = families(driver, 2)
    proxy.break_next(Break.SILENT, "INSERT INTO token")
    lost = ask(server, refresh(*sign_in))
    assert lost.status == 503
    assert lost.seconds < ANSWER_TIMEOUT.total_seconds() + SLACK_SECONDS
    check_nobody_lost_anything(server, [other])
    wait_until(
        lambda: ask(server, refresh(*sign_in)).status == 200,
        IDLE_TRANSACTION_TIMEOUT.total_seconds() + BACK_SECONDS,
    )
    check_nobody_lost_anything(server, [sign_in])
