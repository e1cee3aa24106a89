"""A Galera cluster of three MariaDB nodes, written to through two of them, each by an Ostiary of its own.

A lock on a row is one on its node alone there: two nodes may change the same rows at once, and the one that
comes second is told at COMMIT. Its request is run again. So there are retries here where one server has
queues; every other promise is the same.
"""

import re
import time

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError

import database.checks
from database import engine_options, lost_a_race
from testing.races import refreshes, scenarios
from tests.crashes.report import Report
from tests.flows.driving import Driver, exchange, me, send
from tests.flows.meetings import PAIRS, PATIENT, meet, name_of
from tests.flows.mutations import Replacement, mutated_copy
from tests.load import WriteLoad
from tests.nodes.app_nodes import app_nodes
from tests.nodes.balancer import Balancer
from tests.statements import text

pytestmark = [pytest.mark.whole_machine, pytest.mark.timeout(300)]

ROUNDS = 10
RACES = [
    scenarios.one_code,
    scenarios.one_refresh_token,
    scenarios.sign_ins_for_one_session,
    scenarios.sign_ins_for_three_sessions,
    scenarios.neighbours,
    refreshes.replays_against_refreshes,
    refreshes.thefts_against_refreshes,
    scenarios.revocations_against_refreshes,
    refreshes.sign_in_against_the_old_family,
]
GIVE_UP_ROUNDS = 2  # of those in which a request may have lost three times, and been answered 503
# These two write different rows: they are put in order by the lock on the person alone, which is one on its
# node.
NOT_IN_ORDER = "allow meets withdraw"
GAVE_UP = "answered 503"
LOST = re.compile("lost a race")
NO_RETRY_AT_COMMIT = Replacement(
    "unit_of_work.py",
    'return "lost a race" if lost_a_race(error) else None',
    'return "lost a race" if lost_a_race(error) and not g.get("is_committing") else None',
)
SIGN_INS = 100
READS = 500
WARM_UP_SECONDS = 1
BACK_SECONDS = 5


@pytest.fixture(scope="module")
def nodes(cluster, tmp_path_factory):
    urls = [node.url for node in cluster[:2]]
    with app_nodes(urls, tmp_path_factory.mktemp("galera"), **PATIENT) as nodes:
        yield nodes
        assert "Traceback" not in nodes.log() and "bug:" not in nodes.log()


def conflicts_at_commit(cluster):
    return sum(int(node.status("wsrep_local_cert_failures")) for node in cluster)


def play(nodes, race, rounds):
    """How many rounds gave up in the end; any other failure is one."""
    gave_up = 0
    with Driver(nodes) as driver:
        for _ in range(rounds):
            try:
                race(driver)  # the scenario itself: retries belong to it here
            except AssertionError as error:
                if GAVE_UP not in str(error):
                    raise
                gave_up += 1
    return gave_up


@pytest.mark.alone
def test_a_conflict_at_commit_is_a_lost_race(cluster):
    """As the driver reports it, with the options of the server."""
    urls = [node.url for node in cluster[:2]]
    cluster[0].execute(
        "CREATE TABLE IF NOT EXISTS conflict (id INT PRIMARY KEY, n INT)",
        "REPLACE INTO conflict VALUES (1, 0)",
    )
    engines = [create_engine(url, **engine_options(url)) for url in urls]
    try:
        with engines[0].connect() as first, engines[1].connect() as second:
            for connection in (first, second):
                connection.execute(text("UPDATE conflict SET n = n + 1 WHERE id = 1"))
            first.commit()
            with pytest.raises(DBAPIError) as caught:
                second.commit()
        assert lost_a_race(caught.value) and not caught.value.connection_invalidated
        assert cluster[2].rows("SELECT n FROM conflict") == [(1,)]
    finally:
        for engine in engines:
            engine.dispose()


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_race(nodes, race):
    assert play(nodes, race, ROUNDS) <= GIVE_UP_ROUNDS


def test_everybody_meets_everybody(cluster, nodes, monkeypatch):
    """Requests at two nodes, commands at the third: what comes out is what one after the other
    would leave.
    """
    monkeypatch.setattr(nodes, "database_url", cluster[2].url)
    with Driver(nodes) as driver:
        for pair in [pair for pair in PAIRS if name_of(pair) != NOT_IN_ORDER]:
            meet(driver, pair, rounds=1, tolerated=LOST.pattern)


def test_they_did_conflict(cluster, nodes):
    """Otherwise the races would prove what one node does."""
    before, start = conflicts_at_commit(cluster), len(nodes.log())
    play(nodes, scenarios.sign_ins_for_one_session, ROUNDS)
    retries = len(LOST.findall(nodes.log()[start:]))
    print(f"{conflicts_at_commit(cluster) - before} conflicts at COMMIT, {retries} retries")
    assert conflicts_at_commit(cluster) > before
    assert retries > 0


def test_without_the_retry_at_commit(cluster, tmp_path):
    source = mutated_copy([NO_RETRY_AT_COMMIT], tmp_path / "source")
    with app_nodes([node.url for node in cluster[:2]], tmp_path, source=source) as nodes:
        gave_up = play(nodes, scenarios.sign_ins_for_one_session, 2 * ROUNDS)
    print(f"{gave_up} of {2 * ROUNDS} rounds failed")
    assert gave_up > 2 * GIVE_UP_ROUNDS


def test_what_one_node_has_acknowledged_the_other_knows(nodes):
    """By `wsrep_sync_wait = 7`: a write is acknowledged before every node has applied it."""
    with Driver(nodes) as driver:
        client_id, user_id = driver.client(), driver.new_user()
        writer, reader = list(driver.workers.all)[:2]  # dealt in turn: they go to two nodes
        former = driver.sign_in(client_id, user_id).access_token
        for code in driver.codes(client_id, [user_id] * SIGN_INS):
            issued = send(writer, exchange(client_id, code)).json["access_token"]
            assert send(reader, me(issued)).status == 200
            assert send(reader, me(former)).status == 401
            former = issued


@pytest.mark.parametrize(("sync_wait", "words"), [(0, ["wsrep_sync_wait is 0"]), (7, [])])
def test_a_node_that_does_not_wait_is_told_at_the_start(cluster, sync_wait, words):
    with cluster[0].connection("ostiary") as connection:
        connection.execute(text(f"SET SESSION wsrep_sync_wait = {sync_wait}"))
        told = [finding.text for finding in database.run_checks(connection, [], processes=1)]
    assert [finding.partition(" on ")[0] for finding in told if "wsrep" in finding] == words


@pytest.mark.parametrize(("sync_wait", "lags"), [(0, True), (7, False)])
def test_without_waiting_a_node_lags(cluster, sync_wait, lags):
    """The other side of it: reads of a node that has not applied yet what another one has acknowledged."""
    cluster[0].execute(
        "CREATE TABLE IF NOT EXISTS lag (id INT PRIMARY KEY, n INT)", "REPLACE INTO lag VALUES (1, 0)"
    )
    with cluster[0].connection("ostiary") as writer, cluster[1].connection("ostiary") as reader:
        reader.execute(text(f"SET SESSION wsrep_sync_wait = {sync_wait}"))
        stale, seconds = 0, 0.0
        for number in range(1, READS + 1):
            writer.execute(text("UPDATE lag SET n = :number WHERE id = 1"), {"number": number})
            began = time.perf_counter()
            stale += reader.execute(text("SELECT n FROM lag WHERE id = 1")).scalar_one() < number
            seconds += time.perf_counter() - began
    print(
        f"wsrep_sync_wait = {sync_wait}: {stale} of {READS} reads were stale;"
        f" {1_000 * seconds / READS:.2f} ms each"
    )
    assert bool(stale) == lags


def test_a_node_is_lost(cluster, tmp_path):
    """The app beside it goes to another one, by its balancer, and nothing acknowledged is lost."""
    spare, lost, *_rest = cluster
    with Balancer([lost.port, spare.port], in_turn=False) as database:
        second = make_url(lost.url).set(port=database.port).render_as_string()
        with app_nodes([spare.url, second], tmp_path) as nodes:
            report = Report()
            with Driver(nodes) as driver, WriteLoad(driver) as load:
                time.sleep(WARM_UP_SECONDS)
                lost_at = time.monotonic()
                lost.kill()
                _first, last = load.served_after(lost_at)
                time.sleep(WARM_UP_SECONDS)
                load.finish(report, spare.url)
    print(f"every client was served {last - lost_at:.2f} s after the loss; {report}")
    assert report.violations == []
    assert last - lost_at < BACK_SECONDS
    lost.start(cluster)
