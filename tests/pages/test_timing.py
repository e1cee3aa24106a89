"""How long a refusal takes tells nothing: not of an account, not of a secret.

Asked in turn, medians compared.
"""

import statistics
import time

import pytest

from config import Settings
from crypto import credentials
from services import passwords
from tests.builders import ISSUER, SECRET_KEY, a_client, a_machine, a_user, basic
from tests.pages.steps import EMAIL, page

pytestmark = [pytest.mark.long, pytest.mark.usual_price]

MANY = 1_000_000
WITHIN = 0.05


@pytest.fixture(scope="module")
def settings():
    limits = {name: MANY for name in Settings.model_fields if name.startswith("failed_")}
    return Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, **limits)


def medians(tries, kinds):
    """Seconds of each kind of request, asked in turn; of the processor, so that what else the machine does is
    not counted.
    """
    seconds = {kind: [] for kind in kinds}
    for _try in range(tries):
        for kind, request in kinds.items():
            begin = time.process_time()
            request()
            seconds[kind].append(time.process_time() - begin)
    return {kind: statistics.median(column) for kind, column in seconds.items()}


def assert_alike(medians, within):
    usual = statistics.median(medians.values())
    assert all(abs(median / usual - 1) < within for median in medians.values()), medians


@pytest.mark.threat("T115")
@pytest.mark.parametrize(
    ("tries", "wrong"),
    [
        (200, "a wrong password"),
        # Not in its normal form: two hashes each.
        (100, "a wro\u0308ng password"),
    ],
)
def test_a_failed_sign_in_takes_as_long_for_every_account(http, seed, tries, wrong):
    right = "correct horse battery" if wrong.isascii() else "co\u0308rrect horse battery"
    seed(
        a_user(),
        a_user(
            id=2,
            sub="b",
            email="disabled@example.com",
            disabled_at=1,
            password_hash=passwords.hash_password(right),
        ),
        a_user(id=3, sub="c", email="passwordless@example.com", password_hash=None),
    )
    form = page(http.get("/login")).form("Sign in")

    def sign_in(email, password=wrong):
        answer = http.post("/login", data=form.filled("Sign in", email=email, password=password))
        assert answer.status_code == 400

    kinds = {
        "wrong password": lambda: sign_in(EMAIL),
        "unknown": lambda: sign_in("eve@example.com"),
        "disabled": lambda: sign_in("disabled@example.com", right),
        "without password": lambda: sign_in("passwordless@example.com"),
    }
    assert_alike(medians(tries, kinds), WITHIN)


@pytest.mark.threat("T049")
def test_a_wrong_secret_takes_as_long_whatever_is_wrong_with_it(http, seed):
    """Without a slow hash there is little to measure: what is left is the noise of a request that takes a
    millisecond.
    """
    other = "ost_cs_" + "o" * 43
    seed(a_machine(), a_client(client_id="other", client_secret_digest=credentials.digest(other)))

    def authenticate(secret):
        answer = http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("robot", secret)
        )
        assert answer.status_code == 401

    right = basic()[1]
    kinds = {
        "far off": lambda: authenticate("ost_cs_" + "w" * 43),
        "the last character": lambda: authenticate(right[:-1] + "w"),
        "another client's": lambda: authenticate(other),
    }
    assert_alike(medians(500, kinds), 0.2)
