"""What was on its way when an operator ended it: a code, a refresh token, a stolen session.

None of them is good any more.
"""

import pytest

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
from tests.conftest import Browser
from tests.pages.steps import page, sign_in

CODE = "ost_ac_" + "c" * 43
NEW_PASSWORD = "another horse battery"
ENDS = {
    "the password is new": ("users", "set-password", "ada@example.com", "--password-stdin"),
    "disabled": ("users", "disable", "ada@example.com"),
    "removed": ("users", "remove", "ada@example.com"),
    "signed out": ("users", "sign-out", "ada@example.com"),
}
ENDS_OF_TOKENS = ENDS | {
    "taken back at this client": ("tokens", "revoke", "--user", "ada@example.com", "--client", "web"),
    "taken back everywhere": ("tokens", "revoke", "--user", "ada@example.com"),
    "the client's are ended": ("tokens", "revoke", "--client", "web"),
    "the client is gone": ("clients", "remove", "web"),
}


@pytest.fixture
def ada(app, seed):
    """Ada at the client "web": a code on its way, and a refresh token."""
    app.test_client_class = Browser
    token = a_refresh_token()
    seed(a_user(), a_client(), a_code(CODE), a_token(token))
    return token


@pytest.mark.threat("T039", "T086")
@pytest.mark.parametrize(
    "request_for", [lambda _token: code_request(CODE), refresh_request], ids=["code", "refresh"]
)
@pytest.mark.parametrize("command", ENDS_OF_TOKENS.values(), ids=ENDS_OF_TOKENS)
def test_neither_a_code_nor_a_refresh_token_is_worth_anything(flask, http, ada, command, request_for):
    assert flask(*command, input=NEW_PASSWORD).exit_code == 0
    answer = http.post("/oauth/token", data=request_for(ada), auth=basic())
    assert answer.json["error"] == ("invalid_client" if command[0] == "clients" else "invalid_grant")


@pytest.mark.threat("T095")
@pytest.mark.parametrize("command", ENDS.values(), ids=ENDS)
def test_nor_is_a_stolen_session_cookie(app, flask, http, ada, command):
    sign_in(http)
    thief = app.test_client()
    stolen = http.get_cookie("__Host-ostiary", domain="op.example").value
    thief.set_cookie("__Host-ostiary", stolen, domain="op.example", secure=True)
    assert page(thief.get("/")).headings == ["Hello, Ada"]
    assert flask(*command, input=NEW_PASSWORD).exit_code == 0
    for browser in (thief, http):
        assert page(browser.get("/")).headings == ["One account for your applications"]
