"""The rules of the tokens under races, on the shipped server with two processes, on each engine.

The short form runs with every change, the long one plays the same races often enough to meet rare
interleavings.
"""

import re
import sys
from collections import Counter

import pytest

from testing.races.scenarios import one_refresh_token
from tests.flows.driving import CONNECTIONS, race_server
from tests.flows.races import LATE_RACES, RACES, play
from tests.live import ENGINES, new_database

pytestmark = pytest.mark.long_on("mariadb")

SHORT_LEEWAY_SECONDS = 1


def cases(table):
    """Each race of the table, in its short and in its long form; on SQLite `flask prove` is the short one."""
    short = [
        pytest.param(race, rounds.short, id=race.__name__, marks=pytest.mark.long_on("sqlite"))
        for race, rounds in table.items()
    ]
    long = [
        pytest.param(race, rounds.long, id=f"{race.__name__}-long", marks=pytest.mark.long)
        for race, rounds in table.items()
    ]
    return short + long


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def server(engine, tmp_path_factory, postgres):
    folder = tmp_path_factory.mktemp("races")
    with race_server(new_database(engine, folder, postgres), folder) as server:
        yield server


@pytest.fixture(scope="module")
def hasty_server(engine, tmp_path_factory, postgres):
    """One whose leeway is over soon."""
    folder = tmp_path_factory.mktemp("late_races")
    url = new_database(engine, folder, postgres)
    with race_server(url, folder, refresh_leeway=SHORT_LEEWAY_SECONDS) as server:
        yield server


@pytest.mark.threat("T034", "T081")
@pytest.mark.parametrize(("race", "rounds"), cases(RACES))
def test_race(server, race, rounds):
    play(server, race, rounds)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux deals connections among listening processes")
def test_both_processes_take_part(server):
    """Otherwise the races would prove what the threads of one process do."""
    start = len(server.log())
    play(server, one_refresh_token, rounds=5)
    answered = Counter(re.findall("process=(.*)", server.log()[start:]))
    assert len(answered) == server.workers
    assert min(answered.values()) > CONNECTIONS // 2


@pytest.mark.threat("T081", "T083")
@pytest.mark.parametrize(("race", "rounds"), cases(LATE_RACES))
def test_race_after_the_leeway(hasty_server, race, rounds):
    play(hasty_server, race, rounds)
