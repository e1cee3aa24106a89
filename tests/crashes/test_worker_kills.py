"""A worker dies at any point of any request: before COMMIT nothing has happened, after COMMIT everything, and
others serve on.
"""

import pytest

from tests.crashes import worker_kills
from tests.crashes.worker_kills import (
    AT_ONCE_SECONDS,
    SCENARIOS,
    code_exchange,
    kill_workers,
    revocation,
    token_refresh,
)
from tests.flows import mutations
from tests.flows.mutations import Replacement
from tests.live import ENGINES, new_database

# Each point once.
SHORT = {
    code_exchange: SCENARIOS[code_exchange],
    token_refresh: "claim after-commit",
    revocation: "delete after-commit",
    worker_kills.sign_in: "update",
}
LONG_ROUNDS = 2


def number_of(scenarios):
    return sum(len(points.split()) for points in scenarios.values())


def check(report, kills):
    assert report.violations == []
    assert report.kills == kills
    assert report.slowest_recovery < AT_ONCE_SECONDS


@pytest.mark.threat("T174")
@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.whole_machine)])
def test_a_killed_worker_leaves_no_half(engine, tmp_path, servers):
    check(kill_workers(new_database(engine, tmp_path, servers), tmp_path, scenarios=SHORT), number_of(SHORT))


@pytest.mark.whole_machine
@pytest.mark.parametrize("engine", ENGINES)
def test_every_scene_at_each_of_its_points(engine, tmp_path, servers):
    report = kill_workers(new_database(engine, tmp_path, servers), tmp_path, LONG_ROUNDS)
    check(report, LONG_ROUNDS * number_of(SCENARIOS))


def test_every_point_is_played():
    """270 kills and more on all engines together, in the long form."""
    points = {point for played in SHORT.values() for point in played.split()}
    assert points == set(worker_kills.failpoints.POINTS) - {"read"}
    assert LONG_ROUNDS * number_of(SCENARIOS) * len(ENGINES) >= 270


CLAIM_COMMITTED_AT_ONCE = [
    Replacement(
        "store/codes.py",
        '    return db.session.execute(CLAIM, {"digest": code_digest}).one_or_none() is not None\n',
        '    found = db.session.execute(CLAIM, {"digest": code_digest}).one_or_none()\n'
        "    db.session.commit()\n"
        "    return found is not None\n",
    )
]


@pytest.mark.whole_machine
@pytest.mark.parametrize(
    ("mutation", "scenarios", "words"),
    [
        (CLAIM_COMMITTED_AT_ONCE, {code_exchange: "insert"}, "the code is gone, and there is no token"),
        (mutations.PAIR_NOT_SEALED, {token_refresh: "after-commit"}, "invalid_grant"),
    ],
    ids=["claim_committed_at_once", "pair_not_sealed"],
)
def test_a_broken_copy_is_noticed(tmp_path, mutation, scenarios, words):
    source = mutations.mutated_copy(mutation, tmp_path / "source")
    report = kill_workers(
        f"sqlite:///{tmp_path / 'ostiary.sqlite3'}", tmp_path, scenarios=scenarios, source=source
    )
    assert len(report.violations) == 1
    assert words in report.violations[0]


@pytest.mark.whole_machine
def test_a_point_that_a_request_does_not_reach_is_told(tmp_path):
    report = kill_workers(
        f"sqlite:///{tmp_path / 'ostiary.sqlite3'}", tmp_path, scenarios={revocation: "insert"}
    )
    assert (report.kills, len(report.violations)) == (0, 1)
    assert "never came to this point" in report.violations[0]
