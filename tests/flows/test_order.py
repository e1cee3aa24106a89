"""An operator's sign-out comes wholly before a consent or wholly after it: no token is left of what it was
meant to end.

The sign-out begins while the consent's last statement is about to be sent. It must wait for the consent and
then find its code.
"""

import threading

import pytest
from sqlalchemy import event, func, select

import store.codes
import store.tokens
import store.user_sessions
import store.users
from app import create_app
from config import Settings
from models import AuthorizationCode, Token, UserSession, db
from tests.builders import ISSUER, SECRET_KEY, a_client, a_user, basic, code_request
from tests.conftest import Browser
from tests.pages.steps import answer_to_client, ask, authorization_path, press, sign_in
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


@pytest.fixture
def sign_out_elsewhere(app):
    """A function that ends all that a person has, as `flask users sign-out` does, in another thread and on
    another connection.
    """

    def end_everything():
        with app.app_context(), transaction():
            store.users.lock(1)
            store.user_sessions.delete_of_user(1)
            store.codes.delete_pending(user_id=1)
            store.tokens.revoke_of_user(1)

    return threading.Thread(target=end_everything)


@pytest.fixture
def during_the_last_statement(app, sign_out_elsewhere):
    """Let the sign-out begin just before a code is stored; returns once it has had time to finish, if nothing
    holds it up.
    """

    def start(conn, cursor, sql, *rest):
        if sql.startswith("INSERT INTO authorization_code") and not sign_out_elsewhere.ident:
            sign_out_elsewhere.start()
            sign_out_elsewhere.join(HEAD_START_SECONDS)

    def arm():
        with app.app_context():
            event.listen(db.engine, "before_cursor_execute", start)

    return arm


@pytest.mark.threat("T039")
@pytest.mark.parametrize("remembered", [False, True])
def test_a_sign_out_during_a_consent(app, remembered, sign_out_elsewhere, during_the_last_statement):
    http = app.test_client()
    sign_in(http)
    shown = ask(http)
    if remembered:
        press(http, shown, "Allow")
        during_the_last_statement()
        answer = http.get(authorization_path())
    else:
        during_the_last_statement()
        answer = press(http, shown, "Allow")
    code = answer_to_client(answer)["code"][0]
    sign_out_elsewhere.join(10)
    assert not sign_out_elsewhere.is_alive()
    refused = http.post("/oauth/token", data=code_request(code), auth=basic())
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_grant")
    with app.app_context():
        left = [
            db.session.scalar(select(func.count()).select_from(model))
            for model in (AuthorizationCode, Token, UserSession)
        ]
    assert left == [0, 0, 0]
