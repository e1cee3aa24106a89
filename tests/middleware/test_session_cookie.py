"""Two issuers of one host in one browser, which sends the cookies of each to both: nothing of one replaces
what is the other's.
"""

from contextlib import ExitStack

import pytest
from werkzeug.test import Client

from config import Settings
from models import db
from tests.builders import ISSUER as ORIGIN
from tests.builders import PASSWORD, a_client, a_user
from tests.openid import answer_of
from tests.pages.steps import authorization_path, follow, press


class Host:
    """Two servers on one host, each below its issuer's path, as a proxy shows them to a browser."""

    def __init__(self, apps):
        self.apps = apps  # by path
        self.set_by = {path: set() for path in apps}  # the names of the cookies

    def __call__(self, environ, start_response):
        asked = environ["PATH_INFO"]
        path = max((path for path in self.apps if f"{asked}/".startswith(f"{path}/")), key=len)

        def start(status, headers, exc_info=None):
            cookies = [value for name, value in headers if name == "Set-Cookie"]
            self.set_by[path] |= {cookie.partition("=")[0] for cookie in cookies}
            return start_response(status, headers, exc_info)

        return self.apps[path](environ, start)


class Browser(Client):
    def open(self, *args, **kwargs):
        return super().open(*args, **{"base_url": ORIGIN} | kwargs)


@pytest.fixture
def browse(apps, first_rows, stopped_clock):
    """Return a function that opens a browser at a host with these issuers; Ada has another name at each."""

    def fill(path):
        with db.engine.connect() as connection:
            connection.connection.driver_connection.deserialize(first_rows)
        db.session.add_all([a_user(name=f"Ada of {path or 'home'}"), a_client()])
        db.session.commit()

    def browse(*paths):
        host = Host({path: stack.enter_context(borrow(path)) for path in paths})
        return Browser(host), host

    def borrow(path):
        settings = Settings(issuer=ORIGIN + path, database_url="sqlite://", secret_key="k" * 32)
        return apps.borrow(settings, lambda: fill(path))

    with ExitStack() as stack:
        yield browse


def sign_in(browser, shown):
    answer = press(browser, shown, "Sign in", email="ada@example.com", password=PASSWORD)
    assert answer.status_code == 303
    return answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a/b", "/a.b"),
        ("/a", "/a-device"),
        ("/a", "/a-browser"),
        ("/a", "/a-browser-0123abcd"),
        ("/a", "/A"),
        ("", "/device"),
        ("/x" * 60, "/x" * 59 + ".x"),
    ],
)
def test_two_issuers_of_one_host_keep_their_cookies(browse, one, other):
    browser, host = browse(one, other)
    shown = follow(browser, browser.get(one + authorization_path()))
    sign_in(browser, browser.get(f"{other}/login"))
    shown = follow(browser, sign_in(browser, shown))  # the request is still this browser's
    for path in (one, other):
        assert len(host.set_by[path]) == 3  # the session, a browser id, the known device
        assert f"Ada of {path or 'home'}" in browser.get(f"{path}/account/").text
    assert not host.set_by[one] & host.set_by[other]

    assert press(browser, browser.get(f"{other}/logout"), "Sign out").status_code < 400
    assert browser.get(f"{other}/account/").status_code in (302, 303)
    assert answer_of(press(browser, shown, "Allow"))["iss"] == ORIGIN + one
