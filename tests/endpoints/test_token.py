"""`POST /oauth/token`: the front guard and client authentication (RFC 6749 §2.3, §3.2, §5.2)."""

from base64 import b64encode

import pytest
from sqlalchemy import func

from models import Token
from tests.builders import (
    CLIENT_SECRET,
    a_client,
    a_code,
    a_machine,
    a_public_client,
    a_user,
    basic,
    code_request,
)
from tests.statements import select

CODE = "ost_ac_" + "c" * 43
MACHINE = {"grant_type": "client_credentials"}
COUNT_TOKENS = select(func.count()).select_from(Token)


@pytest.fixture
def post(http):
    def post(data=None, **rest):
        return http.post("/oauth/token", data=data, **rest)

    return post


def with_header(text):
    return {"Authorization": text}


def encoded(user_pass):
    return b64encode(user_pass if isinstance(user_pass, bytes) else user_pass.encode()).decode()


# ---- the request as such -----------------------------------------------------------------------------------


@pytest.mark.threat("T067")
def test_no_grant_type(post, seed):
    seed(a_machine())
    assert post({"x": "y"}, auth=basic("robot")).json["error"] == "invalid_request"


@pytest.mark.threat("T067")
@pytest.mark.parametrize("grant_type", ["password", "implicit", "urn:x", 'quo"ted'])
def test_an_unknown_grant_type(post, seed, grant_type):
    seed(a_machine())
    answer = post({"grant_type": grant_type}, auth=basic("robot"))
    assert (answer.status_code, answer.json["error"]) == (400, "unsupported_grant_type")
    assert 'quo"ted' not in answer.text


def test_a_parameter_without_a_value_counts_as_left_out(post, seed):
    """RFC 6749 §3.2; some client libraries send `client_secret=` for a public client."""
    seed(a_user(), a_client(), a_public_client(), a_machine())
    assert post({"grant_type": ""}, auth=basic("robot")).json["error"] == "invalid_request"
    assert (
        post(MACHINE | {"scope": "", "client_id": "", "client_secret": ""}, auth=basic("robot")).status_code
        == 200
    )
    seed(a_code(CODE), a_code("another", client_id="spa"))
    assert post(code_request(CODE, redirect_uri=""), auth=basic()).status_code == 200
    assert post(code_request("another", client_id="spa", client_secret="")).status_code == 200


def test_a_blank_scope_is_no_scope(post, seed):
    seed(a_machine())
    assert post(MACHINE | {"scope": "  "}, auth=basic("robot")).json["error"] == "invalid_scope"


@pytest.mark.threat("T054")
def test_parameters_in_the_url_are_refused(post, seed, rows):
    seed(a_machine())
    answer = post(MACHINE, auth=basic("robot"), query_string={"scope": "read"})
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T067", "T073")
@pytest.mark.parametrize("name", ["grant_type", "scope", "client_id", "x"])
def test_a_repeated_parameter_is_refused(post, seed, name):
    seed(a_machine())
    body = f"grant_type=client_credentials&{name}=a&{name}=a"
    answer = post(body, content_type="application/x-www-form-urlencoded", auth=basic("robot"))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.threat("T072")
@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain", ""]
)
def test_only_forms_are_read(post, seed, content_type):
    seed(a_machine())
    answer = post("grant_type=client_credentials", content_type=content_type, auth=basic("robot"))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.threat("T072")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_post(http, method):
    answer = http.open("/oauth/token", method=method)
    assert answer.status_code == 405
    assert answer.json["error"] == "invalid_request"
    assert "POST" in answer.headers["Allow"]
    assert "Set-Cookie" not in answer.headers


@pytest.mark.threat("T165")
def test_a_large_body_is_413(post):
    answer = post({"grant_type": "x" * 100_000})
    assert answer.status_code == 413
    assert answer.json["error"] == "invalid_request"


@pytest.mark.thorough
@pytest.mark.threat("T037")
@pytest.mark.parametrize("value", ["\0", "a\0b", "a\nb", "\x7f", "é", "\ud800", "😀", "%ff", "x" * 5000])
@pytest.mark.parametrize("name", ["code", "redirect_uri", "code_verifier", "client_id", "grant_type"])
def test_strange_characters_are_a_registered_error(post, seed, name, value):
    seed(a_user(), a_client(), a_code(CODE))
    body = code_request(CODE, **{name: value})
    if "\ud800" in value:
        body[name] = value.encode("utf-8", "surrogatepass")
    answer = post(body, auth=basic())
    assert answer.status_code in (400, 401)
    registered = {
        "invalid_request",
        "invalid_grant",
        "invalid_client",
        "invalid_scope",
        "unsupported_grant_type",
    }
    assert answer.json["error"] in registered
    assert value not in answer.text


@pytest.mark.parametrize("value", ["\0", "read\0", "re\nad", "é", "%ff", 'qu"ote', "back\\slash"])
def test_strange_scopes_are_a_registered_error(post, seed, value):
    seed(a_machine())
    answer = post(MACHINE | {"scope": value}, auth=basic("robot"))
    assert (answer.status_code, answer.json["error"]) in [(400, "invalid_request"), (400, "invalid_scope")]
    assert value not in answer.text


# ---- the client --------------------------------------------------------------------------------------------


@pytest.mark.threat("T049", "T052", "T053")
@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + encoded("web"),
        "Basic " + encoded(b"\xff\xfe:\xff"),
        "Basic " + encoded("web:wrong"),
        "Basic " + encoded("web:"),
        "Basic " + encoded(":" + CLIENT_SECRET),
        "Basic " + encoded("web:" + CLIENT_SECRET + " "),
        "Basic " + encoded("web:sécret"),
        "Basic " + encoded("nobody:" + CLIENT_SECRET),
        "Basic " + encoded("we\0b:" + CLIENT_SECRET),
        "Bearer " + CLIENT_SECRET,
        "Negotiate x",
    ],
)
def test_a_client_that_does_not_prove_itself(post, seed, rows, header):
    seed(a_user(), a_client(), a_code(CODE))
    answer = post(code_request(CODE), headers=with_header(header))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="ostiary"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T049")
def test_unknown_and_wrong_are_told_alike(post, seed):
    seed(a_client())
    answers = [
        post(code_request(CODE), auth=auth)
        for auth in (basic(secret="wrong"), basic("nobody"), basic("spa", "x"))
    ]
    assert (
        len({(answer.status_code, answer.text, answer.headers["WWW-Authenticate"]) for answer in answers})
        == 1
    )


@pytest.mark.threat("T048")
def test_no_authentication_by_a_confidential_client(post, seed):
    seed(a_user(), a_client(), a_code(CODE))
    answer = post(code_request(CODE, client_id="web"))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.threat("T055", "T162")
@pytest.mark.parametrize("registered", ["client_secret_basic", "client_secret_post", "none"])
@pytest.mark.parametrize("used", ["client_secret_basic", "client_secret_post", "none"])
def test_each_method_only_where_it_is_registered(post, seed, registered, used):
    digest = None if registered == "none" else a_client().client_secret_digest
    seed(
        a_user(),
        a_client(token_endpoint_auth_method=registered, client_secret_digest=digest),
        a_code(CODE),
    )
    if used == "client_secret_basic":
        answer = post(code_request(CODE), auth=basic())
    elif used == "client_secret_post":
        answer = post(code_request(CODE, client_id="web", client_secret=CLIENT_SECRET))
    else:
        answer = post(code_request(CODE, client_id="web"))
    assert answer.status_code == (200 if used == registered else 401)


@pytest.mark.threat("T050")
def test_two_ways_at_once_are_refused(post, seed):
    seed(a_user(), a_client(), a_code(CODE))
    answer = post(code_request(CODE, client_id="web", client_secret=CLIENT_SECRET), auth=basic())
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.threat("T051")
def test_client_id_in_the_body_must_be_that_of_the_header(post, seed):
    seed(a_user(), a_client(), a_public_client(), a_code(CODE))
    assert post(code_request(CODE, client_id="spa"), auth=basic()).status_code == 401
    assert post(code_request(CODE, client_id="web"), auth=basic()).status_code == 200


@pytest.mark.threat("T052")
def test_basic_is_form_encoded(post, seed):
    seed(a_machine(client_id="ro bot:1", client_secret_digest=None))
    answer = post(MACHINE, headers=with_header("Basic " + encoded("ro+bot%3A1:secret")))
    assert answer.status_code == 401  # found, and without a secret nothing is right
    from crypto.credentials import digest

    seed(a_machine(client_id="ro bot:2", client_secret_digest=digest("s%c:r")))
    answer = post(MACHINE, headers=with_header("Basic " + encoded("ro+bot%3A2:s%25c%3Ar")))
    assert answer.status_code == 200
