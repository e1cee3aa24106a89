"""Every view may run twice: when the database lost a race, the whole request is run again from a clean start.

Each test runs as usual, and once more with the first COMMIT of every request failing as a busy SQLite does.
What it asserts is the same: the second run must not see what the first did to the session, the loaded person,
the messages or the rows.
"""

import sqlite3
from pathlib import Path

import pytest
from flask import has_request_context, request
from sqlalchemy import event, func
from sqlalchemy.exc import OperationalError

from config import Settings
from crypto import credentials
from models import (
    AuthorizationCode,
    AuthorizationTicket,
    Consent,
    LogoutNotice,
    SigningKey,
    Throttle,
    Token,
    User,
    UserSession,
    db,
)
from services import passwords
from tests.builders import (
    PASSWORD,
    a_client,
    a_client_session,
    a_code,
    a_machine,
    a_notice,
    a_public_client,
    a_refresh_token,
    a_session,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.pages.steps import (
    EMAIL,
    answer_to_client,
    ask,
    authorization_path,
    follow,
    go,
    page,
    press,
    sign_in,
    sign_out,
)
from tests.services.test_sessions import a_notified_client
from tests.statements import select
from unit_of_work import ATTEMPTS

pytestmark = pytest.mark.thorough

CODE = "ost_ac_" + "c" * 43
ACCESS_TOKEN = "ost_at_" + "a" * 43
LOOPBACK = Settings(issuer="http://127.0.0.1:8000", database_url="sqlite://", secret_key="k" * 32)


def a_lost_race():
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("COMMIT", {}, busy)


class Races:
    """Lets the first `losses` COMMITs of each request fail, from `begin()` on; `lost` names the requests."""

    def __init__(self, losses):
        self.losses = losses
        self.lost = []
        self.has_begun = False

    def begin(self):
        self.has_begun = True

    def before_commit(self, connection):
        if not self.has_begun or not has_request_context():
            return
        lost_so_far = request.environ.get("test.lost", 0)
        if lost_so_far < self.losses:
            request.environ["test.lost"] = lost_so_far + 1
            self.lost.append(f"{request.method} {request.path}")
            raise a_lost_race()

    def were_lost(self, *requests):
        """Whether the race was lost in exactly these requests; nowhere, in the usual run."""
        return self.lost == [each for each in requests for _ in range(self.losses)]


@pytest.fixture(params=[0, 1, ATTEMPTS - 1], ids=["no race", "lost once", "lost twice"])
def races(request, app):
    races = Races(request.param)
    with app.app_context():
        event.listen(db.engine, "commit", races.before_commit)
    return races


@pytest.fixture
def count(rows):
    return lambda table: rows(select(func.count()).select_from(table))[0][0]


def test_a_sign_in_whose_race_was_lost_is_done_once(http, seed, rows, count, races):
    seed(a_user(), a_client())
    shown = ask(http)
    races.begin()
    answer = press(http, shown, "Sign in", email=EMAIL, password=PASSWORD)
    assert races.were_lost("POST /login")
    assert answer.status_code == 303
    assert len(answer.headers.getlist("Set-Cookie")) == 2  # the session and the known device, once each
    assert count(UserSession) == 1
    consent = http.get(answer.headers["Location"])  # the pending request came along
    assert page(consent).headings == ["Web asks for access"]


def test_sign_in_again_as_somebody_else(http, seed, rows, races):
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com", name="Bo"))
    sign_in(http)
    shown = http.get("/login")
    races.begin()
    assert press(http, shown, "Sign in", email="bo@example.com", password=PASSWORD).status_code == 303
    assert rows(select(UserSession.user_id).order_by(UserSession.user_id)) == [(1,), (2,)]
    assert "Hello, Bo" in page(http.get("/")).headings


def test_a_sign_up_whose_race_was_lost_makes_one_account(http, rows, count, races):
    shown = http.get("/signup")
    races.begin()
    answer = press(http, shown, "Create account", name="Bo", email="bo@example.com", password=PASSWORD)
    assert races.were_lost("POST /signup")
    assert answer.status_code == 303
    assert rows(select(User.email)) == [("bo@example.com",)]
    assert count(UserSession) == 1
    assert "Hello, Bo" in page(http.get("/")).headings


def test_a_sign_out_whose_race_was_lost_is_done_once(http, seed, count, races):
    seed(a_user())
    sign_in(http)
    shown = http.get("/logout")
    races.begin()
    answer = press(http, shown, "Sign out")
    assert races.were_lost("POST /logout")
    assert answer.headers["Location"] == "/logout"
    assert count(UserSession) == 0
    assert page(follow(http, answer)).headings == ["You are signed out"]


def test_another_account_is_chosen_once_after_a_lost_race(http, seed, count, races):
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com", name="Bo"), a_client())
    sign_in(http)
    shown = ask(http)
    races.begin()
    shown = go(http, shown, "Use another account")
    shown = follow(http, press(http, shown, "Sign in", email="bo@example.com", password=PASSWORD))
    assert "Your account Bo" in page(shown).text
    shown = go(http, shown, "Use another account")
    assert page(shown).headings == ["Choose an account"]
    shown = follow(http, press(http, shown, "Ada ada@example.com"))
    assert "Your account Ada" in page(shown).text
    assert count(UserSession) == 2


def test_the_home_page_is_shown_after_a_lost_race(http, seed, races):
    seed(a_user())
    sign_in(http)
    races.begin()
    assert page(http.get("/")).headings == ["Hello, Ada"]
    assert races.were_lost("GET /")


def test_the_account_pages_are_shown_after_a_lost_race(http, seed, races):
    seed(a_user(), a_client(), a_notice())
    sign_in(http)
    races.begin()
    assert "Email address ada@example.com not verified" in page(http.get("/account/")).text
    assert "Web not told yet" in page(http.get("/account/sign-outs")).text
    assert races.were_lost("GET /account/", "GET /account/sign-outs")


def test_signing_out_elsewhere_is_done_once_after_a_lost_race(http, seed, rows, count, races):
    seed(a_user(), a_notified_client())
    sign_in(http)
    seed(a_session(2), a_client_session(session_id=2))
    races.begin()
    shown = http.get("/account/sessions")
    answer = press(http, shown, "Sign out everywhere else")
    assert races.were_lost("GET /account/sessions", "POST /account/sessions")
    assert [rows(select(UserSession.id)), count(LogoutNotice)] == [[(1,)], 1]
    assert page(follow(http, answer)).text.count("You are signed out everywhere else.") == 1


def test_signing_out_everywhere_is_done_once_after_a_lost_race(http, seed, count, races):
    seed(a_user(), a_notified_client())
    sign_in(http)
    seed(a_client_session(), a_session(2), a_client_session("sid-2", session_id=2))
    shown = http.get("/account/sessions")
    races.begin()
    answer = press(http, shown, "Sign out everywhere")
    assert races.were_lost("POST /account/sessions")
    assert [count(UserSession), count(LogoutNotice)] == [0, 2]
    assert page(follow(http, answer)).text.count("Being told Web") == 1


def test_a_password_is_changed_once_after_a_lost_race(http, seed, rows, races):
    seed(a_user())
    sign_in(http)
    seed(a_session(2))
    races.begin()
    shown = http.get("/account/password")
    answer = press(http, shown, "Change password", password=PASSWORD, new_password="another long password")
    assert races.were_lost("GET /account/password", "POST /account/password")
    assert rows(select(UserSession.id)) == [(1,)]
    assert passwords.is_right("another long password", rows(select(User.password_hash))[0][0])
    assert page(follow(http, answer)).text.count("Your password is changed.") == 1


def test_a_guess_at_the_present_password_counts_once(http, seed, count, rows, races):
    """The COMMIT that is lost is the one of the penalty."""
    seed(a_user())
    sign_in(http)
    shown = http.get("/account/password")
    races.begin()
    answer = press(http, shown, "Change password", password="wrong", new_password="another long password")
    assert races.were_lost("POST /account/password")
    assert (answer.status_code, count(Throttle)) == (400, 1)


def test_access_that_is_removed(http, seed, count, races):
    seed(a_user(), a_client(), Consent(user_id=1, client_id="web", scope="profile", granted_at=1), a_token())
    sign_in(http)
    races.begin()
    shown = http.get("/account/applications")
    answer = press(http, shown, "Remove access of Web")
    assert races.were_lost("GET /account/applications", "POST /account/applications")
    assert [count(Consent), count(Token)] == [0, 0]
    assert page(follow(http, answer)).text.count("Its access is removed.") == 1


@pytest.mark.parametrize("settings", [LOOPBACK])
def test_the_demo_is_shown_after_a_lost_race(http, seed, races):
    seed(a_public_client(client_id="demo", redirect_uris=[f"{LOOPBACK.issuer}/demo"]))
    races.begin()
    answer = http.get("/demo", base_url=LOOPBACK.issuer)
    assert races.were_lost("GET /demo")
    assert (answer.status_code, page(answer).headings) == (200, ["Try it"])
    assert "script-src 'self';" in answer.headers["Content-Security-Policy"]


def test_a_request_before_the_sign_in(http, seed, count, races):
    seed(a_user(), a_client())
    races.begin()
    answer = http.get(authorization_path())
    assert races.were_lost("GET /oauth/authorize")
    assert answer.headers["Location"].startswith("/login?next=")
    assert count(AuthorizationTicket) == 1
    assert "to continue to Web" in page(http.get(answer.headers["Location"])).text


def test_a_request_that_is_shown(http, seed, count, races):
    seed(a_user(), a_client())
    sign_in(http)
    races.begin()
    shown = ask(http)
    assert races.were_lost("GET /oauth/authorize")
    assert page(shown).headings == ["Web asks for access"]
    assert count(AuthorizationTicket) == 1
    assert "code" in answer_to_client(press(http, shown, "Allow"))


def test_a_remembered_consent_makes_one_code_after_a_lost_race(http, seed, count, races):
    seed(a_user(), a_client())
    seed(Consent(user_id=1, client_id="web", scope="profile", granted_at=1))
    sign_in(http)
    races.begin()
    assert "code" in answer_to_client(http.get(authorization_path()))
    assert races.were_lost("GET /oauth/authorize")
    assert count(AuthorizationCode) == 1


@pytest.mark.parametrize(("button", "member", "codes"), [("Allow", "code", 1), ("Deny", "error", 0)])
def test_a_decision_is_stored_once_after_a_lost_race(http, seed, count, races, button, member, codes):
    seed(a_user(), a_client())
    sign_in(http)
    shown = ask(http)
    races.begin()
    assert member in answer_to_client(press(http, shown, button))
    assert races.were_lost("POST /oauth/authorize")
    assert [count(AuthorizationCode), count(Consent), count(AuthorizationTicket)] == [codes, codes, 0]


def test_a_code_becomes_a_token(http, seed, rows, count, races):
    seed(a_user(), a_client(), a_code(CODE))
    races.begin()
    answer = http.post("/oauth/token", data=code_request(CODE), auth=basic())
    assert races.were_lost("POST /oauth/token")
    assert answer.status_code == 200
    assert rows(select(Token.access_token_digest)) == [(credentials.digest(answer.json["access_token"]),)]
    assert count(AuthorizationCode) == 0


def test_a_refresh_token_is_rotated_once_after_a_lost_race(http, seed, rows, races):
    presented = a_refresh_token()
    seed(a_user(), a_client(), a_token(presented))
    races.begin()
    answer = http.post("/oauth/token", data=refresh_request(presented), auth=basic())
    assert races.were_lost("POST /oauth/token")
    assert answer.status_code == 200
    assert answer.json["refresh_token"] != presented
    assert rows(select(Token.refresh_token_digest)) == [(credentials.digest(answer.json["refresh_token"]),)]


def test_a_machine_gets_one_token_after_a_lost_race(http, seed, count, races):
    seed(a_machine())
    races.begin()
    answer = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("robot"))
    assert races.were_lost("POST /oauth/token")
    assert (answer.status_code, count(Token)) == (200, 1)


def test_a_replay_ends_what_the_code_issued(http, seed, count, races):
    """The COMMIT that is lost is the one of the penalty, after the refusal was rolled back."""
    seed(a_user(), a_client(), a_code(CODE))
    assert http.post("/oauth/token", data=code_request(CODE), auth=basic()).status_code == 200
    races.begin()
    answer = http.post("/oauth/token", data=code_request(CODE), auth=basic())
    assert races.were_lost("POST /oauth/token")
    assert answer.json["error"] == "invalid_grant"
    assert count(Token) == 0


def test_a_resource_is_served_after_a_lost_race(http, seed, rows, races):
    seed(a_user(), a_client(), a_code(CODE))
    token = http.post("/oauth/token", data=code_request(CODE), auth=basic()).json["access_token"]
    races.begin()
    answer = http.get("/api/me", headers={"Authorization": f"Bearer {token}"})
    assert races.were_lost("GET /api/me")
    assert (answer.status_code, answer.json["email"]) == (200, EMAIL)
    [(used_at,)] = rows(select(Token.used_at))
    assert used_at is not None


def test_a_token_is_revoked_after_a_lost_race(http, seed, count, races):
    refresh_token = a_refresh_token()
    seed(a_user(), a_client(), a_token(refresh_token))
    races.begin()
    answer = http.post("/oauth/revoke", data={"token": refresh_token}, auth=basic())
    assert races.were_lost("POST /oauth/revoke")
    assert answer.status_code == 200
    assert count(Token) == 0


def test_an_introspection_is_answered_after_a_lost_race(http, seed, rows, races):
    seed(a_user(), a_client(), a_token(access_token_digest=credentials.digest(ACCESS_TOKEN)))
    races.begin()
    answer = http.post("/oauth/introspect", data={"token": ACCESS_TOKEN}, auth=basic())
    assert races.were_lost("POST /oauth/introspect")
    assert answer.json["active"] is True
    assert rows(select(Token.used_at)) != [(None,)]


@pytest.mark.parametrize(
    "path", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
)
def test_metadata_is_served_after_a_lost_race(http, races, path):
    races.begin()
    answer = http.get(path)
    assert races.were_lost(f"GET {path}")
    assert "profile" in answer.json["scopes_supported"]


def test_the_first_keys_are_made_once_after_a_lost_race(http, count, races):
    races.begin()
    answer = http.get("/oauth/jwks")
    assert races.were_lost("GET /oauth/jwks")
    assert len(answer.json["keys"]) == count(SigningKey) == 3


def test_userinfo_is_served_after_a_lost_race(http, seed, rows, races):
    token = a_token(access_token_digest=credentials.digest(ACCESS_TOKEN), access_token_scope="openid")
    seed(a_user(), a_client(), token)
    races.begin()
    answer = http.get("/oauth/userinfo", headers={"Authorization": f"Bearer {ACCESS_TOKEN}"})
    assert races.were_lost("GET /oauth/userinfo")
    assert answer.json == {"sub": "sub-of-ada"}
    assert rows(select(Token.used_at)) != [(None,)]


def test_a_client_sends_somebody_to_sign_out(http, seed, count, races):
    seed(a_user(), a_client())
    sign_in(http)
    races.begin()
    shown = http.get("/oauth/logout")
    answer = press(http, shown, "Sign out")
    assert races.were_lost("GET /oauth/logout", "POST /oauth/logout")
    assert (answer.status_code, count(UserSession)) == (303, 0)


def test_readiness_is_no_retry(http, races):
    races.begin()
    # this database was made without migrations: a refusal, not committed
    assert http.get("/readyz").status_code == 503


def test_no_view_was_forgotten(app):
    """Each address is in a test of this file; those left out ask nothing of the database."""
    source = Path(__file__).read_text()
    through_steps = {"/accounts", "/login", "/logout", "/signup", "/oauth/authorize"}
    without_database = {"/healthz", "/static/<path:filename>", "/.well-known/change-password"}
    for rule in app.url_map.iter_rules():
        path = str(rule)
        assert path in without_database | through_steps or f'"{path}"' in source, path


# ---- and when it is lost every time ------------------------------------------------------------------------


@pytest.fixture
def always_lost(app):
    races = Races(losses=ATTEMPTS)
    with app.app_context():
        event.listen(db.engine, "commit", races.before_commit)
    return races


def test_a_page_says_to_try_again(http, seed, count, always_lost):
    seed(a_user())
    shown = http.get("/login")
    always_lost.begin()
    answer = press(http, shown, "Sign in", email=EMAIL, password=PASSWORD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert page(answer).headings == ["Back in a moment"]
    assert "Content-Security-Policy" in answer.headers
    assert len(always_lost.lost) == ATTEMPTS
    assert count(UserSession) == 0
    always_lost.losses = 0
    assert page(http.get("/")).headings == ["One account for your applications"]


@pytest.mark.parametrize("settings", [LOOPBACK])
def test_a_page_that_was_not_shown_may_run_no_script(http, seed, always_lost):
    seed(a_public_client(client_id="demo", redirect_uris=[f"{LOOPBACK.issuer}/demo"]))
    always_lost.begin()
    answer = http.get("/demo", base_url=LOOPBACK.issuer)
    assert answer.status_code == 503
    assert "script-src" not in answer.headers["Content-Security-Policy"]


def test_a_sign_out_that_failed_leaves_the_person_signed_in(http, seed, always_lost):
    """The cookie does not say less than the rows."""
    seed(a_user())
    sign_in(http)
    always_lost.begin()
    always_lost.losses = 0
    shown = http.get("/logout")
    always_lost.losses = ATTEMPTS
    assert press(http, shown, "Sign out").status_code == 503
    always_lost.losses = 0
    assert page(http.get("/")).headings == ["Hello, Ada"]
    assert sign_out(http).status_code == 303


def test_a_machine_is_told_so_and_not_to_try_the_code_again(http, seed, count, always_lost):
    seed(a_user(), a_client(), a_code(CODE))
    always_lost.begin()
    answer = http.post("/oauth/token", data=code_request(CODE), auth=basic())
    assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
    assert "Retry-After" not in answer.headers
    assert [count(AuthorizationCode), count(Token)] == [1, 0]
