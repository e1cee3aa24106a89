"""`next`: after a sign-in or a sign-up the browser stays on this site, whatever the address said (RFC 9700
§4.11).
"""

from urllib.parse import quote

import pytest

from pages.navigation import local_path
from tests.builders import PASSWORD, a_client, a_user
from tests.pages.steps import EMAIL, ask, authorization_path, page, press, ticket_of

ATTACKS = [
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/%09/evil.example".replace("%09", "\t"),
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "/x\\..\\..\\evil.example",
    "/x\0",
    "/\u2028/evil.example",
    "/\uff0fevil.example",
    "/é",
    "https:evil.example",
    "https:/evil.example",
    "https://evil.example",
    "https:///evil.example",
    "HTTPS://evil.example",
    "http://op.example@evil.example",
    "https://op.example.evil.example",
    "javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
    "evil.example",
    ".evil.example",
    "@evil.example",
    "?next=//evil.example",
    "",
]


@pytest.mark.threat("T108")
@pytest.mark.parametrize("path", ["/login", "/signup"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_next_never_leaves_the_site(http, seed, path, attack):
    seed(a_user())
    shown = http.get(f"{path}?next={quote(attack, safe='')}")
    assert shown.status_code == 200
    links = [element["href"] for element in page(shown).all("a")]
    assert all(link.startswith("/") and not link.startswith(("//", "/\\")) for link in links)
    if path == "/login":
        answer = press(http, shown, "Sign in", email=EMAIL, password=PASSWORD)
    else:
        answer = press(http, shown, "Create account", name="Bo", email="bo@example.com", password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.threat("T108")
@pytest.mark.parametrize(
    "raw", ["/%09/evil.example", "/%5C/evil.example", "/%2F/evil.example", "/%0d%0aX:y", "/@evil"]
)
def test_what_stays_encoded_is_a_path_of_this_site(raw):
    """A browser does not decode a path before it resolves it."""
    assert local_path(raw) == raw


@pytest.mark.parametrize("path", ["/", "/login", "/oauth/authorize?ticket=abc&x=%20", "/a//b"])
def test_a_path_of_this_site_is_followed(http, seed, path):
    seed(a_user())
    answer = press(
        http, http.get(f"/login?next={quote(path, safe='')}"), "Sign in", email=EMAIL, password=PASSWORD
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, path)


def test_next_survives_a_failed_try(http, seed):
    seed(a_user(), a_client())
    failed = press(http, ask(http), "Sign in", email=EMAIL, password="wrong")
    assert "to continue to Web at app.example" in page(failed).text
    answer = press(http, failed, "Sign in", email=EMAIL, password=PASSWORD)
    assert answer.headers["Location"].startswith("/oauth/authorize?client_id=web&ticket=")


def test_the_sign_in_page_names_nobody_for_a_foreign_ticket(http, new_browser, seed):
    """Another browser's ticket does not make the page say who asks, nor widen where its form may lead."""
    seed(a_client(client_name="Notebook"))
    ticket = ticket_of(ask(new_browser()))
    shown = http.get(f"/login?next=/oauth/authorize?ticket%3D{ticket}")
    assert "Notebook" not in shown.text
    assert "form-action 'self';" in shown.headers["Content-Security-Policy"]


def test_next_with_a_whole_request_names_nobody(http, seed):
    """Only a ticket says who asks: a request in `next` has not been checked yet."""
    seed(a_client(client_name="Notebook"))
    shown = http.get(f"/login?next={quote(authorization_path(), safe='')}")
    assert "Notebook" not in shown.text
