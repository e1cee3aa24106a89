"""The Flask application of docs/relying-parties.md, by Authlib's client, against a live server.

`test_apache.py` has Apache.
"""

import runpy

import pytest

from tests.flows.browser_journey import EMAIL, Browser, add_person
from tests.flows.recipes import APPLICATION, block, recipe, register
from tests.live import live_server

FLASK = "Flask with Authlib"


@pytest.fixture(scope="module")
def ostiary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ostiary")
    with live_server(f"sqlite:///{folder / 'ostiary.sqlite3'}", folder) as server:
        add_person(server)
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture
def application(ostiary, tmp_path, monkeypatch):
    """The application, as whoever looks at it: its test client at the address that is registered."""
    client = register(ostiary, FLASK, APPLICATION)
    environment = {"ISSUER": ostiary.issuer, "SECRET_KEY": "s" * 32}
    environment |= {name.upper(): client[name] for name in ("client_id", "client_secret")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "app.py").write_text(block(FLASK, "python"))
    return runpy.run_path(str(tmp_path / "app.py"))["app"].test_client()


@pytest.fixture
def browser(ostiary):
    with Browser(ostiary.issuer) as browser:
        yield browser


def open_at(application, path):
    return application.get(path, base_url=APPLICATION)


def come_in(application, browser):
    """Through Ostiary's pages and back; what the application knows then."""
    browser.open(open_at(application, "/login").location).sign_in().press("Allow")
    assert browser.left_for.startswith(f"{APPLICATION}/callback?code=")
    assert open_at(application, browser.left_for).location == "/"
    return open_at(application, "/").json


def test_signing_in_and_out(application, browser, ostiary):
    assert open_at(application, "/").json == {"sign in": "/login"}
    person = come_in(application, browser)
    [sub] = [row["sub"] for row in ostiary.flask_json("users", "list")]
    assert (person["sub"], person["name"], person["email"]) == (sub, "Ada", EMAIL)

    browser.open(open_at(application, "/logout").location)
    assert browser.left_for.startswith(f"{APPLICATION}/?state=")
    assert open_at(application, browser.left_for).json == {"sign in": "/login"}
    browser.open(open_at(application, "/login").location)
    assert browser.page.headings == ["Sign in"]


def test_signing_out_without_an_id_token_asks(application, browser):
    """As the recipe says: whoever has lost its session still gets the person signed out."""
    assert "Without it, Ostiary asks" in recipe(FLASK)
    come_in(application, browser)
    application.delete_cookie("session", domain="notes.example")
    browser.open(open_at(application, "/logout").location)
    assert browser.page.headings == ["Sign out?"]
    browser.press("Sign out")
    assert browser.left_for.startswith(f"{APPLICATION}/?state=")
