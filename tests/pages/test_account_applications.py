"""`/account/applications`: what was allowed, in words, and the end of it."""

import pytest

from models import AuthorizationCode, Consent, Token, UserSession
from protocol.scopes import OFFLINE_ACCESS_DESCRIPTION
from tests.builders import (
    a_client,
    a_code,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.pages.steps import answer_to_client, ask, follow, page, press, sign_in
from tests.statements import select

PATH = "/account/applications"
CONSENTS = select(Consent.user_id, Consent.client_id).order_by(Consent.user_id, Consent.client_id)


@pytest.fixture
def ada(http, seed):
    """Ada and Bo have allowed "web" and "notes" something."""
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com"))
    seed(
        a_client(), a_client(client_id="notes", client_name="Notes", redirect_uris=["com.example.notes:/cb"])
    )
    for user_id in (1, 2):
        seed(
            Consent(user_id=user_id, client_id="web", scope="profile gone offline_access", granted_at=86_400),
            Consent(user_id=user_id, client_id="notes", scope="", granted_at=1),
        )
    sign_in(http)
    return http


def remove(http, client_id):
    form = page(http.get(PATH)).form("Remove access of Web")
    return http.post(form.url, data={"csrf_token": form.fields["csrf_token"], "client": client_id})


def test_what_was_allowed_is_said_in_words(ada):
    shown = page(ada.get(PATH))
    web, notes = (
        shown.text.index("Web app.example May:"),
        shown.text.index("Notes com.example.notes on your device"),
    )
    assert web < notes  # the latest first
    assert f"See your name gone {OFFLINE_ACCESS_DESCRIPTION} Allowed 2 January 1970, 00:00 UTC" in shown.text
    assert "May know that you are you." in shown.text[notes:]
    assert list(shown.forms[0].buttons) == ["Remove access of Web", "Remove access of Notes"]


def test_every_host_is_named_once(http, seed):
    uris = [
        "https://app.example/cb",
        "https://app.example/other",
        "https://app.test:8443/cb",
        "http://127.0.0.1/cb",
    ]
    seed(a_user(), a_client(redirect_uris=uris), Consent(user_id=1, client_id="web", scope="", granted_at=1))
    sign_in(http)
    assert "Web app.example, app.test:8443, 127.0.0.1 May" in page(http.get(PATH)).text


def test_nothing_was_allowed(http, seed):
    seed(a_user())
    sign_in(http)
    shown = page(http.get(PATH))
    assert "None. When an application asks for access" in shown.text
    assert not shown.forms


def test_access_is_removed_with_all_that_came_of_it(ada, seed, rows):
    seed(
        a_code("a"),
        a_code("b", client_id="notes"),
        a_code("c", user_id=2),
        a_token(),
        a_token(slot=1, scope="openid offline_access"),
        a_token(client_id="notes"),
        a_token(user_id=2),
    )
    answer = press(ada, ada.get(PATH), "Remove access of Web")
    assert (answer.status_code, answer.headers["Location"]) == (303, PATH)
    shown = page(follow(ada, answer))
    assert "Its access is removed. The application has to ask you again." in shown.text
    assert list(shown.forms[0].buttons) == ["Remove access of Notes"]
    left = [(1, "notes"), (2, "web")]
    assert rows(CONSENTS) == [(1, "notes"), (2, "notes"), (2, "web")]
    assert rows(select(AuthorizationCode.user_id, AuthorizationCode.client_id).order_by("user_id")) == left
    assert rows(select(Token.user_id, Token.client_id).order_by("user_id")) == left
    assert rows(select(UserSession.user_id)) == [(1,)]


def test_the_application_is_out_and_has_to_ask_again(ada):
    remove(ada, "web")
    code = answer_to_client(press(ada, ask(ada), "Allow"))["code"][0]
    tokens = ada.post("/oauth/token", data=code_request(code), auth=basic()).json
    pending = answer_to_client(ask(ada))["code"][0]
    assert remove(ada, "web").status_code == 303
    for request in (refresh_request(tokens["refresh_token"]), code_request(pending)):
        assert ada.post("/oauth/token", data=request, auth=basic()).json["error"] == "invalid_grant"
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert ada.get("/api/me", headers=bearer).status_code == 401
    assert page(ask(ada)).headings == ["Web asks for access"]


@pytest.mark.parametrize(
    "client_id", ["", "nobody", "WEB", "web ", "other", "web\0", "x" * 5_000, "' OR 1=1 --"]
)
def test_nobody_removes_what_they_have_not_given(ada, seed, rows, client_id):
    seed(a_client(client_id="other"), Consent(user_id=2, client_id="other", scope="", granted_at=1))
    seed(a_token(client_id="other"), a_token(client_id="other", user_id=2))
    before = rows(CONSENTS)
    answer = remove(ada, client_id)
    assert answer.status_code == 404
    assert page(answer).headings == ["It has no access"]
    assert rows(CONSENTS) == before
    assert len(rows(select(Token.id))) == 2


def test_what_was_removed_already_says_so(ada):
    shown, in_another_tab = ada.get(PATH), ada.get(PATH)
    assert press(ada, shown, "Remove access of Web").status_code == 303
    assert press(ada, in_another_tab, "Remove access of Web").status_code == 404


def test_a_live_token_of_before_is_gone_for_good(ada, seed):
    refresh_token = a_refresh_token()
    seed(a_token(refresh_token))
    remove(ada, "web")
    answer = ada.post("/oauth/token", data=refresh_request(refresh_token), auth=basic())
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_grant")
