"""The races of `races.py` can fail: a rule of the tokens is taken out of a copy of the project, and its race
must notice.

The shipped server passes more rounds in `test_races.py`; the copy must fail, and with words that belong to
the rule: a copy that is broken in some other way proves nothing. A copy without a mutation passes the same
races. So it is with `meetings.py`.
"""

import pytest

from testing.races import refreshes, scenarios
from tests.flows import meetings, mutations, races
from tests.flows.driving import race_server
from tests.live import ENGINES, new_database

pytestmark = pytest.mark.long

ROUNDS = races.RACES | races.LATE_RACES
SHORT_LEEWAY_SECONDS = 1
RUN_AGAIN = "trouble in the log.*lost a race"
TOO_MANY = "live tokens where"
LOST_OFTEN = "answered 503"  # as often as a request is run: the unique key was hit each time
OUTLIVED = "outlived"
REFUSED = "were refused"

# Mutation, race, the words of the failure, engines. The lock on the person is PostgreSQL's: SQLite has one
# writer anyway.
NO_ORDER = f"{RUN_AGAIN}|{TOO_MANY}|{LOST_OFTEN}"
TWO_WINNERS = "one code, .* winners"
GONE = "0 stored tokens, and not just the 1"
NOTICED = [
    ("NO_LOCK_ON_THE_PERSON", scenarios.sign_ins_for_one_session, NO_ORDER, "postgresql"),
    ("NO_LOCK_ON_THE_PERSON", scenarios.sign_ins_for_three_sessions, NO_ORDER, "postgresql"),
    ("NO_LOCK_ON_THE_PERSON", refreshes.replays_against_refreshes, OUTLIVED, "postgresql"),
    ("NO_LOCK_ON_THE_PERSON", refreshes.thefts_against_refreshes, OUTLIVED, "postgresql"),
    ("CLAIM_OF_THE_CODE_IGNORED", scenarios.one_code, TWO_WINNERS, "postgresql mariadb"),
    ("NO_LOCK_AND_NO_CLAIM_OF_THE_CODE", scenarios.one_code, TWO_WINNERS, "sqlite"),
    ("CLAIM_OF_THE_REFRESH_TOKEN_IGNORED", scenarios.one_refresh_token, RUN_AGAIN, "postgresql mariadb"),
    ("NO_LOCK_AND_NO_CLAIM_OF_THE_REFRESH_TOKEN", scenarios.one_refresh_token, RUN_AGAIN, "sqlite"),
    ("NO_SLOT_IN_THE_KEY", scenarios.sign_ins_for_three_sessions, LOST_OFTEN, "sqlite postgresql"),
    ("TAG_NOT_CHECKED", refreshes.forged_tag, GONE, "sqlite postgresql"),
    ("PENALTIES_FORGOTTEN", scenarios.one_code, OUTLIVED, "sqlite postgresql"),
    ("PENALTIES_ROLLED_BACK", scenarios.one_code, OUTLIVED, "sqlite postgresql mariadb"),
    ("NO_LOCK_IN_THE_PENALTY_OF_A_REPLAY", refreshes.replays_against_refreshes, OUTLIVED, "postgresql"),
    ("NO_LOCK_IN_THE_PENALTY_OF_A_THEFT", refreshes.thefts_against_refreshes, OUTLIVED, "postgresql"),
    ("NO_LOCK_IN_A_REVOCATION", scenarios.revocations_against_refreshes, OUTLIVED, "postgresql"),
    ("THEFT_WITHOUT_PENALTY", refreshes.theft_within_the_leeway, OUTLIVED, "sqlite"),
    ("THEFT_WITHOUT_PENALTY", refreshes.theft_after_the_leeway, OUTLIVED, "postgresql"),
    ("PAIR_NOT_SEALED", refreshes.one_lasting_refresh_token, "pairs for one refresh token", "sqlite"),
    ("PAIR_NOT_SEALED", refreshes.late_retry_of_an_unused_pair, REFUSED, "postgresql"),
    ("FIRST_USE_BREAKS_THE_SEAL", races.two_tabs, REFUSED, "sqlite postgresql"),
    ("FIRST_USE_NOT_NOTED", refreshes.late_retry_of_a_used_pair, "instead of refusals", "sqlite postgresql"),
]
# Mutation, engine, and who meet: what is left is then what neither order leaves.
MEETINGS = [
    ("NO_LOCK_ON_THE_PERSON", "postgresql", "refresh meets sign_out"),
    ("NO_LOCK_IN_A_SIGN_OUT", "postgresql", "refresh meets sign_out"),
    ("NO_LOCK_WHEN_ACCESS_IS_REMOVED", "postgresql", "refresh meets withdraw"),
    ("CLAIM_OF_THE_CODE_IGNORED", "postgresql", "spend_code meets spend_code"),
    ("CLAIM_OF_THE_CODE_IGNORED", "mariadb", "spend_code meets spend_code"),
    ("NO_LOCK_AND_NO_CLAIM_OF_THE_CODE", "sqlite", "spend_code meets spend_code"),
]
MEETING_ROUNDS = 20
RACE_ROUNDS = 60  # at most; a race that notices ends there
ROUNDS_WITHOUT_A_MUTATION = 5

CASES = [
    pytest.param(name, engine, race, words, id=f"{name.lower()}-{engine}-{race.__name__}")
    for name, race, words, engines in NOTICED
    for engine in engines.split()
]


@pytest.fixture
def serve(tmp_path, postgres):
    """A function that gives a context with a server of a changed copy of the project."""

    def serve(replacements, engine, race):
        source = mutations.mutated_copy(replacements, tmp_path / "source")
        settings = {"refresh_leeway": SHORT_LEEWAY_SECONDS} if race in races.LATE_RACES else {}
        return race_server(new_database(engine, tmp_path, postgres), tmp_path, source=source, **settings)

    return serve


def rounds_of(race):
    return min(ROUNDS[race].long, RACE_ROUNDS)


@pytest.mark.parametrize(("mutation", "engine", "race", "words"), CASES)
def test_the_race_notices(serve, mutation, engine, race, words):
    with (
        serve(getattr(mutations, mutation), engine, race) as server,
        pytest.raises(AssertionError, match=words),
    ):
        races.play(server, race, rounds_of(race))


@pytest.mark.parametrize(("mutation", "engine", "name"), MEETINGS)
def test_the_meeting_notices(serve, mutation, engine, name):
    [pair] = [pair for pair in meetings.PAIRS if meetings.name_of(pair) == name]
    with (
        serve(getattr(mutations, mutation), engine, race=None) as server,
        meetings.driver_for(server) as driver,
    ):
        with pytest.raises(AssertionError, match=f"{name}: .* is none of"):
            meetings.meet(driver, pair, MEETING_ROUNDS)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_copy_without_a_mutation_passes(serve, engine):
    """Every race that notices a mutation passes in a copy that has none.

    A few rounds: `test_races.py` plays as many as a mutation gets, and more, on the server itself.
    """
    noticing = {race for _, race, _, _ in NOTICED}
    with serve([], engine, race=None) as server:
        for race in [race for race in races.RACES if race in noticing]:
            races.play(server, race, ROUNDS_WITHOUT_A_MUTATION)
