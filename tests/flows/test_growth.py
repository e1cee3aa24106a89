"""Nothing grows: the tables are as long after twice as many flows of the same people, and there is no
clean-up job.
"""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import func

from crypto import credentials
from models import AuthorizationCode, AuthorizationTicket, Token, UserSession, db
from protocol import clock
from store import tickets, user_sessions
from tests.builders import (
    AUTHORIZATION_REQUEST,
    PASSWORD,
    REDIRECT_URI,
    a_client,
    a_code,
    a_machine,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.pages.steps import sign_in
from tests.statements import select, update

AUTHORIZE = AUTHORIZATION_REQUEST


@pytest.fixture
def counts(app):
    """Rows in each table."""

    def counts():
        with app.app_context():
            return {
                table.name: db.session.scalar(select(func.count()).select_from(table))
                for table in db.metadata.sorted_tables
            }

    return counts


def csrf_token(page):
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text).group(1)


def signed_in_browser(app, email):
    """A browser that has signed in once and allowed the client once."""
    http = app.test_client()
    page = http.get("/oauth/authorize", query_string=AUTHORIZE, follow_redirects=True)
    form = {"email": email, "password": PASSWORD, "csrf_token": csrf_token(page)}
    page = http.post(page.request.full_path, data=form, follow_redirects=True)
    ticket = re.search(r'name="ticket" value="([^"]+)"', page.text).group(1)
    form = {"csrf_token": csrf_token(page), "ticket": ticket, "decision": "allow"}
    assert http.post("/oauth/authorize", data=form).location.startswith(REDIRECT_URI)
    return http


def complete_flow(http):
    """Authorization, exchange, use, refresh."""
    location = http.get("/oauth/authorize", query_string=AUTHORIZE).location
    code = parse_qs(urlsplit(location).query)["code"][0]
    pair = http.post("/oauth/token", data=code_request(code), auth=basic()).json
    assert http.get("/api/me", headers={"Authorization": f"Bearer {pair['access_token']}"}).status_code == 200
    assert (
        http.post("/oauth/token", data=refresh_request(pair["refresh_token"]), auth=basic()).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("people", "flows"),
    [(5, 50), pytest.param(50, 1_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
)
def test_twice_as_many_flows_leave_as_many_rows(app, http, seed, counts, people, flows):
    seed(a_client(), *(a_user(id=n, sub=f"s{n}", email=f"p{n}@example.com") for n in range(1, people + 1)))
    browsers = [signed_in_browser(app, f"p{n}@example.com") for n in range(1, people + 1)]
    with app.app_context():  # the codes of the sign-ins above were not spent: they expire
        db.session.execute(update(AuthorizationCode).values(expires_at=clock.now()))
        db.session.commit()
    seen = []
    for _ in range(2):
        for number in range(flows):
            complete_flow(browsers[number % people])
        seen.append(counts())
    assert seen[0] == seen[1]
    assert seen[0]["token"] == seen[0]["user_session"] == seen[0]["consent"] == people
    assert seen[0]["authorization_code"] == seen[0]["authorization_ticket"] == 0


def test_who_adds_a_ticket_drops_expired_ones(app, counts, seed):
    seed(a_client())
    now = clock.now()
    for number in range(20):
        seed(
            AuthorizationTicket(
                ticket_digest=bytes([number]) * 32,
                browser_digest=b"b" * 32,
                client_id="web",
                sealed_parameters=b"",
                expires_at=now - 20 + number,
            )
        )
    for left in (17, 14, 11, 8, 5, 6, 7):
        with app.app_context():
            tickets.add(credentials.random_text(), b"b" * 32, "web", {}, now)
            db.session.commit()
        assert counts()["authorization_ticket"] == left


@pytest.mark.threat("T040")
def test_who_adds_a_code_drops_expired_ones(app, http, seed, counts):
    seed(a_user(), a_client(), *(a_code(f"old {n}", expires_at=clock.now() - n) for n in range(10)))
    browser = signed_in_browser(app, "ada@example.com")
    assert counts()["authorization_code"] == 7
    for expected in (4, 3):
        browser.get("/oauth/authorize", query_string=AUTHORIZE)
        assert counts()["authorization_code"] == expected


def test_a_person_keeps_the_newest_sessions(app, http, seed, rows):
    seed(a_user(), a_user(id=2, sub="b", email="b@example.com"))
    sign_in(http, email="b@example.com")
    for _ in range(user_sessions.PER_USER + 5):
        sign_in(app.test_client())
    kept = [
        number
        for (number,) in rows(select(UserSession.id).where(UserSession.user_id == 1).order_by(UserSession.id))
    ]
    assert kept == list(range(7, user_sessions.PER_USER + 7))
    assert rows(select(func.count()).where(UserSession.user_id == 2)) == [(1,)]


def test_machine_tokens_stay_under_rate_times_lifetime(app, http, seed, rows):
    """Each issue drops what has expired, however much that is: only live ones are left."""
    seed(a_machine())
    now = clock.now()
    old = {"client_id": "robot", "user_id": None, "slot": None}
    seed(*(a_token(access_token_expires_at=now - 300 + n * 6, **old) for n in range(100)))
    http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("robot"))
    assert rows(select(func.count()).where(Token.access_token_expires_at <= now)) == [(0,)]
    assert rows(select(func.count()).select_from(Token)) == [(50,)]
