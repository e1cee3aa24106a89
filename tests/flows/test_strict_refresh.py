"""Without leeway and retries a refresh token is good for one use: of many senders at once one is served, and
its family ends.
"""

import pytest

from tests.flows.driving import race_server, refresh
from tests.flows.races import CROWD, check_dead, check_refused, race
from tests.live import ENGINES, new_database

pytestmark = pytest.mark.long_on("mariadb")


@pytest.fixture(scope="module", params=ENGINES)
def strict_server(request, tmp_path_factory, postgres):
    folder = tmp_path_factory.mktemp("strict")
    url = new_database(request.param, folder, postgres)
    with race_server(url, folder, refresh_leeway=0, refresh_retry_lifetime=0) as server:
        yield server


@race
def one_refresh_token_many_times(driver):
    """The others cannot be told from thieves, so nothing is left in the end."""
    client_id, user_id = driver.client(), driver.person()
    presented = driver.sign_in(client_id, user_id)["refresh_token"]
    answers = driver.at_once([refresh(client_id, presented)] * CROWD)
    winners = [answer for answer in answers if answer.status == 200]
    assert len(winners) == 1, f"one refresh token, {len(winners)} winners"
    check_refused([answer for answer in answers if answer not in winners])
    check_dead(driver, client_id, user_id, [winners[0].json])


@pytest.mark.threat("T081")
@pytest.mark.parametrize("rounds", [5, pytest.param(60, marks=pytest.mark.long)])
def test_exactly_one_is_served(strict_server, rounds):
    one_refresh_token_many_times(strict_server, rounds)
