"""Authorization requests that say too much, too little, or the same thing twice, and those that were changed
on the way.
"""

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlalchemy import func

from models import AuthorizationCode, AuthorizationTicket
from tests.builders import (
    CHALLENGE,
    REDIRECT_URI,
    VERIFIER,
    a_client,
    a_public_client,
    a_user,
    basic,
    code_request,
)
from tests.pages.steps import answer_to_client, ask, authorization_path, page, press, sign_in
from tests.statements import select

COUNT_CODES = select(func.count()).select_from(AuthorizationCode)
COUNT_TICKETS = select(func.count()).select_from(AuthorizationTicket)
FORM = "application/x-www-form-urlencoded"
PARAMETERS = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request_uri",
    "request",
    "unknown",
]


@pytest.fixture
def ada(http, seed):
    """A browser that Ada is signed in with."""
    seed(a_user(), a_client(scope="profile email"), a_public_client())
    sign_in(http)
    return http


def is_refused(answer):
    """A page, or `invalid_request` at the registered address; never another address."""
    if answer.status_code == 400:
        return "Location" not in answer.headers and page(answer).headings == ["This link does not work"]
    return answer_to_client(answer)["error"] == ["invalid_request"]


# ---- the same twice ----------------------------------------------------------------------------------------


@pytest.mark.threat("T019")
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize(
    "values", [("the same", "the same"), ("one", "another"), ("", ""), ("one", "")], ids=str
)
def test_a_parameter_is_given_once(ada, rows, name, values):
    twice = "".join(f"&{name}={quote(value)}" for value in values)
    assert is_refused(ada.get(authorization_path(**{name: None}) + twice))
    assert rows(COUNT_TICKETS) == [(0,)]


@pytest.mark.threat("T019")
@pytest.mark.parametrize("name", PARAMETERS)
def test_also_in_a_clients_own_form(ada, rows, name):
    path, _mark, query = authorization_path(**{name: "one"}).partition("?")
    answer = ada.post(path, data=f"{query}&{name}=one", content_type=FORM)
    assert is_refused(ada.get(answer.headers["Location"]))
    assert rows(COUNT_TICKETS) == [(0,)]


@pytest.mark.threat("T020")
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("in_address", ["one", "another", ""])
def test_nor_is_it_given_once_in_the_address_and_once_in_the_form(ada, rows, name, in_address):
    path, _mark, query = authorization_path(**{name: "one"}).partition("?")
    answer = ada.post(f"{path}?{name}={in_address}", data=query, content_type=FORM)
    assert is_refused(ada.get(answer.headers["Location"]))
    assert rows(COUNT_TICKETS) == [(0,)]


# ---- response types, scopes --------------------------------------------------------------------------------


@pytest.mark.threat("T021")
@pytest.mark.parametrize(
    "response_type",
    ["token", "id_token", "code token", "token code", "id_token token", "code id_token token", "CODE", "cod"],
)
def test_only_codes_are_given_out(ada, rows, response_type):
    answer = ada.get(authorization_path(response_type=response_type))
    assert answer_to_client(answer)["error"] == ["unsupported_response_type"]
    assert "#" not in answer.headers["Location"]
    assert rows(COUNT_TICKETS) == [(0,)]


TOO_MUCH = {
    "not registered": "read",
    "one of two": "profile read",
    "in other letters": "PROFILE",
    "with a comma": "profile,email",
    "with a tab": "profile\tread",
    "with another blank": "profile\u00a0read",
    "encoded twice": "profile%20read",
    "openid": "openid profile",
    "10,000 words": " ".join(f"s{number}" for number in range(10_000)),
    "10,000 times one word and another": "profile " * 10_000 + "read",
}


@pytest.mark.threat("T023")
@pytest.mark.parametrize("scope", TOO_MUCH.values(), ids=TOO_MUCH)
def test_no_scope_is_granted_that_is_not_registered(ada, rows, scope):
    answer = ada.get(authorization_path(scope=scope))
    if answer.status_code == 400:
        assert page(answer).headings == ["This link does not work"]
    else:
        assert answer_to_client(answer)["error"] == ["invalid_scope"]
    assert rows(COUNT_TICKETS) == rows(COUNT_CODES) == [(0,)]


@pytest.mark.threat("T023")
def test_a_repeated_scope_is_granted_once(ada, rows):
    answer_to_client(press(ada, ask(ada, scope="profile  profile email profile"), "Allow"))
    assert rows(select(AuthorizationCode.scope)) == [("profile email",)]


# ---- the answer --------------------------------------------------------------------------------------------


@pytest.mark.threat("T027")
@pytest.mark.parametrize("registered", [REDIRECT_URI, f"{REDIRECT_URI}?a=b", "com.example.app:/cb"])
def test_every_answer_says_once_who_gives_it(http, seed, registered):
    """Allow, Deny, a remembered consent, an error: `answer_to_client` compares `iss` with the issuer."""
    seed(a_user(), a_client(redirect_uris=[registered]))
    sign_in(http)

    def answers():
        yield press(http, ask(http, redirect_uri=registered), "Deny")
        yield press(http, ask(http, redirect_uri=registered), "Allow")
        yield http.get(authorization_path(redirect_uri=registered))
        yield http.get(authorization_path(redirect_uri=registered, iss="https://evil.example"))
        yield http.get(authorization_path(redirect_uri=registered, response_type="token"))

    for answer in answers():
        location = answer.headers["Location"]
        assert location.startswith(registered)
        assert parse_qs(urlsplit(location).query)["iss"] == ["https://op.example"]
        assert len(re.findall(r"[?&]iss=", location)) == 1


@pytest.mark.threat("T028")
@pytest.mark.parametrize(
    "raw", ["x", "%C3%A4+%20%2B%26%3D%2F%3F%23", "%2500", "a" * 4_096, "%22%3E%3Cscript%3E", "%20"]
)
def test_state_comes_back_with_an_error_too(http, seed, raw):
    seed(a_client())
    answer = http.get(authorization_path(state=None, response_type="token") + f"&state={raw}")
    sent = parse_qs(f"state={raw}")["state"]
    assert answer_to_client(answer)["state"] == sent


@pytest.mark.threat("T028")
def test_and_none_where_there_was_none(http, seed):
    seed(a_client())
    assert "state" not in answer_to_client(http.get(authorization_path(state=None, response_type="token")))


@pytest.mark.threat("T029")
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH"])
def test_no_other_method_gives_out_a_code(ada, rows, method):
    """Consent is remembered: GET would answer with a code at once."""
    press(ada, ask(ada), "Allow")
    answer = ada.open(authorization_path(), method=method)
    assert answer.status_code == 405
    assert "Location" not in answer.headers
    assert rows(COUNT_CODES) == [(1,)]
    assert "code" in answer_to_client(ada.get(authorization_path()))


@pytest.mark.threat("T107")
def test_an_answer_with_a_code_is_kept_nowhere(ada):
    for answer in (press(ada, ask(ada), "Allow"), ada.get(authorization_path())):
        assert "code" in answer_to_client(answer)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


# ---- PKCE --------------------------------------------------------------------------------------------------


WITHOUT_CHALLENGE = {"code_challenge": None, "code_challenge_method": None}


@pytest.mark.threat("T041", "T046")
@pytest.mark.parametrize("client_id", ["spa", "web"])
@pytest.mark.parametrize("signed_in", [False, True])
def test_without_a_challenge_nobody_is_asked_to_sign_in(http, seed, rows, client_id, signed_in):
    """Whoever takes the challenge out of a request gets no code for it, whatever kind of client it was."""
    seed(a_user(), a_client(), a_public_client())
    if signed_in:
        sign_in(http)
    members = answer_to_client(http.get(authorization_path(client_id=client_id, **WITHOUT_CHALLENGE)))
    assert members["error"] == ["invalid_request"]
    assert rows(COUNT_TICKETS) == [(0,)]


@pytest.mark.threat("T046")
def test_a_challenge_is_not_taken_out_of_a_pending_request(ada, rows):
    """Neither beside the ticket in the address, nor in the form."""
    shown = ask(ada)
    form = page(shown).form("Allow").filled("Allow")
    ada.get(f"/oauth/authorize?ticket={form['ticket']}&code_challenge=")
    ada.post("/oauth/authorize", data=form | {"code_challenge": "", "code_challenge_method": "plain"})
    assert rows(select(AuthorizationCode.code_challenge)) == [(CHALLENGE,)]


@pytest.mark.threat("T044")
@pytest.mark.parametrize("method", ["plain", "PLAIN", "S512", "s256", "S256 ", "none", "", None])
@pytest.mark.parametrize("client_id", ["spa", "exempted"])
def test_s256_is_the_only_method(http, seed, client_id, method):
    seed(a_client(client_id="exempted", require_pkce=False), a_public_client())
    answer = http.get(authorization_path(client_id=client_id, code_challenge_method=method))
    assert answer_to_client(answer)["error"] == ["invalid_request"]


@pytest.mark.threat("T044")
@pytest.mark.parametrize("client_id", ["spa", "exempted"])
def test_a_method_without_a_challenge(http, seed, client_id):
    seed(a_client(client_id="exempted", require_pkce=False), a_public_client())
    answer = http.get(authorization_path(client_id=client_id, code_challenge=None))
    assert answer_to_client(answer)["error"] == ["invalid_request"]


@pytest.mark.threat("T045")
@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE[:42],
        CHALLENGE * 3,
        "x" * 129,
        CHALLENGE[:42] + "=",
        CHALLENGE + "=",
        "+" * 43,
        "/" * 43,
        "." * 43,
        VERIFIER[:1],
    ]
    + [CHALLENGE[:42] + "~", CHALLENGE[:42] + " ", " " + CHALLENGE],
)
@pytest.mark.parametrize("client_id", ["spa", "exempted"])
def test_a_challenge_has_one_form(http, seed, client_id, challenge):
    seed(a_client(client_id="exempted", require_pkce=False), a_public_client())
    answer = http.get(authorization_path(client_id=client_id, code_challenge=challenge))
    assert answer_to_client(answer)["error"] == ["invalid_request"]


@pytest.mark.threat("T047")
def test_a_challenge_may_come_again_and_each_code_keeps_its_own_request(ada, rows):
    """RFC 7636 asks nothing of the server here; what is bound to a challenge is one code."""
    codes = [answer_to_client(press(ada, ask(ada), "Allow"))["code"][0]]
    codes += [
        answer_to_client(ada.get(authorization_path(nonce="the same")))["code"][0] for _time in range(2)
    ]
    assert rows(COUNT_CODES) == [(3,)]
    for code in codes:
        wrong = ada.post("/oauth/token", data=code_request(code, code_verifier="w" * 43), auth=basic())
        assert wrong.json["error"] == "invalid_grant"
        assert ada.post("/oauth/token", data=code_request(code), auth=basic()).status_code == 200
