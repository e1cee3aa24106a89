"""Without leeway and retries a refresh token is good for one use: of many senders at once one is served, and
its family ends.
"""

import pytest

from testing.races.scenarios import one_refresh_token
from tests.flows.driving import race_server
from tests.flows.races import play
from tests.live import ENGINES, new_database

pytestmark = pytest.mark.long_on("mariadb")


@pytest.fixture(scope="module", params=ENGINES)
def strict_server(request, tmp_path_factory, postgres):
    folder = tmp_path_factory.mktemp("strict")
    url = new_database(request.param, folder, postgres)
    with race_server(url, folder, refresh_leeway=0, refresh_retry_lifetime=0) as server:
        yield server


@pytest.mark.threat("T081")
@pytest.mark.parametrize(
    "rounds",
    [pytest.param(5, marks=pytest.mark.long_on("sqlite")), pytest.param(60, marks=pytest.mark.long)],
)
def test_exactly_one_is_served(strict_server, rounds):
    play(strict_server, one_refresh_token, rounds)
