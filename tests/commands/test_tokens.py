"""`flask tokens revoke`."""

import pytest

from models import AuthorizationCode, Token
from tests.builders import a_client, a_code, a_machine, a_token, a_user
from tests.statements import select

LEFT = select(Token.user_id, Token.client_id).order_by(Token.user_id, Token.client_id)
CODES_LEFT = select(AuthorizationCode.user_id, AuthorizationCode.client_id).order_by(
    AuthorizationCode.user_id, AuthorizationCode.client_id
)
EVERYTHING = [(None, "robot"), (1, "other"), (1, "web"), (2, "web"), (3, "other")]
EVERY_CODE = [(1, "web"), (2, "other"), (3, "web")]


@pytest.fixture(autouse=True)
def tokens_and_codes(seed):
    seed(
        a_user(),
        a_user(id=2, sub="b", email="bob@example.com"),
        a_user(id=3, sub="c", email="cy@example.com"),
    )
    seed(a_client(), a_client(client_id="other"), a_machine())
    for user_id, client_id in EVERYTHING:
        seed(a_token(user_id=user_id, client_id=client_id, slot=None if user_id is None else 0))
    for user_id, client_id in EVERY_CODE:
        seed(a_code(f"{user_id} {client_id}", user_id=user_id, client_id=client_id))


@pytest.mark.threat("T039", "T086")
@pytest.mark.parametrize(
    ("options", "answer", "left", "codes_left"),
    [
        (
            ("--user", "ADA@example.com"),
            {"codes": 1, "tokens": 2},
            [(None, "robot"), (2, "web"), (3, "other")],
            [(2, "other"), (3, "web")],
        ),
        (
            ("--client", "web"),
            {"codes": 2, "tokens": 2},
            [(None, "robot"), (1, "other"), (3, "other")],
            [(2, "other")],
        ),
        (
            ("--client", "robot"),
            {"codes": 0, "tokens": 1},
            [(1, "other"), (1, "web"), (2, "web"), (3, "other")],
            EVERY_CODE,
        ),
        (
            ("--user", "ada@example.com", "--client", "web"),
            {"codes": 1, "tokens": 1},
            [(None, "robot"), (1, "other"), (2, "web"), (3, "other")],
            [(2, "other"), (3, "web")],
        ),
        (
            ("--user", "bob@example.com", "--client", "robot"),
            {"codes": 0, "tokens": 0},
            EVERYTHING,
            EVERY_CODE,
        ),
    ],
)
def test_revoke_ends_tokens_and_codes_of_whom_it_names(flask_json, rows, options, answer, left, codes_left):
    assert flask_json("tokens", "revoke", *options) == answer
    assert rows(LEFT) == left
    assert rows(CODES_LEFT) == codes_left


def test_it_says_how_many(flask):
    done = flask("tokens", "revoke", "--user", "ada@example.com")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Ended: 1 code, 2 tokens.\n")


def test_everybody_who_has_a_token_or_a_code_is_locked_in_order(flask, statements, app):
    """Ada has both at "web", Bob a token, Cy a code: three locks, then the two DELETEs, codes first."""
    statements.clear()
    flask("tokens", "revoke", "--client", "web")
    begin = next(n for n, sql in enumerate(statements) if sql.startswith("SELECT end_user.id, end_user.sub"))
    kinds = [" ".join(sql.split()[:3]) for sql in statements[begin:]]
    assert kinds == ["SELECT end_user.id, end_user.sub,"] * 3 + [
        "DELETE FROM authorization_code",
        "DELETE FROM token",
        "COMMIT",
    ]


def test_it_must_be_told_whose(flask, rows):
    done = flask("tokens", "revoke")
    assert (done.exit_code, done.stdout) == (2, "")
    assert rows(LEFT) == EVERYTHING


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--user", "eve@example.com"), "nobody has the address 'eve@example.com'"),
        (("--user", ""), "nobody has the address"),
        (("--client", "nope"), "there is no client 'nope'"),
        (("--client", ""), "there is no client"),
        (("--client", "\udcff"), "there is no client"),
        (("--user", "ada@example.com", "--client", "nope"), "there is no client 'nope'"),
        (("--user", "eve@example.com", "--client", "web"), "nobody has the address"),
    ],
)
def test_who_is_not_there_cannot_be_revoked(refused, rows, options, words):
    assert words in refused("tokens", "revoke", *options)
    assert rows(LEFT) == EVERYTHING
    assert rows(CODES_LEFT) == EVERY_CODE
