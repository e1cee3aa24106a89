"""Every endpoint has a statement budget: BEGIN and COMMIT are not counted, and there is one COMMIT at most.

The budgets of the token endpoint stand beside its grants, that of a bearer check in `endpoints/test_me.py`.
The fence between tenants has one too, of calls: it looks once at what a statement compiles to. So has what is
around a view.
"""

import re
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
from werkzeug.test import EnvironBuilder

from config import PROJECT, Settings
from models import Consent
from tests.builders import (
    AUTHORIZATION_REQUEST,
    ISSUER,
    PASSWORD,
    REDIRECT_URI,
    a_client,
    a_client_session,
    a_notice,
    a_public_client,
    a_refresh_token,
    a_session,
    a_token,
    a_user,
    basic,
    refresh_request,
)

AUTHORIZE = AUTHORIZATION_REQUEST
LOOPBACK = Settings(issuer="http://127.0.0.1:8000", database_url="sqlite://", secret_key="k" * 32)

FENCE = {
    str(PROJECT / "database" / f"{name}.py")
    for name in ("tenancy", "statement_check", "query_check", "expression_check", "scopes", "tenant_tables")
}
FENCE_CALLS = 3  # for each statement: the listener, the check, and who the current tenant is
AROUND_A_VIEW = {"/healthz": 300, "/oauth/jwks": 380}  # some more than they are in Python 3.11
FORM = 3  # was it answered already; expired answers, the new one


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


def test_metadata_costs_one_statement(http, expect_cost):
    expect_cost(lambda: http.get("/.well-known/oauth-authorization-server"), 1, 200)


def test_the_way_through_sign_in_and_consent(http, seed, expect_cost):
    seed(a_user(), a_client())
    # client; expired tickets, too many of them, the new one
    to_login = expect_cost(lambda: http.get("/oauth/authorize", query_string=AUTHORIZE), 4, 303).location
    # ticket, client
    page = expect_cost(lambda: http.get(to_login), 2, 200)
    form = {"email": "ada@example.com", "password": PASSWORD, "csrf_token": hidden(page, "csrf_token")}
    # FORM; failures, person, the lock on it; the ticket is assigned; old sessions, the new one; who that is
    to_consent = expect_cost(lambda: http.post(to_login, data=form), 7 + FORM, 303).location
    # ticket, client, session, consent; scopes
    page = expect_cost(lambda: http.get(to_consent), 5, 200)
    form = {name: hidden(page, name) for name in ("csrf_token", "ticket")} | {"decision": "allow"}
    # ticket, the lock, session, claim of the ticket, client; consent and its row; the client's sid; expired
    # codes, the new one
    expect_cost(lambda: http.post("/oauth/authorize", data=form), 10 + FORM, 303)
    # client, session, consent; the lock, session and consent again, locked; the client's sid; expired codes,
    # the new one
    back = expect_cost(lambda: http.get("/oauth/authorize", query_string=AUTHORIZE), 9, 303)
    assert back.location.startswith(REDIRECT_URI)


@pytest.fixture
def ada(http, seed):
    """A browser that Ada is signed in with; of her other sessions 2 knows no client, 3 and 4 know one that is
    told.
    """
    told = {"backchannel_logout_uri": "https://app.example/logout"}
    seed(a_user(), a_client(extra_metadata=told), a_client(client_id="notes"))
    page = http.get("/login")
    form = {"email": "ada@example.com", "password": PASSWORD, "csrf_token": hidden(page, "csrf_token")}
    assert http.post("/login", data=form).status_code == 303
    seed(*(a_session(number) for number in (2, 3, 4)))
    seed(
        a_client_session(session_id=1),
        a_client_session("sid-3", session_id=3),
        a_client_session("4", session_id=4),
    )
    seed(
        *(
            Consent(user_id=1, client_id=client_id, scope="profile", granted_at=1)
            for client_id in ("web", "notes")
        )
    )
    seed(a_notice(), a_notice())
    return http


@pytest.mark.parametrize(
    ("path", "budget"),
    [
        ("/account/", 2),  # session, person
        ("/account/sessions", 3),  # session; all of them, their clients
        ("/account/sign-outs", 2),  # session, receipts
        ("/account/password", 1),  # session
        ("/account/applications", 3),  # session; consents, scopes
        ("/.well-known/change-password", 0),
    ],
)
def test_pages_of_an_account(ada, expect_cost, path, budget):
    expect_cost(lambda: ada.get(path), budget, 303 if budget == 0 else 200)


@pytest.mark.parametrize(
    ("which", "budget", "status"),
    [
        ("2", 6 + FORM, 303),  # session, the lock, other sessions; the lock, clients, the end
        ("3", 10 + FORM, 303),  # codes, tokens, the notice, old notices as well
        ("others", 10 + FORM, 303),
        ("9", 3 + 2, 404),  # it is asked for twice whether a refused form was answered already
        (
            "1",
            10 + FORM,
            303,
        ),  # session, accounts; the lock, clients, the end, codes, tokens, the notice, old ones, its receipt
        ("everywhere", 10 + FORM, 303),
    ],
)
def test_signing_out_elsewhere_stays_within_its_budget(ada, expect_cost, which, budget, status):
    form = {"csrf_token": hidden(ada.get("/account/sessions"), "csrf_token"), "end": which}
    expect_cost(lambda: ada.post("/account/sessions", data=form), budget, status)


def test_the_page_after_a_sign_out(ada, expect_cost):
    ada.post("/logout", data={"csrf_token": hidden(ada.get("/logout"), "csrf_token")})
    assert "Being told" in expect_cost(lambda: ada.get("/logout"), 1, 200).text


def test_a_new_password_stays_within_its_budget(ada, expect_cost):
    token = hidden(ada.get("/account/password"), "csrf_token")
    form = {"csrf_token": token, "password": PASSWORD, "new_password": "another long password"}
    # session, failures, person; the lock, the session again, the password, other sessions; their end (7);
    # codes, tokens; the lock, accounts, the renewal, who that is
    expect_cost(lambda: ada.post("/account/password", data=form), 20 + FORM, 303)


def test_access_that_is_removed(ada, expect_cost):
    form = {"csrf_token": hidden(ada.get("/account/applications"), "csrf_token"), "client": "web"}
    # session, the lock; consent, codes, tokens
    expect_cost(lambda: ada.post("/account/applications", data=form), 5 + FORM, 303)


def test_an_unknown_client_costs_one_question(http, expect_cost):
    expect_cost(lambda: http.get("/oauth/authorize", query_string=AUTHORIZE), 1, 400)


def test_malformed_requests_cost_nothing(http, expect_cost):
    expect_cost(lambda: http.post("/oauth/token", data={"x": "y"}), 0, 400)
    expect_cost(lambda: http.get("/oauth/authorize?state=a&state=b"), 0, 400)
    expect_cost(lambda: http.get("/api/me"), 0, 401)


def calls_of_the_fence():
    """The names of the functions that the fence calls meanwhile, and of its own."""
    return calls(lambda frame, kind: kind in ("call", "c_call") and frame.f_code.co_filename in FENCE)


@contextmanager
def calls(is_counted):
    """The names of the functions that are called meanwhile, where `is_counted(frame, kind)`."""
    called = []

    def note(frame, kind, function):
        if is_counted(frame, kind):
            called.append(frame.f_code.co_name if kind == "call" else function.__name__)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize(("path", "budget"), AROUND_A_VIEW.items())
def test_what_is_around_a_view_that_asks_nothing_costs_few_calls(app, http, path, budget):
    """Of functions in Python, Flask's and Werkzeug's among them: how many is the same on every machine."""
    for _ in range(2):  # makes the keys, and reads them
        http.get(path)
    environ = EnvironBuilder(path, base_url=ISSUER).get_environ()
    with calls(lambda frame, kind: kind == "call") as called:
        answer = app.wsgi_app(environ, lambda status, headers, error=None: None)
        body = b"".join(answer)
        answer.close()
    assert body
    assert len(called) <= budget, Counter(called).most_common(20)


def test_the_fence_costs_three_calls_a_statement(http, seed, statements):
    refresh_token = a_refresh_token()
    seed(a_user(), a_client(), a_token(refresh_token=refresh_token))

    def refresh(refresh_token):
        return http.post("/oauth/token", data=refresh_request(refresh_token), auth=basic())

    refresh_token = refresh(refresh_token).json["refresh_token"]  # what is sent is compiled, and looked at
    statements.clear()
    with calls_of_the_fence() as called:
        answer = refresh(refresh_token)
    assert answer.status_code == 200
    sent = [sql for sql in statements if sql != "COMMIT"]
    assert len(sent) <= called.count("fence")  # else the rest says nothing
    assert len(called) <= FENCE_CALLS * len(sent), called
