"""What is wrong with an authorization request, and who is told (RFC 6749 §4.1.2.1): the person, on a page,
where the client or its redirect URI is in doubt; the client, by a redirect, in every other case.
"""

import re

import pytest
from sqlalchemy import func

from models import AuthorizationTicket
from tests.builders import CHALLENGE, ISSUER, REDIRECT_URI, a_client, a_machine, a_user
from tests.openid import an_openid_client
from tests.pages.steps import answer_to_client, authorization_path, page, sign_in
from tests.statements import select

COUNT_TICKETS = select(func.count()).select_from(AuthorizationTicket)


@pytest.fixture(params=["signed out", "signed in"])
def browser(request, http, seed):
    """Refused before any sign-in page is shown, and for a person who is signed in just the same."""
    seed(a_user(), a_client(), a_machine())
    seed(a_client(client_id="two", redirect_uris=[REDIRECT_URI, "https://app.example/other"]))
    seed(an_openid_client(client_id="openid"))
    if request.param == "signed in":
        sign_in(http)
    return http


FOR_A_PAGE = {
    "no client": {"client_id": None},
    "empty client": {"client_id": ""},
    "unknown client": {"client_id": "nobody"},
    "NUL in client": {"client_id": "web\0"},
    "client in other letters": {"client_id": "WEB"},
    "client without this grant": {"client_id": "robot", "redirect_uri": None},
    "two registered, none named": {"client_id": "two", "redirect_uri": None},
    "redirect_uri too long": {"redirect_uri": "https://app.example/cb?" + "x" * 3_000},
}
UNREGISTERED = [
    "https://evil.example",
    "https://app.example/cb/",
    "https://app.example/cb/x",
    "https://app.example/cb?a=b",
    "https://app.example/cb#x",
    "https://app.example/cb/../cb",
    "https://app.example/%63b",
    "https://app.example//cb",
    "https://app.example:443/cb",
    "https://APP.example/cb",
    "HTTPS://app.example/cb",
    "http://app.example/cb",
    "https://app.example.evil.example/cb",
    "https://app.example@evil.example/cb",
    "https://evil.example\\@app.example/cb",
    "https://app.example/cb\r\nX: y",
    "https://app.example/cb ",
    "https://app.example/cb\0",
    "https://app.example/c\u0431",
    "//app.example/cb",
    "/cb",
    "javascript:alert(1)",
    "data:text/html,x",
    "http://[::1",
    "http://[not-an-ip]/",
    "http://127.0.0.1:80@evil.example/",
]


@pytest.mark.threat("T001", "T002", "T003", "T004", "T018")
@pytest.mark.parametrize(
    "changed",
    [*FOR_A_PAGE.values(), *({"redirect_uri": uri} for uri in UNREGISTERED)],
    ids=[*FOR_A_PAGE, *map(ascii, UNREGISTERED)],
)
def test_a_page_and_no_redirect(browser, rows, changed):
    """Whatever else is wrong with the request."""
    for also_wrong in ({}, {"response_type": "token"}, {"scope": "no\nscope"}, {"code_challenge": ""}):
        answer = browser.get(authorization_path(**also_wrong | changed))
        assert answer.status_code == 400
        assert "Location" not in answer.headers
        assert "Refresh" not in answer.headers
        assert page(answer).headings == ["This link does not work"]
        assert "evil" not in answer.text
        assert rows(COUNT_TICKETS) == [(0,)]


@pytest.mark.threat("T003")
def test_unknown_clients_and_unregistered_addresses_link_nowhere(browser):
    shown = page(browser.get(authorization_path(redirect_uri="https://evil.example")))
    assert {link["href"] for link in shown.all("a")} == {"/"}


@pytest.mark.threat("T019")
@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
@pytest.mark.parametrize("value", ["https://evil.example", "web", REDIRECT_URI, ""])
def test_a_repeated_client_or_redirect_uri(browser, name, value):
    """Even where both say the same, or one of them nothing: who is to be told is in doubt."""
    answer = browser.get(authorization_path() + f"&{name}={value}")
    assert answer.status_code == 400
    assert "Location" not in answer.headers


FOR_THE_CLIENT = {
    "no response_type": ({"response_type": None}, "invalid_request"),
    "empty response_type": ({"response_type": ""}, "invalid_request"),
    "implicit": ({"response_type": "token"}, "unsupported_response_type"),
    "hybrid": ({"response_type": "code id_token"}, "unsupported_response_type"),
    "code twice": ({"response_type": "code code"}, "unsupported_response_type"),
    "none": ({"response_type": "none"}, "unsupported_response_type"),
    "unknown scope": ({"scope": "admin"}, "invalid_scope"),
    "unregistered scope": ({"scope": "profile read"}, "invalid_scope"),
    "many scopes": ({"scope": " ".join(f"s{number}" for number in range(500))}, "invalid_scope"),
    "no challenge": ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    "method without challenge": ({"code_challenge": None}, "invalid_request"),
    "challenge without method": ({"code_challenge_method": None}, "invalid_request"),
    "plain": ({"code_challenge_method": "plain"}, "invalid_request"),
    "unknown method": ({"code_challenge_method": "S512"}, "invalid_request"),
    "method in other letters": ({"code_challenge_method": "s256"}, "invalid_request"),
    "empty challenge": ({"code_challenge": ""}, "invalid_request"),
    "short challenge": ({"code_challenge": CHALLENGE[:-1]}, "invalid_request"),
    "long challenge": ({"code_challenge": CHALLENGE + "x"}, "invalid_request"),
    "padded challenge": ({"code_challenge": CHALLENGE[:-1] + "="}, "invalid_request"),
}


@pytest.mark.threat("T021", "T023", "T027", "T044", "T045", "T046")
@pytest.mark.parametrize(("changed", "error"), FOR_THE_CLIENT.values(), ids=FOR_THE_CLIENT)
def test_a_redirect_with_error_state_and_iss(browser, rows, changed, error):
    """Before any sign-in page: nobody signs in for a request that cannot succeed."""
    answer = browser.get(authorization_path(**changed))
    members = answer_to_client(answer)
    assert members["error"] == [error]
    assert members["state"] == ["the state"]
    assert set(members) <= {"error", "error_description", "state", "iss"}
    assert all(len(values) == 1 for values in members.values())
    assert answer.headers["Cache-Control"] == "no-store"
    assert rows(COUNT_TICKETS) == [(0,)]


BEYOND_ASCII = "naïve Ж 漢字 👩\u200d🚀"
# What the front guard refuses before the request is read: as it is added to a request, whether its state is
# well-formed, the error.
FOR_THE_GUARD = {
    "state with a line feed": ("&state=a%0Ab", False, "invalid_request"),
    "state with NUL": ("&state=%00", False, "invalid_request"),
    "state too long": ("&state=" + "x" * 8_193, False, "invalid_request"),
    "state twice": ("&state=a&state=b", False, "invalid_request"),
    "state twice the same": ("&state=a&state=a", False, "invalid_request"),
    "nonce with an escape": ("&state=s&nonce=%1B", True, "invalid_request"),
    "nonce too long": ("&state=s&nonce=" + "n" * 4_097, True, "invalid_request"),
    "nonce twice": ("&state=s&nonce=1&nonce=2", True, "invalid_request"),
    "scope beyond ASCII": ("&state=s&scope=%C3%A9", True, "invalid_scope"),
    "scope too long": ("&state=s&scope=" + "s" * 4_097, True, "invalid_scope"),
    "claims with NUL": ("&state=s&claims=%00", True, "invalid_request"),
    "claims too long": ("&state=s&claims=" + "c" * 8_193, True, "invalid_request"),
    "response_type beyond ASCII": ("&state=s&response_type=%C3%A9", True, "invalid_request"),
    "prompt with a tab": ("&state=s&prompt=%09", True, "invalid_request"),
    "a parameter of nobody twice": ("&state=s&x=1&x=2", True, "invalid_request"),
}


@pytest.mark.threat("T019", "T027", "T185")
@pytest.mark.parametrize(("added", "has_state", "error"), FOR_THE_GUARD.values(), ids=FOR_THE_GUARD)
@pytest.mark.parametrize("by_post", [False, True], ids=["GET", "POST"])
@pytest.mark.parametrize("redirect_uri", [REDIRECT_URI, None], ids=["named", "the only one"])
def test_the_client_hears_what_the_guard_refuses(
    browser, rows, added, has_state, error, by_post, redirect_uri
):
    """RFC 6749 §4.1.2.1: to its redirect URI wherever that and the client are right; with `state` where that
    is one.
    """
    left_out = dict.fromkeys([*re.findall("&([^=]*)=", added), "state"])
    path, _mark, query = (authorization_path(**left_out, redirect_uri=redirect_uri) + added).partition("?")
    if by_post:
        answer = browser.post(path, data=query, content_type="application/x-www-form-urlencoded")
        if answer.headers["Location"].startswith("/"):
            answer = browser.get(answer.headers["Location"])
    else:
        answer = browser.get(f"{path}?{query}")
    members = answer_to_client(answer)
    assert members["error"] == [error]
    assert members.get("state") == (["s"] if has_state else None)
    assert rows(COUNT_TICKETS) == [(0,)]


@pytest.mark.threat("T028", "T185")
@pytest.mark.parametrize("raw", ["%E9", "%ff%fe", "%ed%a0%80", "%00"])
def test_a_state_of_bytes_that_are_no_text_does_not_come_back_as_another(browser, raw):
    members = answer_to_client(browser.get(authorization_path(state=None) + f"&state={raw}"))
    assert members["error"] == ["invalid_request"] and "state" not in members


@pytest.mark.threat("T185")
def test_it_hears_it_in_the_way_it_asked_for(browser):
    answer = browser.get(authorization_path(response_mode="form_post", nonce="a\nb"))
    (form,) = page(answer).forms
    assert (answer.status_code, form.url) == (200, REDIRECT_URI)
    assert (form.fields["error"], form.fields["state"], form.fields["iss"]) == (
        "invalid_request",
        "the state",
        ISSUER,
    )


@pytest.mark.threat("T185")
@pytest.mark.parametrize("redirect_uri", ["https://evil.example", REDIRECT_URI + "\n", "x" * 3_000])
def test_nobody_but_the_client_hears_it(browser, redirect_uri):
    answer = browser.get(authorization_path(redirect_uri=redirect_uri, nonce="\0"))
    assert answer.status_code == 400 and "Location" not in answer.headers


@pytest.mark.threat("T185")
def test_a_form_that_is_too_long_for_an_address(browser):
    """A client's own form becomes a GET: what no address can hold is told at once."""
    path, _mark, query = authorization_path().partition("?")
    more = "&unknown=" + "x" * 20_000
    answer = browser.post(path, data=query + more, content_type="application/x-www-form-urlencoded")
    members = answer_to_client(answer)
    assert (members["error"], members["state"]) == (["invalid_request"], ["the state"])
    query = query.replace("app.example", "evil.example")
    answer = browser.post(path, data=query + more, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400 and "Location" not in answer.headers


@pytest.mark.threat("T028")
@pytest.mark.parametrize("state", [BEYOND_ASCII, "'\"<>&%+", "x" * 8_192])
def test_a_state_in_any_letters_comes_back(browser, state):
    members = answer_to_client(browser.get(authorization_path(state=state, nonce="\0")))
    assert members["state"] == [state]


@pytest.mark.parametrize(
    "claims",
    [
        '{\r\n\t"userinfo":\n\t{\n\t\t"name": null\n\t}\r\n}\n',
        '{"id_token": {"name": {"value": "\x7f\x85"}}}',
    ],
)
def test_json_may_hold_line_breaks(browser, claims):
    answer = browser.get(authorization_path(scope="openid profile", claims=claims, client_id="openid"))
    assert answer.status_code == (303 if "Location" in answer.headers else 200)
    assert "error" not in answer.headers.get("Location", "")


def test_a_client_that_has_lost_the_grant_hears_it(http, seed):
    seed(a_client(grant_types=["client_credentials"]))
    assert answer_to_client(http.get(authorization_path()))["error"] == ["unauthorized_client"]
    answer = http.get(authorization_path(redirect_uri="https://evil.example"))
    assert answer.status_code == 400 and "Location" not in answer.headers


@pytest.mark.threat("T105")
@pytest.mark.parametrize("parameter", ["scope", "response_type", "code_challenge_method"])
def test_a_description_echoes_nothing(browser, parameter):
    answer = browser.get(authorization_path(**{parameter: "<script>evil"}))
    assert "evil" not in answer.headers["Location"]


@pytest.mark.threat("T044")
def test_a_client_that_is_exempted_from_pkce(http, seed):
    seed(a_user(), a_client(require_pkce=False))
    sign_in(http)
    assert http.get(authorization_path(code_challenge=None, code_challenge_method=None)).status_code == 200
    members = answer_to_client(http.get(authorization_path(code_challenge_method="plain")))
    assert members["error"] == ["invalid_request"]


@pytest.mark.threat("T029")
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods(browser, rows, method):
    answer = browser.open(authorization_path(), method=method)
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert rows(COUNT_TICKETS) == [(0,)]


@pytest.mark.threat("T022")
@pytest.mark.parametrize("mode", ["fragment", "form_post.jwt", "query.jwt", "bogus"])
def test_a_response_mode_that_is_not_advertised(browser, mode):
    members = answer_to_client(browser.get(authorization_path(response_mode=mode)))
    assert members["error"] == ["invalid_request"]
    assert "error" not in browser.get(authorization_path(response_mode="query")).headers.get("Location", "")


@pytest.mark.threat("T026")
def test_unknown_parameters_are_ignored(browser):
    answer = browser.get(authorization_path(foo="bar", resources="x", claim="{}"))
    assert answer.status_code == (303 if "Location" in answer.headers else 200)
    assert "error" not in answer.headers.get("Location", "")


@pytest.mark.threat("T106")
def test_no_answer_is_for_other_origins_scripts(browser):
    answer = browser.get(authorization_path(), headers={"Origin": "https://app.example"})
    assert not [name for name, _value in answer.headers if name.startswith("Access-Control")]
