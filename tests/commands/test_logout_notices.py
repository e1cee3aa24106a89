"""`flask logout-notices …`."""

import pytest

from models import LogoutNotice
from tests.builders import a_client, a_notice, a_user


@pytest.fixture
def told(seed):
    """Three notices about Ada, one about Bob, one about somebody who was removed."""
    seed(a_user(), a_user(id=2, sub="b", email="bob@example.com"), a_client(), a_client(client_id="other"))
    seed(
        a_notice(
            created_at=1_000, attempts=1, next_attempt_at=None, delivered_at=1_002, outcome="answered 200"
        ),
        a_notice(created_at=1_001, attempts=2, next_attempt_at=1_040, outcome="it took too long"),
        a_notice(created_at=1_002, attempts=6, next_attempt_at=None, outcome="answered 503"),
        a_notice(user_id=2, client_id="other", created_at=1_003, next_attempt_at=1_003),
        a_notice(
            user_id=None, created_at=1_004, next_attempt_at=None, delivered_at=1_005, outcome="answered 204"
        ),
    )


def test_list_shows_each_notice_with_its_state(flask, told):
    done = flask("logout-notices", "list")
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == [
        *(
            "CLIENT_NAME",
            "EMAIL",
            "CREATED_AT",
            "ATTEMPTS",
            "STATE",
            "NEXT_ATTEMPT_AT",
            "DELIVERED_AT",
            "OUTCOME",
        ),
    ]
    assert [line.split()[4] for line in lines] == [
        "delivered",
        "waiting",
        "undelivered",
        "waiting",
        "delivered",
    ]
    assert lines[-1].endswith("delivered    -                     1970-01-01T00:16:42Z  answered 200")


def test_the_newest_comes_first_and_says_everything(flask_json, told):
    removed, _bob, _given_up, failing, _delivered = flask_json("logout-notices", "list")
    assert (removed["email"], removed["state"]) == (None, "delivered")
    assert failing == {
        "client_id": "web",
        "client_name": "Web",
        "email": "ada@example.com",
        "sid": "sid-1",
        "created_at": 1_001,
        "attempts": 2,
        "state": "waiting",
        "next_attempt_at": 1_040,
        "delivered_at": None,
        "outcome": "it took too long",
    }


@pytest.mark.parametrize(
    ("options", "created_at"),
    [
        (("--user", "Ada@example.com"), [1_002, 1_001, 1_000]),
        (("--undelivered",), [1_003, 1_002, 1_001]),
        (("--user", "ada@example.com", "--undelivered"), [1_002, 1_001]),
        (("--user", "bob@example.com"), [1_003]),
    ],
)
def test_options_choose_which_notices_are_shown(flask_json, told, options, created_at):
    shown = flask_json("logout-notices", "list", *options)
    assert [notice["created_at"] for notice in shown] == created_at


def test_nobody_has_the_address(refused):
    assert "nobody has the address" in refused("logout-notices", "list", "--user", "eve@example.com")


def test_it_costs_one_question(flask, told, statements):
    flask("logout-notices", "list")
    assert sum(LogoutNotice.__tablename__ in sql for sql in statements) == 1
