"""A client assertion is good once, also where it comes many times at the same moment, to a server of two
processes.
"""

import pytest

from testing.races.scenarios import check_granted
from testing.races.workers import Call
from tests.builders import a_machine
from tests.flows.driving import CONNECTIONS, race_server
from tests.flows.mutations import Replacement, mutated_copy
from tests.flows.races import play
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.live import ENGINES, new_database

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

KEY = key_for("ES256")
UNTHROTTLED = {
    "failed_client_authentications_per_client": 1_000_000,
    "failed_client_authentications_per_address": 1_000_000,
}
CLAIM_IGNORED = Replacement(
    "store/spent_assertions.py", "one_or_none() is not None", "one_or_none() is not claim"
)


@pytest.fixture(scope="module", params=ENGINES)
def server(request, tmp_path_factory, postgres):
    folder = tmp_path_factory.mktemp("assertions")
    with race_server(new_database(request.param, folder, postgres), folder, **UNTHROTTLED) as server:
        yield server


def signing_machine(driver):
    """The client_id of a machine that signs with KEY."""
    return driver.client(
        build=a_machine,
        token_endpoint_auth_method="private_key_jwt",
        client_secret_digest=None,
        extra_metadata={"jwks": jwks(KEY)},
    )


def call(driver, client_id, jti, **body):
    claims = assertion_claims(client_id, aud=driver.server.issuer, jti=jti)
    body = with_assertion(sign(claims, KEY), grant_type="client_credentials", **body)
    return Call("POST", "/oauth/token", form=body)


def check_invalid_client(answers):
    kinds = {(answer.status, answer.error) for answer in answers}
    assert kinds == {(401, "invalid_client")}, f"instead of refusals: {kinds}"


def one_assertion_many_times(driver):
    """One sender wins, and has the one token."""
    client_id = signing_machine(driver)
    answers = driver.at_once([call(driver, client_id, "x")] * CONNECTIONS)
    winners = [answer for answer in answers if answer.status == 200]
    assert len(winners) == 1, f"one assertion, {len(winners)} winners"
    check_invalid_client([answer for answer in answers if answer not in winners])
    assert len(driver.token_digests(client_id)) == 1


def assertions_of_their_own(driver):
    """Workers of one client that each sign do not hold each other up: nobody is refused."""
    client_id = signing_machine(driver)
    check_granted(driver.at_once([call(driver, client_id, str(number)) for number in range(CONNECTIONS)]))
    assert len(driver.token_digests(client_id)) == CONNECTIONS


def refused_requests_among_them(driver):
    """Some are refused for their scope: whoever comes first has spent it, and nobody wins after that."""
    client_id = signing_machine(driver)
    good, bad = call(driver, client_id, "x"), call(driver, client_id, "x", scope="nothing")
    answers = driver.at_once([good, bad] * (CONNECTIONS // 2))
    assert {answer.error for answer in answers[1::2]} <= {"invalid_scope", "invalid_client"}
    assert len([answer for answer in answers if answer.status == 200]) <= 1
    check_invalid_client([driver.send(good), driver.send(bad)])


@pytest.mark.threat("T064")
@pytest.mark.parametrize("rounds", [4, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "race", [one_assertion_many_times, assertions_of_their_own, refused_requests_among_them]
)
def test_race(server, race, rounds):
    """On MariaDB those who wait for a claim that is undone lock each other out. All but one are run again."""
    is_undone = race is refused_requests_among_them and server.database_url.startswith("mariadb")
    play(server, race, rounds, *["OperationalError 1213"] * is_undone)


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_the_race_notices_when_the_claim_is_ignored(engine, tmp_path, postgres):
    source = mutated_copy([CLAIM_IGNORED], tmp_path / "source")
    url = new_database(engine, tmp_path, postgres)
    with race_server(url, tmp_path, source=source, **UNTHROTTLED) as server:
        with pytest.raises(AssertionError, match="one assertion, .* winners"):
            play(server, one_assertion_many_times, 1)
