"""Failed client authentications are counted per client and address; a right secret is always answered."""

import pytest
from sqlalchemy import func

from config import Settings
from models import Throttle
from tests.builders import CLIENT_SECRET, ISSUER, SECRET_KEY, a_client, a_machine, a_public_client, basic
from tests.statements import select

WRONG = "ost_cs_" + "w" * 43
BODY = {"grant_type": "client_credentials"}

pytestmark = pytest.mark.usefixtures("sleep")  # the clock stands still


@pytest.fixture(scope="module")
def settings():
    return Settings(
        issuer=ISSUER,
        database_url="sqlite://",
        secret_key=SECRET_KEY,
        failed_client_authentications_per_client=5,
        failed_client_authentications_per_address=12,
        throttle_period=600,
    )


@pytest.fixture
def attempt(http, seed):
    """A token request of a machine, from an address."""
    seed(a_machine(), a_machine(client_id="other"), a_public_client())

    def attempt(secret=WRONG, client_id="robot", address="192.0.2.1", path="/oauth/token", body=BODY):
        return http.post(
            path, data=body, auth=basic(client_id, secret), environ_overrides={"REMOTE_ADDR": address}
        )

    return attempt


def fail(attempt, times, **request):
    return [attempt(**request).status_code for _time in range(times)]


@pytest.mark.threat("T066")
def test_wrong_secrets_are_answered_429_after_a_while(attempt):
    assert fail(attempt, 6) == [401] * 5 + [429]
    answer = attempt()
    assert answer.json["error"] == "invalid_client"
    assert answer.headers["Retry-After"] == "120"
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="ostiary"'
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.threat("T066")
def test_the_right_secret_is_answered_from_elsewhere_and_from_there(attempt):
    fail(attempt, 8)
    assert attempt(address="192.0.2.2").status_code == 401
    assert attempt(CLIENT_SECRET, address="192.0.2.2").status_code == 200
    assert attempt(CLIENT_SECRET).status_code == 200


def test_the_other_clients_of_an_address_are_counted_by_themselves(attempt):
    fail(attempt, 6)
    assert attempt(client_id="other").status_code == 401


def test_an_address_that_tries_many_clients_is_counted_as_a_whole(attempt, rows):
    statuses = [attempt(client_id=f"guess{number}").status_code for number in range(14)]
    assert statuses == [401] * 12 + [429] * 2
    assert attempt(client_id="robot").status_code == 429
    assert rows(select(func.count()).select_from(Throttle)) == [(13,)]  # what is refused makes no row


def test_unknown_clients_are_counted_like_known_ones(attempt):
    assert fail(attempt, 6, client_id="nobody") == fail(attempt, 6, client_id="robot", address="192.0.2.9")


def test_a_public_client_that_is_unknown_is_counted_too(http, attempt):
    body = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "nobody"}
    assert [http.post("/oauth/token", data=body).status_code for _time in range(6)] == [401] * 5 + [429]


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
def test_all_endpoints_count_together(attempt, path):
    assert fail(attempt, 3, path=path, body={"token": "x"}) == [401] * 3
    assert fail(attempt, 3) == [401, 401, 429]


def test_success_asks_for_no_throttle(attempt, statements):
    attempt(CLIENT_SECRET)
    assert not [sql for sql in statements if "throttle" in sql]


def test_a_failure_costs_four_statements_and_a_throttled_one_two(attempt, statements):
    def cost():
        statements.clear()
        attempt()
        return [sql.split()[0] for sql in statements if sql not in ("COMMIT", "ROLLBACK")]

    assert cost() == ["SELECT", "SELECT", "DELETE", "INSERT"]
    fail(attempt, 5)
    assert cost() == ["SELECT", "SELECT"]


def test_it_drains_with_time(attempt, sleep):
    fail(attempt, 6)
    sleep(120)
    assert fail(attempt, 2) == [401, 429]


def test_what_has_drained_is_swept_by_the_next_failure(attempt, rows, sleep):
    fail(attempt, 3)
    sleep(700)
    attempt(client_id="nobody", address="192.0.2.3")
    assert rows(select(func.count()).select_from(Throttle)) == [(2,)]


def test_a_resource_server_is_a_client_like_any(attempt, seed):
    seed(a_client(client_id="api", grant_types=[], redirect_uris=[], is_resource_server=True))
    fail(attempt, 6, client_id="api", path="/oauth/introspect", body={"token": "x"})
    assert attempt(CLIENT_SECRET, "api", path="/oauth/introspect", body={"token": "x"}).json == {
        "active": False
    }
