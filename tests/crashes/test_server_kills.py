"""A database server that dies under load, with everybody's acknowledged history checked each time."""

import pytest

from tests.crashes.server_kills import RECOVERY_SECONDS, kill_servers
from tests.live import ENGINES, MariaDB, do_without
from tests.places import an_open_folder

LONG_KILLS = 6


@pytest.fixture
def folder():
    with an_open_folder() as folder:
        yield folder


def need(engine):
    if engine == "mariadb" and not MariaDB.can_be_killed():
        do_without("MariaDB is not installed, or TEST_MARIADB_URL names one that is not ours to kill")


def check(engine, folder, kills):
    need(engine)
    report = kill_servers(engine, folder, kills)
    assert report.violations == []
    assert report.kills == kills
    assert report.acknowledged > 20 * kills
    assert report.slowest_recovery < RECOVERY_SECONDS


@pytest.mark.threat("T084")
def test_nothing_acknowledged_is_lost(folder):
    check("postgresql", folder, kills=1)


@pytest.mark.alone
@pytest.mark.threat("T084")
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_acknowledged_is_lost_again_and_again(engine, folder):
    check(engine, folder, kills=LONG_KILLS)


@pytest.mark.whole_machine
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_a_loss_is_noticed(engine, folder):
    """Of a server that acknowledges what it has not written yet."""
    need(engine)
    report = kill_servers(engine, folder, kills=1, is_durable=False)
    assert [violation for violation in report.violations if "undone" in violation or "neither" in violation]
