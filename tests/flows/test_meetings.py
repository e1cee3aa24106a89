"""Everybody who touches what a person has at a client meets everybody else, over HTTP, on each engine.

Codes, refreshes, machine tokens, revocations, consents, sign-outs, changed passwords, people and clients that
are disabled, removed or changed: `meetings.PAIRS` is the whole table.
"""

import pytest

from tests.flows.driving import race_server
from tests.flows.meetings import PAIRS, PATIENT, driver_for, expected, meet, name_of
from tests.flows.pair_model import Pair
from tests.live import ENGINES, new_database

# Where nothing but the locks keeps two requests apart; the others are for the long form. So are those who
# meet without a code or a refresh.
SHORT_ENGINE = "postgresql"
ROUNDS = 1
ISSUING = ("spend_code", "refresh")
ALL_PAIRS = [
    pytest.param(
        pair,
        id=name_of(pair),
        marks=[] if set(ISSUING) & set(name_of(pair).split()) else pytest.mark.long,
    )
    for pair in PAIRS
]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == SHORT_ENGINE else pytest.mark.long) for name in ENGINES],
)
def driver(request, tmp_path_factory, servers):
    folder = tmp_path_factory.mktemp("meetings")
    url = new_database(request.param, folder, servers)
    with race_server(url, folder, **PATIENT) as server, driver_for(server) as driver:
        yield driver


@pytest.mark.threat("T173")
@pytest.mark.parametrize("pair", ALL_PAIRS)
def test_two_at_once_leave_what_one_after_the_other_would(driver, pair):
    meet(driver, pair, ROUNDS)


class TestModel:
    """The model by itself: what the meetings are judged by."""

    def test_a_pair_of_ends_leaves_the_same_in_both_orders(self):
        [outcome] = expected(*pair_named("revoke meets remove_person"))
        assert outcome.state.families == ()

    def test_a_lowered_number_counts_from_the_next_sign_in_on(self):
        left = {
            outcome.state.families for outcome in expected(*pair_named("spend_code meets lower_max_sessions"))
        }
        assert left == {("laptop", "tablet"), ("tablet",)}

    def test_a_code_has_one_winner_and_its_replay_ends_what_it_issued(self):
        outcomes = expected(*pair_named("spend_code meets spend_code"))
        assert {(outcome.first, outcome.second) for outcome in outcomes} == {
            ("done", "refused"),
            ("refused", "done"),
        }
        assert {outcome.state.families for outcome in outcomes} == {("laptop",)}

    def test_a_repeated_refresh_is_one(self):
        assert expected(*pair_named("refresh meets refresh")) == {
            ("done", "done", Pair().state()._replace(families=("phone", "laptop+")))
        }


def pair_named(name):
    [pair] = [pair for pair in PAIRS if name_of(pair) == name]
    return pair
