"""A person with a browser, for journeys against a live server: opens pages, fills in their real forms,
presses their buttons.

Enters: an address. Leaves: the page it leads to, or the address outside of the site that it was sent to. Over
HTTP without JavaScript, as the pages promise to work; `test_chromium.py` is the same with a real browser.
"""

from urllib.parse import urljoin

import requests

from tests.pages.page import Page

EMAIL = "ada@example.com"
PASSWORD = "correct horse battery"
PATIENCE_SECONDS = 20
REDIRECTS = 10


class Browser:
    """Stays on `site`.

    `page` is what is shown, `status` its status; `left_for` is where a redirect led outside.
    """

    def __init__(self, site):
        self.site = site
        self.session = requests.Session()
        self.session.trust_env = False
        self.page = None
        self.status = None
        self.left_for = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session.close()

    def open(self, url):
        return self._go("GET", url)

    def press(self, button, **fields):
        form = self.page.form(button)
        return self._go(form.method.upper(), form.url, form.filled(button, **fields))

    def sign_in(self, email=EMAIL, password=PASSWORD):
        return self.press("Sign in", email=email, password=password)

    def _go(self, method, url, data=None):
        self.page = self.left_for = None
        for _ in range(REDIRECTS):
            headers = {"Origin": self.site, "Sec-Fetch-Site": "same-origin"} if method == "POST" else {}
            answer = self.session.request(
                method, url, data=data, headers=headers, allow_redirects=False, timeout=PATIENCE_SECONDS
            )
            if "Location" not in answer.headers:
                self.status = answer.status_code
                self.page = Page(answer.text, answer.url)
                return self
            method, url, data = "GET", urljoin(answer.url, answer.headers["Location"]), None
            if not url.startswith(f"{self.site}/"):
                self.left_for = url
                return self
        raise AssertionError(f"more than {REDIRECTS} redirects")


def add_person(server, email=EMAIL, name="Ada", password=PASSWORD):
    server.flask("users", "add", email, "--name", name, "--password-stdin", input=password + "\n")


def add_client(server, name, *options):
    """The registration of RFC 7591 §3.2.1 that `flask clients add` prints."""
    return server.flask_json("clients", "add", name, *options)
