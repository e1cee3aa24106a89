"""Fixtures of the page tests: more browsers than one."""

import pytest


@pytest.fixture
def new_browser(app, http):
    """A function that gives another browser, with no cookie but the session cookie that it is given."""

    def new_browser(cookie=None):
        browser = app.test_client()
        if cookie is not None:
            browser.set_cookie("__Host-ostiary", cookie, domain="op.example", secure=True)
        return browser

    return new_browser
