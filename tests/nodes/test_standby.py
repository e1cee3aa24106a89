"""A PostgreSQL primary is lost under load and its synchronous standby takes over.

The app follows by itself, meanwhile answers are 503, and nothing that was acknowledged is lost.
"""

import time

import pytest

from database.timeouts import ANSWER_TIMEOUT
from tests.crashes.report import Report
from tests.flows.driving import Driver
from tests.live import live_server
from tests.load import WriteLoad
from tests.nodes.cluster import Pair, primary_and_standby

WARM_UP_SECONDS = 1
AWAY_SECONDS = 0.5  # between the end of the primary and the promotion
BACK_SECONDS = 5
CUT_OFF_SECONDS = 0.5


def fail_over(pair, server, before=lambda: None):
    """Lose the primary under load, promote the standby, go on for a while.

    Returns what the load says of it, and how many seconds after the promotion each of its clients had been
    served again.
    """
    report = Report()
    with Driver(server) as driver, WriteLoad(driver) as load:
        time.sleep(WARM_UP_SECONDS)
        before()
        pair.primary.kill()
        time.sleep(AWAY_SECONDS)
        assert not server.is_ready()
        promoted_at = time.monotonic()
        pair.standby.promote()
        first, last = load.served_after(promoted_at)
        assert server.is_ready()
        time.sleep(WARM_UP_SECONDS)
        load.finish(report, pair.standby.url)
    print(
        f"first 200 {first - promoted_at:.2f} s after the promotion, every client"
        f" {last - promoted_at:.2f} s; {report}"
    )
    return report, last - promoted_at


def check(report, seconds):
    assert report.violations == []
    assert report.statuses[503] > 0, "nobody noticed"
    assert seconds < BACK_SECONDS


@pytest.mark.alone
def test_the_app_follows_and_nothing_is_lost(open_folder, tmp_path):
    with primary_and_standby(open_folder) as pair, live_server(pair.url, tmp_path) as server:
        check(*fail_over(pair, server))


@pytest.mark.whole_machine
def test_again_and_again(open_folder, tmp_path):
    """There and back: what was the primary comes back as the standby, and takes over in its turn."""
    with primary_and_standby(open_folder) as pair, live_server(pair.url, tmp_path) as server:
        for _ in range(4):
            check(*fail_over(pair, server))
            pair.primary.follow(pair.standby)
            pair.standby.wait_for(pair.primary)
            pair = Pair(primary=pair.standby, standby=pair.primary)


@pytest.mark.whole_machine
@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
def test_a_standby_that_lacks_the_last_writes(open_folder, tmp_path, synchronous):
    """It was cut off just before: either these writes were acknowledged to nobody, or they are lost, and the
    load says so.
    """
    with primary_and_standby(open_folder, synchronous) as pair, live_server(pair.url, tmp_path) as server:

        def cut_off():
            pair.standby.change("primary_conninfo", "")
            time.sleep(CUT_OFF_SECONDS)

        report, _seconds = fail_over(pair, server, before=cut_off)
    assert bool(report.violations) != synchronous, report.violations


@pytest.mark.whole_machine
def test_without_its_standby_it_answers_503_and_not_never(open_folder, tmp_path):
    """PostgreSQL lets commits wait without end.

    The client is told after a while; what it was told before stays true.
    """
    with primary_and_standby(open_folder) as pair, live_server(pair.url, tmp_path) as server:
        report = Report()
        with Driver(server) as driver, WriteLoad(driver) as load:
            time.sleep(WARM_UP_SECONDS)
            pair.standby.kill()
            time.sleep(ANSWER_TIMEOUT.total_seconds() + 2)
            pair.standby.start()
            back_at = time.monotonic()
            _first, last = load.served_after(back_at)
            load.finish(report, pair.primary.url)
    print(f"every client was served {last - back_at:.2f} s after the standby was back; {report}")
    assert report.violations == []
    assert report.statuses[503] > 0
    assert last - back_at < BACK_SECONDS
    assert report.slowest_answer < 3 * ANSWER_TIMEOUT.total_seconds()
