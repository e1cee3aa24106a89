"""What a person ends comes wholly before a token or wholly after it: none is left that was being made
meanwhile.

A form of the account's pages is sent while an exchange or a refresh is about to store its token. It must
wait, and then find it.
"""

import threading

import pytest
from sqlalchemy import event, func, select

from app import create_app
from config import Settings
from models import AuthorizationCode, Consent, Token, db
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
from tests.pages.steps import answer_to_client, ask, page, press, sign_in

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


class Ending(threading.Thread):
    """Sends a form of another browser of the same person."""

    def __init__(self, app, path, button, **fields):
        super().__init__()
        self.http = app.test_client()
        sign_in(self.http)
        form = page(self.http.get(path)).form(button)
        self.path, self.data = path, form.filled(button, **fields)
        self.status = None

    def run(self):
        self.status = self.http.post(self.path, data=self.data).status_code

    def begin(self, conn, cursor, sql, *rest):
        """Just before a token is stored; goes on once the form has had time to be answered, if nothing holds
        it up.
        """
        if sql.startswith("INSERT INTO token") and not self.ident:
            self.start()
            self.join(HEAD_START_SECONDS)


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
    other = Ending(app, path, button, **fields)
    request = code_request(code)
    if while_refreshing:
        request = refresh_request(http.post("/oauth/token", data=request, auth=basic()).json["refresh_token"])
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", other.begin)
    answer = http.post("/oauth/token", data=request, auth=basic())
    assert answer.status_code == 200  # it came first
    other.join(10)
    assert other.status == 303
    with app.app_context():
        assert [
            db.session.scalar(select(func.count()).select_from(model)) for model in (AuthorizationCode, Token)
        ] == [
            0,
            0,
        ]
    again = refresh_request(answer.json["refresh_token"])
    assert http.post("/oauth/token", data=again, auth=basic()).json["error"] == "invalid_grant"


def test_access_that_is_removed_twice_at_once_is_removed_once(app):
    http = app.test_client()
    sign_in(http)
    press(http, ask(http), "Allow")
    both = [Ending(app, "/account/applications", "Remove access of Web") for _browser in range(2)]
    for ending in both:
        ending.start()
    for ending in both:
        ending.join(10)
    assert sorted(ending.status for ending in both) == [303, 404]
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Consent)) == 0
