"""`/demo`: only on a loopback issuer and with its client, and the one page that may run a script: its own
file, from this site.
"""

import re
from pathlib import Path

import pytest

from config import Settings
from store import demo
from tests.builders import ISSUER, SECRET_KEY, a_public_client, a_user
from tests.conftest import Browser
from tests.pages.steps import page, sign_in

# What holds of every page holds of this one: these run again, on this file's `answer`.
from tests.pages.test_every_page import (  # noqa: F401
    test_every_form_is_a_post_with_a_token,
    test_ids_are_unique_and_references_lead_somewhere,
    test_the_frame_of_a_page,
)

LOCAL = "http://127.0.0.1:8000"
SCRIPT = (Path(__file__).parents[2] / "static" / "demo.js").read_text()
PRODUCTION = pytest.mark.parametrize("issuer", [ISSUER])


@pytest.fixture
def issuer():
    return LOCAL


@pytest.fixture
def settings(issuer):
    return Settings(issuer=issuer, database_url="sqlite://", secret_key=SECRET_KEY, signup="open")


@pytest.fixture
def http(app, issuer):
    class LocalBrowser(Browser):
        def open(self, *args, **kwargs):
            return super().open(*args, **{"base_url": issuer} | kwargs)

    app.test_client_class = LocalBrowser
    return app.test_client()


@pytest.fixture
def demo_client(seed, issuer):
    seed(a_public_client(client_id=demo.CLIENT_ID, redirect_uris=[demo.redirect_uri(issuer)]))


@pytest.fixture
def answer(http, demo_client):
    answer = http.get("/demo")
    assert answer.status_code == 200
    return answer


def policy(answer):
    return dict(each.split(" ", 1) for each in answer.headers["Content-Security-Policy"].split("; "))


def test_the_policy_allows_a_script_of_this_site_and_no_more(answer):
    assert policy(answer) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "font-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_one_script_is_a_file_of_this_site(http, answer):
    [script] = page(answer).all("script")
    assert re.fullmatch(r"/static/demo\.js\?v=[0-9a-f]{12}", script["src"])
    assert re.search(r"<script[^>]*></script>", answer.text)
    served = http.get(script["src"])
    assert served.mimetype == "text/javascript"
    assert served.text == SCRIPT
    served.close()
    assert not [
        name for _tag, attributes in page(answer).elements for name in attributes if name.startswith("on")
    ]


def test_no_other_page_of_the_site_may_run_one(http, seed, demo_client):
    seed(a_user())
    for path in ("/", "/login", "/signup", "/logout", "/demo/", "/demos"):
        answer = http.get(path)
        assert "script-src" not in policy(answer), path
        assert not page(answer).all("script"), path


def test_its_error_page_may_run_none(http):
    answer = http.get("/demo")
    assert answer.status_code == 404
    assert "script-src" not in policy(answer)


def test_without_a_script_it_says_where_to_go_instead(answer):
    shown = page(answer)
    assert shown.all("noscript")
    assert "needs JavaScript" in shown.text
    assert "the walk with curl in docs/walkthrough.md" in shown.text
    assert not shown.all("button")  # the script makes them: without it there is none that does nothing


def test_it_tells_the_script_who_it_is(answer):
    [told] = [attributes for _tag, attributes in page(answer).elements if attributes.get("id") == "demo"]
    assert {name: value for name, value in told.items() if name.startswith("data-")} == {
        "data-issuer": LOCAL,
        "data-client-id": "demo",
        "data-scope": "profile email",
        "data-redirect-uri": f"{LOCAL}/demo",
        "data-authorization-endpoint": f"{LOCAL}/oauth/authorize",
        "data-token-endpoint": f"{LOCAL}/oauth/token",
        "data-revocation-endpoint": f"{LOCAL}/oauth/revoke",
        "data-resource": f"{LOCAL}/api/me",
    }


def test_each_step_of_the_script_is_on_the_page(answer):
    items = [attributes["id"] for tag, attributes in page(answer).elements if tag == "li"]
    assert re.findall(r'\bid: "([a-z-]+)"', SCRIPT) == items
    assert len(items) == 7


def test_an_answer_in_the_address_is_not_echoed(http, demo_client):
    answer = http.get("/demo?code=ost_ac_echo&state=echo&error=<echo>")
    assert answer.status_code == 200
    assert "echo" not in answer.text


@pytest.mark.parametrize(
    "sink", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_the_script_makes_no_html_of_text(sink):
    assert sink not in SCRIPT


@PRODUCTION
def test_there_is_none_in_production(http, demo_client):
    assert http.get("/demo").status_code == 404
    assert "Try it" not in page(http.get("/")).text


def test_there_is_none_without_its_client(http):
    assert http.get("/demo").status_code == 404
    assert "Try it" not in page(http.get("/")).text


def test_there_is_none_that_could_not_be_answered(http, seed):
    """The client was made at another name of this machine, and `flask demo` has not run since."""
    seed(a_public_client(client_id=demo.CLIENT_ID, redirect_uris=["http://localhost:8000/demo"]))
    assert http.get("/demo").status_code == 404


def test_home_offers_it_to_everybody(http, seed, demo_client):
    seed(a_user())
    for _ in range(2):
        home = page(http.get("/"))
        assert "Try it" in home.text
        assert [link for link in home.all("a") if link["href"] == "/demo"]
        sign_in(http)
