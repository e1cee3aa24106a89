"""How long a look-up takes tells nothing of how near a guess came: what is compared is a digest, and no part
of it is right.
"""

import pytest

from crypto.credentials import digest
from tests.builders import (
    a_client,
    a_code,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.pages.test_timing import assert_alike, medians

ACCESS_TOKEN = "ost_at_" + "a" * 43
CODE = "ost_ac_" + "c" * 43

TRIES, WITHIN = 10_000, 0.05

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def guesses(right):
    """Wrong in the first character behind the prefix, in the middle, in the last; and nearly everywhere."""
    start, half, end = len("ost_at_"), len(right) // 2, len(right) - 1
    kinds = {
        f"wrong at {at}": right[:at] + ("1" if right[at] == "0" else "0") + right[at + 1 :]
        for at in (start, half, end)
    }
    return kinds | {"far off": right[:start] + "0" * (len(right) - start)}


def take_as_long(use, right):
    kinds = {kind: lambda guess=guess: use(guess) for kind, guess in guesses(right).items()}
    assert_alike(medians(TRIES, kinds), WITHIN)


@pytest.fixture
def refresh_token(seed):
    """Of a sign-in whose access token is ACCESS_TOKEN; the code CODE is on its way."""
    token = a_refresh_token()
    seed(a_user(), a_client(), a_token(token, access_token_digest=digest(ACCESS_TOKEN)), a_code(CODE))
    return token


@pytest.mark.threat("T156")
def test_an_access_token_takes_as_long_however_near_the_guess_is(http, refresh_token):
    def use(token):
        assert http.get("/api/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401

    take_as_long(use, ACCESS_TOKEN)


@pytest.mark.threat("T156")
def test_a_code_takes_as_long_however_near_the_guess_is(http, refresh_token):
    def exchange(code):
        assert (
            http.post("/oauth/token", data=code_request(code), auth=basic()).json["error"] == "invalid_grant"
        )

    take_as_long(exchange, CODE)


@pytest.mark.threat("T156")
def test_a_refresh_token_takes_as_long_however_near_the_guess_is(http, refresh_token):
    def refresh(token):
        assert (
            http.post("/oauth/token", data=refresh_request(token), auth=basic()).json["error"]
            == "invalid_grant"
        )

    take_as_long(refresh, refresh_token)
