"""How many functions a request calls, Python's and C's: what it costs, without a clock.

The number is the same in each run on one version of Python and of the libraries, so no quiet machine is
needed. A change that makes a request cheaper lowers its bound; one that makes it dearer says why.
"""

import gc
import json
import platform
import sys
from base64 import b64encode
from collections import Counter
from datetime import timedelta
from itertools import count

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from config import Settings
from crypto.encryption import encrypt
from protocol.claims import ACR_PASSWORD
from tests.builders import (
    CLIENT_SECRET,
    ISSUER,
    SECRET_KEY,
    a_client,
    a_code,
    a_machine,
    a_refresh_token,
    a_token,
    a_user,
    code_request,
    refresh_request,
)

VERSION = "3.11."  # of CPython, which the bounds are for
WARM = 5  # requests before one is counted: imports, compiled statements, what is kept
OPENID = "openid profile email"
# Of functions in Python, and in C: what was counted on 3.11.7, and one in a hundred more.
CALLS = {
    "jwks": (417, 335),
    "discovery": (860, 523),
    "me": (732, 480),
    "userinfo": (773, 496),
    "introspection": (904, 584),
    "client credentials": (1015, 631),
    "refresh": (1431, 884),
    "code": (1309, 810),
    "code and ID token": (1468, 921),
}

pytestmark = pytest.mark.skipif(
    platform.python_implementation() != "CPython" or not platform.python_version().startswith(VERSION),
    reason=f"another Python makes other calls than CPython {VERSION}x",
)


@pytest.fixture
def settings():
    """As a server has them: clients are kept for seconds."""
    return Settings(
        issuer=ISSUER,
        database_url="sqlite://",
        secret_key=SECRET_KEY,
        client_cache_lifetime=timedelta(seconds=5),
    )


class Client:
    """Asks an app as a WSGI server does, and counts what it calls meanwhile. Each answer is 200."""

    def __init__(self, app, seed):
        self.app, self.seed = app, seed
        self.serial = count(1)
        self.tokens = {"refresh_token": a_refresh_token()}
        seed(a_user(email_verified_at=1), a_client(scope=OPENID), a_machine())
        seed(a_token(self.tokens["refresh_token"], scope=OPENID, access_token_scope=OPENID))

    def send(self, **request):
        """Return the answer, read as JSON, and the numbers of calls: of functions in Python, and in C."""
        environ = EnvironBuilder(base_url=ISSUER, **request).get_environ()
        seen = Counter()

        def note(frame, kind, function):
            seen[kind] += 1

        before = sys.getprofile()
        gc.disable()
        sys.setprofile(note)
        try:
            body, status, _headers = run_wsgi_app(self.app, environ)
            content = b"".join(body)
            body.close()
        finally:
            sys.setprofile(before)
            gc.enable()
        assert status == "200 OK", content
        return json.loads(content), (seen["call"], seen["c_call"])

    def post(self, body, client="web", path="/oauth/token"):
        secret = b64encode(f"{client}:{CLIENT_SECRET}".encode()).decode()
        return self.send(method="POST", path=path, data=body, headers={"Authorization": f"Basic {secret}"})

    def exchange(self, openid=None, **row):
        code = f"code {next(self.serial)}"
        self.seed(a_code(code, sealed_openid=encrypt(openid, code) if openid else None, **row))
        return self.post(code_request(code))

    def refresh(self):
        answer, calls = self.post(refresh_request(self.tokens["refresh_token"]))
        self.tokens = answer
        return answer, calls

    def bearer(self, path):
        if "access_token" not in self.tokens:
            self.refresh()
        return self.send(path=path, headers={"Authorization": f"Bearer {self.tokens['access_token']}"})

    def introspect(self):
        if "access_token" not in self.tokens:
            self.refresh()
        return self.post({"token": self.tokens["access_token"]}, path="/oauth/introspect")


KINDS = {
    "jwks": lambda client: client.send(path="/oauth/jwks"),
    "discovery": lambda client: client.send(path="/.well-known/openid-configuration"),
    "me": lambda client: client.bearer("/api/me"),
    "userinfo": lambda client: client.bearer("/oauth/userinfo"),
    "introspection": Client.introspect,
    "client credentials": lambda client: client.post({"grant_type": "client_credentials"}, "robot"),
    "refresh": Client.refresh,
    "code": Client.exchange,
    "code and ID token": lambda client: client.exchange(
        {"acr": ACR_PASSWORD, "amr": ["pwd"], "nonce": "n-0S6"}, scope=OPENID
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_makes_no_more_calls(app, seed, kind):
    client = Client(app, seed)
    first, *others = [KINDS[kind](client)[1] for _ in range(WARM + 3)][WARM:]
    assert others == [first] * 2
    in_python, in_c = CALLS[kind]
    assert (first[0] <= in_python, first[1] <= in_c) == (True, True), first
