"""Redirect URIs that cannot be registered, whatever else the registration says (RFC 9700 §2.1, RFC 8252
§7.1).
"""

import pytest
from sqlalchemy import func

from models import Client
from tests.builders import REDIRECT_URI, a_client
from tests.statements import select

WITH_FRAGMENT = [
    "https://app.example/cb#",
    "https://app.example/cb#x",
    "https://app.example#/cb",
    "com.example.app:/cb#x",
]
WITH_USER = [
    "http://localhost:80@evil/",
    "http://localhost@evil/",
    "http://127.0.0.1@evil",
    "http://127.0.0.1:80@evil/",
    "http://[::1]@evil/",
    "https://good:x@evil",
    "https://good@evil/",
    "https://good.example\\@evil/",
    "https://@app.example/cb",
    "https://:@app.example/cb",
    "com.example.app://user@host/cb",
]
DANGEROUS_SCHEMES = [
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "javascript://app.example/%0aalert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "about:blank",
    "blob:https://app.example/1",
    "view-source:https://app.example/",
    "filesystem:https://app.example/",
    "intent:x",
    "mailto:x@app.example",
    "ftp://app.example/cb",
    "//app.example/cb",
]
WITH_A_MEMBER_OF_THE_ANSWER = [
    f"{REDIRECT_URI}?{query}"
    for query in """
    code=x state=x x=1&state= code=&x iss=https://evil error=x error_description=x error_uri=x
    %63ode=x co%64e=x %73tate=x x=1&%69ss=x code x=1&state x=1;code=2
    """.split()
]


@pytest.fixture
def register(refused, seed, rows):
    """Try to register these, all in one command and beside a good one; each must be named as a problem, and
    none is stored.
    """

    def register(uris):
        seed(a_client())
        options = [word for uri in [REDIRECT_URI, *uris] for word in ("--redirect-uri", uri)]
        for command in (("add", "Evil"), ("set", "web")):
            told = refused("clients", *command, *options)
            assert [uri for uri in uris if f"redirect URI {uri!r} " not in told] == []
            assert f"redirect URI {REDIRECT_URI!r} " not in told
        assert rows(select(func.count()).select_from(Client)) == [(1,)]
        assert rows(select(Client.redirect_uris)) == [([REDIRECT_URI],)]

    return register


@pytest.mark.threat("T011")
def test_a_redirect_uri_with_a_fragment_is_refused(register):
    register(WITH_FRAGMENT)


@pytest.mark.threat("T012")
def test_somebody_before_the_host(register):
    register(WITH_USER)


@pytest.mark.threat("T014")
def test_a_scheme_that_browsers_run_or_that_nobody_owns(register):
    register(DANGEROUS_SCHEMES)


@pytest.mark.threat("T016")
def test_a_query_that_could_be_taken_for_the_answer(register):
    register(WITH_A_MEMBER_OF_THE_ANSWER)
