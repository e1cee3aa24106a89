"""`POST /oauth/token`: proofs that prove nothing, grants that there are not, and requests of another form
(RFC 6749 §2.3, §3.2).
"""

from base64 import b64encode
from urllib.parse import urlencode

import pytest
from sqlalchemy import func

from crypto.credentials import digest
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
OTHER_SECRET = "ost_cs_" + "o" * 43
FORM = "application/x-www-form-urlencoded"
JWT = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ3ZWIifQ."
COUNT_TOKENS = select(func.count()).select_from(Token)


@pytest.fixture
def post(http, seed):
    """A request to the token endpoint of a server with clients of each kind."""
    seed(
        a_user(),
        a_client(),
        a_client(client_id="post", token_endpoint_auth_method="client_secret_post"),
        a_client(client_id="other", client_secret_digest=digest(OTHER_SECRET)),
        a_client(client_id="empty", client_secret_digest=digest("")),
        a_machine(),
        a_public_client(),
        a_code(CODE),
    )
    return lambda data=None, **rest: http.post("/oauth/token", data=data, **rest)


# ---- proofs ------------------------------------------------------------------------------------------------

WRONG_SECRETS = {
    "wrong": "ost_cs_" + "w" * 43,
    "empty": "",
    "another client's": OTHER_SECRET,
    "and a blank": CLIENT_SECRET + " ",
    "a blank and": " " + CLIENT_SECRET,
    "cut": CLIENT_SECRET[:-1],
    "longer": CLIENT_SECRET + "s",
    "in other letters": CLIENT_SECRET.upper(),
    "its digest": digest(CLIENT_SECRET).hex(),
}


@pytest.mark.threat("T049")
@pytest.mark.parametrize("secret", WRONG_SECRETS.values(), ids=WRONG_SECRETS)
def test_no_other_secret_will_do(post, rows, secret):
    in_header = post(code_request(CODE), auth=("web", secret))
    in_body = post(code_request(CODE, client_id="post", client_secret=secret))
    for answer in (in_header, in_body):
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert in_header.json == in_body.json
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T049")
def test_an_empty_secret_proves_nothing_even_where_it_is_the_right_one(post):
    for how in ({"auth": ("empty", "")}, {"data": {"client_id": "empty", "client_secret": ""}}):
        body = {"grant_type": "authorization_code", "code": CODE} | how.pop("data", {})
        assert post(body, **how).status_code in (400, 401)


@pytest.mark.threat("T050")
@pytest.mark.parametrize(
    "more",
    [
        {"client_id": "web", "client_secret": CLIENT_SECRET},
        {"client_secret": CLIENT_SECRET},
        {"client_id": "post", "client_secret": CLIENT_SECRET},
        {
            "client_assertion": JWT,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        },
    ],
)
def test_two_proofs_at_once_are_a_malformed_request(post, rows, more):
    for auth in (basic(), basic(secret="wrong")):
        answer = post(code_request(CODE, **more), auth=auth)
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T050")
def test_so_are_two_in_one_body(post, rows):
    body = code_request(CODE, client_id="post", client_secret=CLIENT_SECRET, client_assertion=JWT)
    answer = post(body)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T053")
@pytest.mark.parametrize("secret", ["s\u00e9cret", "\U0001f600", "\u0430" * 50, "\u00ff"])
def test_a_secret_that_is_not_ascii_is_merely_wrong(post, secret):
    encoded = b64encode(f"web:{secret}".encode()).decode()
    answer = post(code_request(CODE), headers={"Authorization": f"Basic {encoded}"})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    answer = post(code_request(CODE, client_id="post", client_secret=secret))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


@pytest.mark.threat("T053")
@pytest.mark.parametrize("secret", ["\ufffd", "x\0", "a\nb", "\x7f"])
def test_a_secret_with_control_characters_is_malformed_in_a_body_and_wrong_in_a_header(post, secret):
    encoded = b64encode(f"web:{secret}".encode()).decode()
    answer = post(code_request(CODE), headers={"Authorization": f"Basic {encoded}"})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    answer = post(code_request(CODE, client_id="post", client_secret=secret))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.threat("T054")
@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
@pytest.mark.parametrize(
    "query",
    [
        {"client_id": "post", "client_secret": CLIENT_SECRET},
        {"client_secret": CLIENT_SECRET},
        {"client_id": "spa"},
        {"code": CODE},
        {"refresh_token": "x"},
        {"token": "x"},
        {"access_token": "x"},
        {"code_verifier": "v" * 43},
        {"client_assertion": JWT},
    ],
    ids=str,
)
def test_no_credential_is_read_from_the_address(post, http, rows, path, query):
    """Refused whoever sends it: otherwise it would go on standing in logs without anybody noticing."""
    for auth, more in ((basic(), {}), (None, {}), (None, {"client_id": "spa"})):
        answer = http.post(
            path, data=code_request(CODE) | {"token": "x"} | more, query_string=query, auth=auth
        )
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(COUNT_TOKENS) == [(0,)]


# ---- grants ------------------------------------------------------------------------------------------------

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
GRANTS_THERE_ARE_NOT = {
    "password": {"username": "ada@example.com", "password": "x"},
    "implicit": {},
    "none": {},
    "refresh-token": {"refresh_token": "x"},
    "AUTHORIZATION_CODE": {"code": CODE},
    "authorization_code ": {"code": CODE},
    "urn:ietf:params:oauth:grant-type:device_code": {"device_code": "x"},
    "urn:openid:params:grant-type:ciba": {"auth_req_id": "x"},
}


@pytest.mark.threat("T067")
@pytest.mark.parametrize("grant_type", GRANTS_THERE_ARE_NOT)
@pytest.mark.parametrize("client_id", ["web", "robot"])
def test_there_is_no_such_grant(post, rows, grant_type, client_id):
    answer = post({"grant_type": grant_type} | GRANTS_THERE_ARE_NOT[grant_type], auth=basic(client_id))
    assert (answer.status_code, answer.json["error"]) == (400, "unsupported_grant_type")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T067")
@pytest.mark.parametrize(
    "body", ["grant_type=", "grant_type", "grant_type=client_credentials&grant_type=client_credentials", ""]
)
def test_a_grant_is_named_and_once(post, body):
    answer = post(body, content_type=FORM, auth=basic("robot"))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.threat("T069", "T070")
@pytest.mark.parametrize("kind", ["jwt-bearer", "saml2-bearer"])
@pytest.mark.parametrize("auth", [basic(), basic("robot"), None])
def test_nobodys_assertion_becomes_a_token(post, rows, kind, auth):
    body = {"grant_type": f"urn:ietf:params:oauth:grant-type:{kind}", "assertion": JWT, "scope": "read"}
    answer = post(body, auth=auth)
    assert (answer.status_code, answer.json["error"]) == (400, "unsupported_grant_type")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T070", "T071")
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"actor_token": "x", "actor_token_type": ACCESS_TOKEN_TYPE},
        {"scope": "profile email read"},
        {"audience": "https://other.example", "resource": "https://other.example/api"},
    ],
    ids=str,
)
def test_no_token_is_exchanged_for_another(post, rows, more):
    pair = post(code_request(CODE), auth=basic()).json
    body = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": pair["access_token"],
        "subject_token_type": ACCESS_TOKEN_TYPE,
    }
    for client_id in ("web", "robot"):
        answer = post(body | more, auth=basic(client_id))
        assert (answer.status_code, answer.json["error"]) == (400, "unsupported_grant_type")
    assert rows(COUNT_TOKENS) == [(1,)]


# ---- the form of a request ---------------------------------------------------------------------------------


@pytest.mark.threat("T026")
def test_unknown_parameters_are_ignored_here_too(post):
    assert (
        post(code_request(CODE, foo="bar", resource_id="x", iss="y", admin="true"), auth=basic()).status_code
        == 200
    )


MACHINE = "grant_type=client_credentials"


@pytest.mark.threat("T072")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", FORM),
        ("", ""),
        (MACHINE, ""),
        (MACHINE, "text/plain"),
        (MACHINE, FORM + "x"),
        (MACHINE, "application/x-www-form-urlencoded, text/plain"),
        ('{"grant_type": "client_credentials"}', "application/json"),
        ('{"grant_type": "client_credentials"}', FORM),
        (
            f'--x\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\n{MACHINE[11:]}\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (MACHINE.encode("utf-16"), FORM + "; charset=utf-16"),
        (MACHINE.encode("utf-16"), FORM),
        (MACHINE.encode("cp037"), FORM + "; charset=ebcdic"),
        ((MACHINE + "&scope=\u00e9").encode("latin-1"), FORM + "; charset=iso-8859-1"),
        ((MACHINE + "&scope=\u00e9").encode(), FORM),
    ],
)
def test_a_request_is_a_form_in_utf_8(post, rows, body, content_type):
    answer = post(body, content_type=content_type, auth=basic("robot"))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T072")
@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_and_comes_by_post(http, path):
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = http.open(f"{path}?grant_type=client_credentials&token=x", method=method, auth=basic())
        assert answer.status_code == 405
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.threat("T073")
@pytest.mark.parametrize(
    "values", [("the right one", "the right one"), ("the right one", "x"), ("x", "the right one"), ("", "")]
)
@pytest.mark.parametrize(
    "name",
    [
        "grant_type",
        "code",
        "redirect_uri",
        "code_verifier",
        "client_id",
        "client_secret",
        "refresh_token",
        "scope",
        "x",
    ],
)
def test_a_parameter_is_given_once(post, rows, name, values):
    right = code_request(CODE, client_id="post", client_secret=CLIENT_SECRET)
    others = [(key, value) for key, value in right.items() if key != name]
    twice = [(name, right.get(name, "x") if value == "the right one" else value) for value in values]
    answer = post(urlencode(others + twice), content_type=FORM)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(COUNT_TOKENS) == [(0,)]
