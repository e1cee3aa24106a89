"""Redirect URIs that somebody bent: whoever asks with one gets a page, and nothing leaves for an address that
is not registered.

`tests/protocol/test_redirect_uris.py` has the rule itself, `tests/commands/test_hostile_redirect_uris.py`
what is not registered.
"""

import ast
import inspect
import textwrap

import pytest
from sqlalchemy import func

from grants.authorization_code import AuthorizationCodeGrant
from grants.pkce import S256CodeChallenge
from models import AuthorizationCode, AuthorizationTicket
from protocol import authentication_request, claims, parameters
from tests.builders import CHALLENGE, REDIRECT_URI, VERIFIER, a_client, a_public_client, a_user, code_request
from tests.pages.steps import answer_to_client, ask, authorization_path, page, press, sign_in
from tests.statements import select

EVIL = "https://evil.example/cb"
APP = "com.example.app:/cb"
STORED = select(
    select(func.count()).select_from(AuthorizationTicket).scalar_subquery(),
    select(func.count()).select_from(AuthorizationCode).scalar_subquery(),
)


@pytest.fixture
def send(http, seed, rows):
    """Ask with a redirect URI where another one is registered, and check that the answer is a page."""

    def send(registered, sent):
        seed(a_client(redirect_uris=[registered]))
        answer = http.get(authorization_path(redirect_uri=sent))
        assert answer.status_code == 400
        assert "Location" not in answer.headers and "Refresh" not in answer.headers
        assert page(answer).headings == ["This link does not work"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert "evil" not in answer.text
        assert rows(STORED) == [(0, 0)]

    return send


@pytest.mark.threat("T006")
@pytest.mark.parametrize(
    "added", ["/x", "?a=b", "&a=b", ".evil", "@evil", ":443", ":80@evil", "x", "/.", "%20", "%00", ";x"]
)
@pytest.mark.parametrize(
    "registered", ["https://app.example", "https://app.example/cb", "com.example.app:/cb"]
)
def test_nothing_may_be_added(send, registered, added):
    send(registered, registered + added)


@pytest.mark.threat("T006")
@pytest.mark.parametrize(
    "sent", ["https://app.example/c", "https://app.example/", "https://app.example", "https://app", "h"]
)
def test_nothing_may_be_left_out(send, sent):
    send("https://app.example/cb", sent)


@pytest.mark.threat("T007")
@pytest.mark.parametrize(
    "query", ["", "?", "?tenant=2", "?tenant=1&x=y", "?x=y&tenant=1", "?tenant=1&tenant=1", "?TENANT=1"]
)
def test_a_registered_query_is_part_of_it(send, query):
    send("https://app.example/cb?tenant=1", f"https://app.example/cb{query}")


@pytest.mark.threat("T008")
@pytest.mark.parametrize(
    "sent",
    ["HTTPS://app.example/cb", "Https://app.example/cb", "https://APP.example/cb", "https://app.examplE/cb"]
    + ["https://app.example/CB", "https://app.example/cB"],
)
def test_letter_case_counts(send, sent):
    send("https://app.example/cb", sent)


@pytest.mark.threat("T009")
@pytest.mark.parametrize(
    "path",
    [
        "/cb/",
        "//cb",
        "/cb//",
        "/./cb",
        "/cb/.",
        "/x/../cb",
        "/cb/../evil",
        "/cb/..;/evil",
        "/cb;/../evil",
        "/cb/%2e%2e/evil",
    ]
    + ["/cb/%2E%2E%2Fevil", "/cb/%252e%252e/evil", "/%63b", "/cb%2f", "/cb%252f", "/cb\\..\\evil"],
)
def test_paths_are_not_normalised(send, path):
    send("https://app.example/cb", f"https://app.example{path}")


@pytest.mark.threat("T010")
@pytest.mark.parametrize(
    ("registered", "sent"),
    [
        ("https://foo.example.com/cb", "https://fooXexample.com/cb"),
        ("https://foo.example.com/cb", "https://foo.exampleXcom/cb"),
        ("https://foo.example.com/cb.php", "https://foo.example.com/cbXphp"),
        ("https://*.example.com/cb", "https://evil.example.com/cb"),
        ("https://example.com/*", "https://example.com/evil"),
        ("https://example.com/.*", "https://example.com/evil"),
        ("https://example.com/(cb)?", "https://example.com/cb"),
        ("http://127.0.0.1/cb", "http://127X0X0X1/cb"),
    ],
)
def test_nothing_in_it_is_a_pattern(send, registered, sent):
    send(registered, sent)


@pytest.mark.threat("T011")
@pytest.mark.parametrize("fragment", ["#", "#x", "#/evil", "#?code=x", "%23x"])
def test_it_has_no_fragment(send, fragment):
    send("https://app.example/cb", f"https://app.example/cb{fragment}")


@pytest.mark.threat("T012")
@pytest.mark.parametrize(
    ("registered", "sent"),
    [
        ("http://localhost:80/", "http://localhost:80@evil/"),
        ("http://127.0.0.1/", "http://127.0.0.1@evil/"),
        ("http://127.0.0.1/", "http://127.0.0.1:80@evil/"),
        ("http://127.0.0.1/", "http://evil@127.0.0.1/"),
        ("http://127.0.0.1/", "http://127.0.0.1:1:80/"),
        ("http://[::1]/", "http://[::1]@evil/"),
        ("http://[::1]/", "http://[::1]:80@evil/"),
        ("https://good.example/", "https://good.example@evil/"),
        ("https://good.example/", "https://good.example:x@evil/"),
        ("https://good.example/", "https://good:x@evil/"),
        ("https://good.example/", "https://evil\\@good.example/"),
    ],
)
def test_there_is_nobody_before_the_host(send, registered, sent):
    send(registered, sent)


NATIVE = {
    "client_id": "native",
    "redirect_uris": ["http://127.0.0.1/cb?x=1", "http://[::1]:8000/cb", "http://localhost:3000/cb"],
}


@pytest.mark.threat("T013")
@pytest.mark.parametrize(
    "sent",
    ["http://127.0.0.1/cb?x=1", "http://127.0.0.1:1/cb?x=1", "http://127.0.0.1:65535/cb?x=1"]
    + ["http://[::1]/cb", "http://[::1]:51004/cb", "http://localhost:3000/cb"],
)
def test_a_native_application_listens_on_any_port_of_a_loopback_address(http, seed, sent):
    """And the token endpoint wants the one that was used."""
    seed(a_user(), a_public_client(**NATIVE))
    sign_in(http)
    answer = press(http, ask(http, client_id="native", redirect_uri=sent), "Allow")
    address, _code, code = answer.headers["Location"].partition("&code=" if "?" in sent else "?code=")
    assert address == sent
    body = code_request(code.partition("&")[0], client_id="native")
    assert (
        http.post("/oauth/token", data=body | {"redirect_uri": "http://127.0.0.1:2/cb?x=1"}).json["error"]
        == "invalid_grant"
    )
    assert http.post("/oauth/token", data=body | {"redirect_uri": sent}).status_code == 200


@pytest.mark.threat("T013")
@pytest.mark.parametrize(
    "sent",
    [
        "http://127.0.0.1:5000/cb",
        "http://127.0.0.1:5000/cb?x=2",
        "http://127.0.0.1:5000/cb?x=1&y=2",
        "http://127.0.0.1:5000/cb/?x=1",
        "http://127.0.0.1:5000/CB?x=1",
        "http://127.0.0.1:65536/cb?x=1",
        "http://127.0.0.1:/cb?x=1",
        "http://127.0.0.1:-1/cb?x=1",
        "http://127.0.0.1:+80/cb?x=1",
        "http://127.0.0.1:٨٠/cb?x=1",
        "https://127.0.0.1:5000/cb?x=1",
        "http://127.0.0.2:5000/cb?x=1",
        "http://127.1:5000/cb?x=1",
        "http://0x7f.0.0.1:5000/cb?x=1",
        "http://[::ffff:127.0.0.1]:5000/cb?x=1",
        "http://127.0.0.1.evil:5000/cb?x=1",
        "http://localhost:5000/cb?x=1",
        "http://localhost:3001/cb",
        "http://localhost/cb",
        "http://[0:0:0:0:0:0:0:1]:8000/cb",
    ],
)
def test_and_on_nothing_else(http, seed, sent):
    seed(a_public_client(**NATIVE))
    answer = http.get(authorization_path(client_id="native", redirect_uri=sent))
    assert answer.status_code == 400
    assert "Location" not in answer.headers


@pytest.mark.threat("T015")
@pytest.mark.parametrize(
    "sent",
    [
        "https://app.example\\evil.example/cb",
        "https:\\\\app.example\\cb",
        "https://app.example/cb\\",
        "https://app.example/cb\t",
        "https://app.ex\tample/cb",
        "https://app.example/cb\r\nLocation: https://evil.example",
        "https://app.example/cb%0d%0aLocation:%20https://evil.example",
        "https://app.example/cb\r\n\r\n<script>",
        "https://app.example/cb\n",
        "https://app.example/cb\0",
        "https://app.example/cb\0.evil.example",
        " https://app.example/cb",
        "https://app.example/c b",
        "https://app.example/cb\u00a0",
        "https://app.example/cb\u2028",
        "https://\u0430pp.example/cb",  # a Cyrillic letter
        "https://app\u3002example/cb",  # an ideographic full stop, which IDNA takes for a dot
        "https://\uff41pp.example/cb",
        "https://xn--pp-8cd.example/cb",
        "https://app.example/cb\u0301",
        "\ufeffhttps://app.example/cb",
    ],
    ids=ascii,
)
def test_no_strange_character_gets_through(send, sent):
    send("https://app.example/cb", sent)


@pytest.mark.threat("T015")
@pytest.mark.parametrize("raw", ["%ff", "%c0%af", "%ed%a0%80", "%f5%80%80%80", "%"])
def test_nor_do_bytes_that_are_no_text(http, seed, raw):
    seed(a_client())
    answer = http.get(authorization_path(redirect_uri=None) + f"&redirect_uri=https://app.example/cb{raw}")
    assert answer.status_code == 400
    assert "Location" not in answer.headers


@pytest.mark.threat("T017")
@pytest.mark.parametrize(
    "sent",
    [
        "http://[::1",
        "http://[not-an-ip]/",
        "http://[]/",
        "http://]/",
        "http://[::1]]:80/",
        "http://[v1.x]/",
        "http://:80/",
        "//",
    ]
    + [
        "http://127.0.0.1:99999999999999999999/",
        "https://app.example/cb?" + "x" * 65_536,
        "x" * 65_536,
        "[" * 1_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_malformed_one_is_a_page_and_no_bug(send, sent):
    send("https://app.example/cb", sent)


@pytest.mark.threat("T002", "T003")
def test_an_unknown_client_is_told_like_an_unregistered_redirect_uri(http, seed):
    """Nobody learns from the page which clients there are."""
    seed(a_client())

    def shown(**changed):
        answer = http.get(authorization_path(**changed))
        return answer.status_code, answer.text.replace(answer.headers["Request-Id"], "")

    assert shown(client_id="nobody") == shown(client_id=None) == shown(redirect_uri=EVIL)


# ---- every error of the endpoint, raise site by raise site -------------------------------------------------


def raised_in(function):
    """The words of every `raise SomeError("…")` in a function; in place of a value there is "…"."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            (words,) = node.exc.args
            if isinstance(words, ast.Constant):
                yield words.value
            elif isinstance(words, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in words.values)
            else:
                yield node.exc.func.id  # its own fixed words


RAISE_SITES = [
    *raised_in(parameters.check_parameters),
    *raised_in(AuthorizationCodeGrant.validate_authorization_request),
    *raised_in(AuthorizationCodeGrant.validate_authorization_redirect_uri),
    *raised_in(authentication_request.parse),
    *raised_in(authentication_request.parse_max_age),
    *dict.fromkeys([*raised_in(claims.parse_parameter), *raised_in(claims.check_individual_request)]),
    *raised_in(S256CodeChallenge.validate_code_challenge),
]
# By raise site: a request that gets there, and the error that its client is told; None where only a page may
# say it.
REQUESTS = {
    "a parameter is given more than once": ("&state=again", {}, "invalid_request"),
    "… is too long": ("", {"state": "x" * 9_000}, "invalid_request"),
    "… has characters that its syntax does not allow": ("", {"scope": "pro\0file"}, "invalid_scope"),
    "the scope is blank": ("", {"scope": "  "}, "invalid_scope"),
    "client_id is missing or unknown": ("", {"client_id": "nobody"}, None),
    "redirect_uri is missing or not registered for this client": ("", {"redirect_uri": EVIL}, None),
    "response_type is missing": ("", {"response_type": None}, "invalid_request"),
    "UnsupportedResponseType": ("", {"response_type": "token"}, "unsupported_response_type"),
    "response_mode form_post needs a web address as redirect URI": (
        "",
        {"response_mode": "form_post", "redirect_uri": APP},
        "invalid_request",
    ),
    "response_mode must be query or form_post": ("", {"response_mode": "fragment"}, "invalid_request"),
    "prompt has a value that is not known here": ("", {"prompt": "ask"}, "invalid_request"),
    "prompt none must stand alone": ("", {"prompt": "none login"}, "invalid_request"),
    "display has a value that is not known here": ("", {"display": "wall"}, "invalid_request"),
    "max_age must be a number of seconds": ("", {"max_age": "-1"}, "invalid_request"),
    "claims must be a JSON object": ("", {"claims": "[]"}, "invalid_request"),
    "claims asks in a way that its syntax does not allow, or for too much": (
        "",
        {"claims": '{"userinfo": {"name": 1}}'},
        "invalid_request",
    ),
    "the client is not registered for this scope": ("", {"scope": "admin"}, "invalid_scope"),
    "code_challenge is missing (RFC 7636 section 4.3)": (
        "",
        {"code_challenge": None, "code_challenge_method": None},
        "invalid_request",
    ),
    "code_challenge_method must be S256": ("", {"code_challenge_method": "plain"}, "invalid_request"),
    "code_challenge must be 43 characters of base64url (RFC 7636 section 4.2)": (
        "",
        {"code_challenge": CHALLENGE[:-1]},
        "invalid_request",
    ),
}


@pytest.mark.threat("T005")
def test_the_table_has_every_raise_site():
    assert len(RAISE_SITES) == len(set(RAISE_SITES))
    assert set(REQUESTS) == set(RAISE_SITES)


@pytest.mark.threat("T004", "T005")
@pytest.mark.parametrize("site", REQUESTS)
@pytest.mark.parametrize("by_post", [False, True], ids=["GET", "POST"])
def test_no_error_of_the_endpoint_redirects_to_an_address_that_is_not_registered(http, seed, site, by_post):
    seed(a_user(), a_client(redirect_uris=[REDIRECT_URI, APP]))
    raw, changed, _error = REQUESTS[site]
    path, _mark, query = (authorization_path(**changed | {"redirect_uri": EVIL}) + raw).partition("?")
    if by_post:
        first = http.post(path, data=query, content_type="application/x-www-form-urlencoded")
        assert first.headers["Location"].startswith("/oauth/authorize?")
        answer = http.get(first.headers["Location"])
    else:
        answer = http.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert not [name for name, value in answer.headers if "evil" in value]
    assert "evil" not in answer.text


@pytest.mark.threat("T005")
@pytest.mark.parametrize("site", REQUESTS)
def test_each_request_of_the_table_gets_to_its_raise_site(http, seed, site):
    """With the registered address the answer says which error it was; a page says nothing, but sends nobody
    anywhere.
    """
    seed(a_user(), a_client(redirect_uris=[REDIRECT_URI, APP]))
    raw, changed, error = REQUESTS[site]
    answer = http.get(authorization_path(**changed) + raw)
    if error is None:
        assert (answer.status_code, page(answer).headings) == (400, ["This link does not work"])
        return
    members = answer_to_client(answer, changed.get("redirect_uri", REDIRECT_URI))
    assert members["error"] == [error]
    (description,) = members["error_description"]
    assert description.endswith(site.removeprefix("…")) or site == "UnsupportedResponseType"


@pytest.mark.threat("T004")
@pytest.mark.parametrize("decision", ["Allow", "Deny"])
def test_nor_does_a_decision(http, seed, decision):
    """What the form of the consent page carries beside its ticket is not read."""
    seed(a_user(), a_client())
    sign_in(http)
    form = page(ask(http)).form(decision).filled(decision)
    answer = http.post("/oauth/authorize", data=form | {"redirect_uri": EVIL, "code_verifier": VERIFIER})
    answer_to_client(answer)
