"""`make prove`, briefly: what it counts, that a broken rule is counted, and that it asks for as much as it
says.
"""

import pytest
from sqlalchemy.schema import CreateTable

from database.tables import table
from models import Token
from testing.races.scenarios import Scenario, one_code
from tests.crashes.report import Report
from tests.flows import mutations
from tests.flows.driving import Driver, race_server
from tests.live import ENGINES, new_database
from tests.proofs.__main__ import FULL, main
from tests.proofs.promises import SENDERS, Place, Size, lines_of, prove_races, race
from tests.proofs.throughput import Cost, measure_cost

SMALL = Size(races=2, scenarios={}, kill_rounds=0, server_kills=0, queue=2, rate_rounds=1, rate_seconds=0.1)


def ignore(_words):
    pass


def test_races_on_sqlite(tmp_path):
    place = Place("sqlite", lambda: new_database("sqlite", tmp_path, None), tmp_path)
    lines = prove_races(place, SMALL, ignore)
    assert [line.is_kept for line in lines] == [True] * 5
    assert [line.came_out for line in lines] == ["in 2 of 2 races"] * 3 + ["0 of 32 answers", "0 retries"]


def test_the_long_form_is_long_enough():
    assert FULL.races >= 2_000
    assert FULL.worker_kills * len(ENGINES) >= 270
    assert FULL.server_kills * len(ENGINES) >= 18
    assert (FULL.rate_rounds >= 5, FULL.queue) == (True, 8)


@pytest.mark.parametrize(
    ("report", "kept"),
    [
        (Report(kills=6, slowest_recovery=0.1), [True, True]),
        (Report(kills=5, slowest_recovery=0.1), [False, True]),
        (Report(kills=6, violations=["both"], slowest_recovery=0.1), [False, True]),
        (Report(kills=6, slowest_recovery=5.1), [True, False]),
    ],
)
def test_kills(report, kept):
    assert [line.is_kept for line in lines_of(report, "nothing is lost", 6, 5.0, ignore)] == kept


def test_the_cost_is_the_median_of_the_rounds():
    assert Cost([90, 99, 50], [100, 100, 100]).share == pytest.approx(0.1)


@pytest.mark.whole_machine
def test_a_broken_rule_is_counted(tmp_path):
    source = mutations.mutated_copy(mutations.NO_LOCK_AND_NO_CLAIM_OF_THE_CODE, tmp_path / "source")
    with (
        race_server(new_database("sqlite", tmp_path, None), tmp_path, source=source) as server,
        Driver(server, SENDERS) as driver,
    ):
        found = race(driver, Scenario("one code for many", one_code), 8, ignore)
    assert found.rounds == 8
    assert 0 < len(found.broken) <= 8


@pytest.mark.whole_machine
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_the_bare_design_is_measured_beside_the_safe_one(engine, tmp_path, servers):
    cost = measure_cost(new_database(engine, tmp_path, servers), rounds=1, seconds=0.2, processes=2)
    assert min(cost.safe + cost.bare) > 0
    assert "uq_token_client_id_user_id_slot" in str(CreateTable(table(Token))), (
        "every other table lost its key too"
    )


@pytest.mark.whole_machine
@pytest.mark.timeout(300)
def test_the_table(capsys):
    """All but the kills, which have tests of their own.

    Throughput says little when it is measured beside other tests.
    """
    main(["sqlite"], SMALL)
    told = capsys.readouterr()
    headings, _blank, engine, *lines = told.out.splitlines()
    assert headings.split() == ["PROMISE", "CAME_OUT", "BOUND", "OUTCOME"]
    assert engine.startswith("SQLite 3.")
    assert len([line for line in lines if line.endswith((" kept", " BROKEN"))]) == 10
    assert f"2 of 2: of {SENDERS} sign-ins one stays stored" in told.err
