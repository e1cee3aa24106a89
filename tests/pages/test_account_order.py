"""What a person or an operator ends comes wholly before a code or a token or wholly after it: none is left
that was being made meanwhile.

A form of the account's pages is sent while an exchange or a refresh is about to store its token, an
operator's sign-out while a consent stores its code. It must wait, and then find it.
"""

import threading

import pytest
from sqlalchemy import event, func

import store.codes
import store.tokens
import store.user_sessions
import store.users
from app import create_app
from config import Settings
from models import AuthorizationCode, Consent, Token, UserSession, db
from tests.builders import (
    ISSUER,
    PASSWORD,
    SECRET_KEY,
    a_client,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.conftest import Browser
from tests.pages.steps import answer_to_client, ask, authorization_path, page, press, sign_in
from tests.statements import select
from unit_of_work import transaction

pytestmark = pytest.mark.long_on("mariadb")

HEAD_START_SECONDS = 0.4


@pytest.fixture
def app(database_url):
    app = create_app(Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY))
    app.test_client_class = Browser
    with app.app_context():
        db.create_all()
        for row in (a_user(), a_client()):
            db.session.add(row)
            db.session.flush()
        db.session.commit()
    yield app
    with app.app_context():
        db.engine.dispose()


class Meanwhile(threading.Thread):
    """Does something in another thread and on another connection; `result` is what came of it."""

    def __init__(self, act):
        super().__init__()
        self.act, self.result = act, None

    def run(self):
        self.result = self.act()

    def begin_before(self, app, statement):
        """Begin just before such a statement is sent; it goes on once this has had time to finish, if nothing
        holds it up.
        """

        def begin(conn, cursor, sql, *rest):
            if sql.startswith(statement) and not self.ident:
                self.start()
                self.join(HEAD_START_SECONDS)

        with app.app_context():
            event.listen(db.engine, "before_cursor_execute", begin)

    def end(self):
        self.join(10)
        assert not self.is_alive()
        return self.result


def form_of_another_browser(app, path, button, **fields):
    """Of the same person."""
    http = app.test_client()
    sign_in(http)
    form = page(http.get(path)).form(button).filled(button, **fields)
    return Meanwhile(lambda: http.post(path, data=form).status_code)


def counts(app, *models):
    with app.app_context():
        return [db.session.scalar(select(func.count()).select_from(model)) for model in models]


ENDINGS = {
    "access is removed": ("/account/applications", "Remove access of Web", {}),
    "another password": (
        "/account/password",
        "Change password",
        {"password": PASSWORD, "new_password": "another long password"},
    ),
}


@pytest.mark.parametrize("while_refreshing", [False, True])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_no_token_is_left(app, ending, while_refreshing):
    http = app.test_client()
    sign_in(http)
    code = answer_to_client(press(http, ask(http), "Allow"))["code"][0]
    path, button, fields = ending
    other = form_of_another_browser(app, path, button, **fields)
    request = code_request(code)
    if while_refreshing:
        request = refresh_request(http.post("/oauth/token", data=request, auth=basic()).json["refresh_token"])
    other.begin_before(app, "INSERT INTO token")
    answer = http.post("/oauth/token", data=request, auth=basic())
    assert answer.status_code == 200  # it came first
    assert other.end() == 303
    assert counts(app, AuthorizationCode, Token) == [0, 0]
    again = refresh_request(answer.json["refresh_token"])
    assert http.post("/oauth/token", data=again, auth=basic()).json["error"] == "invalid_grant"


def test_access_that_is_removed_twice_at_once_is_removed_once(app):
    http = app.test_client()
    sign_in(http)
    press(http, ask(http), "Allow")
    both = [
        form_of_another_browser(app, "/account/applications", "Remove access of Web") for _browser in range(2)
    ]
    for ending in both:
        ending.start()
    assert sorted(ending.end() for ending in both) == [303, 404]
    assert counts(app, Consent) == [0]


@pytest.mark.threat("T039")
@pytest.mark.parametrize("remembered", [False, True])
def test_a_sign_out_during_a_consent(app, remembered):
    """An operator's, as `flask users sign-out` does it: it waits for the consent, and then finds its code."""

    def end_everything():
        with app.app_context(), transaction():
            store.users.lock(1)
            store.user_sessions.delete_of_user(1)
            store.codes.delete_pending(user_id=1)
            store.tokens.revoke_of_user(1)

    http, sign_out = app.test_client(), Meanwhile(end_everything)
    sign_in(http)
    shown = ask(http)
    if remembered:
        press(http, shown, "Allow")
    sign_out.begin_before(app, "INSERT INTO authorization_code")
    answer = http.get(authorization_path()) if remembered else press(http, shown, "Allow")
    code = answer_to_client(answer)["code"][0]
    sign_out.end()
    refused = http.post("/oauth/token", data=code_request(code), auth=basic())
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_grant")
    assert counts(app, AuthorizationCode, Token, UserSession) == [0, 0, 0]
