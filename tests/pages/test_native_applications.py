"""Applications on the person's own computer (RFC 8252 §8.6): nothing proves who asks, so the person is asked
each time.

Any program there can listen at a loopback address or take a private-use scheme, and knows the public client's
id.
"""

import pytest

from config import Settings
from tests.builders import ISSUER, PASSWORD, SECRET_KEY, a_client, a_public_client, a_user, code_request
from tests.conftest import Browser
from tests.openid import answer_of
from tests.pages.steps import ask, authorization_path, follow, page, press, sign_in, sign_out

LOCAL = "http://127.0.0.1:8000"
NATIVE = {
    "http://127.0.0.1:5000/cb": "http://127.0.0.1:5000/cb",
    "http://127.0.0.1/cb": "http://127.0.0.1:51004/cb",
    "http://[::1]/cb": "http://[::1]:51004/cb",
    "http://localhost:3000/cb": "http://localhost:3000/cb",
    "https://localhost:3000/cb": "https://localhost:3000/cb",
    "https://localhost./cb": "https://localhost./cb",
    "https://app.localhost/cb": "https://app.localhost/cb",
    "com.example.app:/cb": "com.example.app:/cb",
    "com.example.app://op.example/cb": "com.example.app://op.example/cb",
}


@pytest.fixture
def issuer():
    return ISSUER


@pytest.fixture
def settings(issuer):
    return Settings(issuer=issuer, database_url="sqlite://", secret_key=SECRET_KEY)


@pytest.fixture
def ada(app, issuer, seed):
    class OwnBrowser(Browser):
        def open(self, *args, **kwargs):
            return super().open(*args, **{"base_url": issuer} | kwargs)

    app.test_client_class = OwnBrowser
    seed(a_user())
    browser = app.test_client()
    sign_in(browser)
    return browser


def ask_twice(http, redirect_uri):
    """Allow; then what the same request is answered by pages, and without any."""
    asked = {"client_id": "spa", "scope": "profile", "redirect_uri": redirect_uri}
    allowed = press(http, ask(http, **asked), "Allow")
    assert allowed.headers["Location"].startswith(redirect_uri) and "code" in answer_of(allowed)
    silent = answer_of(http.get(authorization_path(prompt="none", **asked)))
    return ask(http, **asked), silent.get("error")


def is_asked(answer):
    return answer.status_code == 200 and page(answer).headings == ["Web asks for access"]


@pytest.mark.threat("T182")
@pytest.mark.parametrize(("registered", "sent"), NATIVE.items())
def test_a_remembered_consent_never_skips_the_page(ada, seed, registered, sent):
    seed(a_public_client(redirect_uris=[registered]))
    again, error = ask_twice(ada, sent)
    assert is_asked(again) and "(allowed before)" in page(again).text
    assert "you are asked each time" in page(again).text
    assert error == "consent_required"
    assert "code" in answer_of(press(ada, again, "Allow"))


@pytest.mark.parametrize(
    ("registered", "sent"),
    [
        ("http://localhost/callback", "http://localhost:51004/callback"),
        ("http://127.0.0.1/", "http://127.0.0.1:33418"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp/oauth/callback"),
    ],
)
def test_its_answer_becomes_tokens(ada, seed, registered, sent):
    """And the token endpoint wants the address as it was sent."""
    seed(a_public_client(redirect_uris=[registered]))
    answer = press(ada, ask(ada, client_id="spa", redirect_uri=sent), "Allow")
    assert answer.headers["Location"].startswith(f"{sent}?code=")
    body = code_request(answer_of(answer)["code"], client_id="spa")
    for address in {registered, f"{sent}/"} - {sent}:
        assert (
            ada.post("/oauth/token", data=body | {"redirect_uri": address}).json["error"] == "invalid_grant"
        )
    assert ada.post("/oauth/token", data=body | {"redirect_uri": sent}).status_code == 200


@pytest.mark.threat("T182")
def test_nor_after_a_sign_in(ada, seed):
    seed(a_public_client(redirect_uris=["http://127.0.0.1/cb"]))
    ask_twice(ada, "http://127.0.0.1:5000/cb")
    sign_out(ada)
    shown = ask(ada, client_id="spa", scope="profile", redirect_uri="http://127.0.0.1:5000/cb")
    shown = follow(ada, press(ada, shown, "Sign in", email="ada@example.com", password=PASSWORD))
    assert is_asked(shown)


@pytest.mark.threat("T182")
def test_a_web_address_of_the_same_client_is_remembered_and_the_loopback_one_is_not(ada, seed):
    """An application for the web and the desktop: it is the redirect URI of the request that counts."""
    seed(a_public_client(redirect_uris=["https://app.example/cb", "http://127.0.0.1/cb"]))
    again, error = ask_twice(ada, "https://app.example/cb")
    assert "code" in answer_of(again) and error is None
    assert is_asked(ask(ada, client_id="spa", redirect_uri="http://127.0.0.1:5000/cb"))


@pytest.mark.parametrize(
    ("new_client", "redirect_uri"),
    [
        (a_client, "http://127.0.0.1:5000/cb"),  # it authenticates
        (a_public_client, "https://app.example/cb"),
        (a_public_client, "https://localhost.example/cb"),
    ],
)
def test_where_something_proves_who_asks_a_consent_is_remembered(ada, seed, new_client, redirect_uri):
    seed(new_client(client_id="spa", redirect_uris=[redirect_uri]))
    again, error = ask_twice(ada, redirect_uri)
    assert "code" in answer_of(again) and error is None


IN_DEVELOPMENT = {
    ("http://127.0.0.1:5000/cb", "http://127.0.0.1:5000/cb"): True,
    ("http://localhost:3000/cb", "http://localhost:3000/cb"): True,
    ("http://127.0.0.1:5000/cb", "http://127.0.0.1:5001/cb"): False,
    ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"): False,
    ("com.example.app:/cb", "com.example.app:/cb"): False,
}


@pytest.mark.parametrize("issuer", [LOCAL])
@pytest.mark.parametrize(("addresses", "is_remembered"), IN_DEVELOPMENT.items(), ids=map(str, IN_DEVELOPMENT))
def test_in_development_the_very_port_that_is_registered_is_remembered(ada, seed, addresses, is_remembered):
    registered, sent = addresses
    seed(a_public_client(redirect_uris=[registered]))
    again, error = ask_twice(ada, sent)
    assert is_asked(again) is not is_remembered
    assert error == (None if is_remembered else "consent_required")
