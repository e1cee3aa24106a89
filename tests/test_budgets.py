"""Every endpoint has a statement budget: BEGIN and COMMIT are not counted, and there is one COMMIT at most.

The budgets of the token endpoint stand beside its grants, that of a bearer check in `endpoints/test_me.py`.
"""

import re

import pytest

from config import Settings
from tests.builders import AUTHORIZATION_REQUEST, PASSWORD, REDIRECT_URI, a_client, a_public_client, a_user

AUTHORIZE = AUTHORIZATION_REQUEST
LOOPBACK = Settings(issuer="http://127.0.0.1:8000", database_url="sqlite://", secret_key="k" * 32)


@pytest.fixture
def expect_cost(statements):
    """Send a request and check what it cost; returns the answer."""

    def expect_cost(request, budget, status):
        statements.clear()
        answer = request()
        answer.get_data()
        answer.close()
        assert answer.status_code == status
        sent = [sql for sql in statements if sql not in ("COMMIT", "ROLLBACK")]
        assert len(sent) <= budget, sent
        assert statements.count("COMMIT") <= 1
        return answer

    return expect_cost


def hidden(page, name):
    return re.search(rf'name="{name}"[^>]*value="([^"]+)"', page.text).group(1)


@pytest.mark.parametrize(
    ("path", "budget"),
    [("/", 0), ("/login", 0), ("/signup", 0), ("/logout", 0), ("/healthz", 0), ("/static/ostiary.css", 0)],
)
def test_what_needs_no_storage_asks_for_none(http, expect_cost, path, budget):
    expect_cost(lambda: http.get(path), budget, 200)


@pytest.mark.parametrize(("path", "budget"), [("/", 1), ("/demo", 1), ("/login", 0)])
@pytest.mark.parametrize("settings", [LOOPBACK])
def test_a_demo_costs_one_question_in_development(http, seed, expect_cost, path, budget):
    seed(a_public_client(client_id="demo", redirect_uris=[f"{LOOPBACK.issuer}/demo"]))
    expect_cost(lambda: http.get(path, base_url=LOOPBACK.issuer), budget, 200)


def test_a_demo_costs_nothing_in_production(http, expect_cost):
    expect_cost(lambda: http.get("/demo"), 0, 404)


def test_metadata(http, expect_cost):
    expect_cost(lambda: http.get("/.well-known/oauth-authorization-server"), 1, 200)


def test_the_way_through_sign_in_and_consent(http, seed, expect_cost):
    seed(a_user(), a_client())
    # client; expired tickets, the new one
    to_login = expect_cost(lambda: http.get("/oauth/authorize", query_string=AUTHORIZE), 3, 303).location
    # ticket, client
    page = expect_cost(lambda: http.get(to_login), 2, 200)
    form = {"email": "ada@example.com", "password": PASSWORD, "csrf_token": hidden(page, "csrf_token")}
    # person, the lock on it; tickets handed over; old sessions, the new one; who that is
    to_consent = expect_cost(lambda: http.post(to_login, data=form), 7, 303).location
    # ticket, client, session, consent; scopes
    page = expect_cost(lambda: http.get(to_consent), 5, 200)
    form = {name: hidden(page, name) for name in ("csrf_token", "ticket")} | {"decision": "allow"}
    # ticket, session, claim of the ticket, client; consent and its row; the client's sid; expired codes, the new one
    expect_cost(lambda: http.post("/oauth/authorize", data=form), 9, 303)
    # client, session, consent; the session again, locked; the client's sid; expired codes, the new one
    back = expect_cost(lambda: http.get("/oauth/authorize", query_string=AUTHORIZE), 7, 303)
    assert back.location.startswith(REDIRECT_URI)


def test_an_unknown_client_costs_one_question(http, expect_cost):
    expect_cost(lambda: http.get("/oauth/authorize", query_string=AUTHORIZE), 1, 400)


def test_malformed_requests_cost_nothing(http, expect_cost):
    expect_cost(lambda: http.post("/oauth/token", data={"x": "y"}), 0, 400)
    expect_cost(lambda: http.get("/oauth/authorize?state=a&state=b"), 0, 400)
    expect_cost(lambda: http.get("/api/me"), 0, 401)
