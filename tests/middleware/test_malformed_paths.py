"""A path that is bent leads nowhere: not to the page that it resembles, and out of no folder."""

from urllib.parse import unquote

import pytest

from tests.builders import AUTHORIZATION_REQUEST, a_client, a_machine, a_user, basic
from tests.pages.steps import sign_in

REAL = ["/login", "/oauth/token", "/oauth/authorize", "/api/me", "/.well-known/oauth-authorization-server"]
BENDS = {
    "a slash more at the end": "{path}/",
    "two of them": "{path}//",
    "a dot segment before": "/.{path}",
    "dot segments before": "/x/..{path}",
    "more dots than folders": "/../../..{path}",
    "a dot segment after": "{path}/.",
    "back from below": "{path}/x/..",
    "NUL after": "{path}\0",
    "NUL and an ending": "{path}\0.css",
    "NUL before": "/\0{path}",
    "a parameter": "{path};x=y",
    "back with a parameter": "/x/..;{path}",
    "a backslash before": "\\{path}",
    "a backslash after": "{path}\\",
    "a blank after": "{path} ",
    "a tab after": "{path}\t",
    "a line break after": "{path}\r\n",
    "an ending": "{path}.json",
    "in capitals": "{upper}",
    "encoded twice": "/%2f{path}",
    "an encoded letter left": "{path}%00",
    "bytes that are no text": "{path}\xff",
    "overlong dots": "/\xc0\xae\xc0\xae{path}",
    "a fragment": "{path}#x",
    "an address": "/http://op.example{path}",
}
FILES = [
    "/static/../app.py",
    "/static/../../etc/passwd",
    "/static/..\\app.py",
    "/static/....//app.py",
    "/static//etc/passwd",
    "/static/%2e%2e/app.py",
    "/static/\0../app.py",
    "/static/ostiary.css\0.py",
    "/static/C:\\x",
    "/static/../instance/secret_key",
]


def as_it_comes(http, path, method="GET", **rest):
    """A request whose path is what a server makes of percent-encoded bytes: nothing on the way can put it in
    order.
    """
    return http.open("/", method=method, environ_overrides={"PATH_INFO": path}, **rest)


@pytest.fixture
def people(http, seed):
    seed(a_user(), a_client(), a_machine())
    sign_in(http)


@pytest.mark.threat("T163")
@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS)
def test_it_is_not_the_page_that_it_resembles(http, people, bend):
    for path in REAL:
        bent = bend.format(path=path, upper=path.upper())
        for method in ("GET", "POST", "HEAD"):
            answer = as_it_comes(
                http, bent, method, auth=basic("robot"), data={"grant_type": "client_credentials"}
            )
            assert answer.status_code in (400, 404, 405), (bent, answer.headers.get("Location"))
            assert "Location" not in answer.headers
            assert "access_token" not in answer.text
        answer = as_it_comes(http, bent, query_string=AUTHORIZATION_REQUEST)
        assert answer.status_code in (400, 404, 405)


@pytest.mark.threat("T163")
@pytest.mark.parametrize("path", FILES, ids=ascii)
def test_no_path_leads_out_of_the_folder_of_files(http, path):
    with as_it_comes(http, path) as answer:
        assert answer.status_code in (400, 404) or answer.headers["Location"].startswith(
            "https://op.example/static/"
        )
        assert "def create_app" not in answer.text and "root:" not in answer.text


@pytest.mark.threat("T163")
@pytest.mark.parametrize("more", ["/", "/.", "/x/.."])
def test_what_leads_back_to_a_file_is_that_file(http, more):
    """Inside of the folder Werkzeug puts paths in order. Files are for everybody, so no rule is passed by."""
    with as_it_comes(http, f"/static/ostiary.css{more}") as answer, http.get("/static/ostiary.css") as file:
        assert (answer.status_code, answer.data) == (200, file.data)


@pytest.mark.threat("T163")
@pytest.mark.parametrize(
    "path",
    """
    /oauth//token //oauth/token /oauth///token /oauth%2ftoken /oauth%2Ftoken %2foauth/token /oauth/%2ftoken
    /oauth%2f/token /oauth%5ctoken /oauth/token%2f
    """.split(),
)
def test_a_slash_is_written_once_and_as_it_is(http, people, path):
    """Neither answered nor redirected: a rule that a proxy has for /oauth/token would not have seen it."""
    raw = {"PATH_INFO": unquote(path), "RAW_URI": path}
    answer = http.post(
        "/", data={"grant_type": "client_credentials"}, auth=basic("robot"), environ_overrides=raw
    )
    assert answer.status_code in (400, 404)
    assert "Location" not in answer.headers
    assert "access_token" not in answer.text
