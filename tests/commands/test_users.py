"""`flask users …`."""

import json
import re

import pytest
from sqlalchemy import event, func, null

from database.tables import table
from models import AuthorizationCode, Consent, LogoutNotice, Token, User, UserSession, db
from protocol import clock
from services import passwords
from tests.builders import (
    ISSUER,
    PASSWORD,
    a_client,
    a_client_session,
    a_code,
    a_session,
    a_token,
    a_user,
    password_hash,
)
from tests.pages.steps import press, sign_in
from tests.statements import insert, select

NEW_PASSWORD = "another horse battery"
COUNT_PEOPLE = select(func.count()).select_from(User)
WHAT_A_PERSON_HAS = select(
    select(func.count()).select_from(UserSession).scalar_subquery(),
    select(func.count()).select_from(AuthorizationCode).scalar_subquery(),
    select(func.count()).select_from(Token).scalar_subquery(),
)


@pytest.fixture
def ada(seed):
    """Ada, signed in at the server and at a client, with a code on its way; and Bob, who has the same."""
    seed(a_user(), a_user(id=2, sub="sub-of-bob", email="bob@example.com"), a_client())
    for user_id, slot in ((1, 0), (1, 1), (2, 0)):
        seed(a_token(user_id=user_id, slot=slot), a_session(10 * user_id + slot, user_id=user_id))
    seed(a_code("code of ada"), a_code("code of bob", user_id=2))


def test_add_stores_a_verified_address_in_lower_case(flask_json, rows):
    options = ("--name", "Ada", "--password-stdin")
    added = flask_json("users", "add", "Ada@Example.com", *options, input=f"{PASSWORD}\n")
    assert (added["email"], added["name"], "is_admin" in added) == ("ada@example.com", "Ada", False)
    assert added["email_verified_at"] == added["created_at"]
    assert added["disabled_at"] is None
    [(sub, stored_hash)] = rows(select(User.sub, User.password_hash))
    assert sub == added["sub"]
    assert passwords.is_right(PASSWORD, stored_hash)


def test_who_was_added_can_sign_in(flask, http):
    flask("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    sign_in(http)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nsecond line\n"])
def test_the_password_is_the_first_line(flask_json, rows, ending):
    flask_json("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD + ending)
    [(stored_hash,)] = rows(select(User.password_hash))
    assert passwords.is_right(PASSWORD, stored_hash)


def test_blanks_around_a_password_belong_to_it(flask_json, rows):
    flask_json("users", "add", "ada@example.com", "--password-stdin", input=f" {PASSWORD} \n")
    [(stored_hash,)] = rows(select(User.password_hash))
    assert passwords.is_right(f" {PASSWORD} ", stored_hash)


def test_without_json_the_words_go_to_stderr(flask):
    done = flask("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    assert (done.exit_code, done.stdout) == (0, "")
    added, place = done.stderr.splitlines()
    assert added == "Added ada@example.com."
    assert re.fullmatch(rf"Issuer {ISSUER}, database sqlite:////.*/ostiary\.sqlite3", place)


@pytest.mark.parametrize(
    ("email", "options", "password", "words"),
    [
        ("nobody", (), PASSWORD, ["'nobody' is not an email address"]),
        ("ada@example.com", (), "short", ["at least 12 characters"]),
        ("ada@example.com", (), "", ["at least 12 characters"]),
        ("ada@example.com", (), "x" * 1025, ["at most 1,024 characters"]),
        ("ada@example.com", (), b"\xff" * 12, ["not UTF-8"]),
        ("ada@example.com", ("--name", "x" * 201), PASSWORD, ["at most 200 characters"]),
        ("ada@example.com", ("--name", "a\x1b[2J"), PASSWORD, ["printable"]),
        ("nobody", ("--name", "x" * 201), "short", ["email address", "at most 200", "at least 12"]),
    ],
)
def test_add_refuses_what_will_not_do_and_stores_nobody(refused, rows, email, options, password, words):
    told = refused("users", "add", email, *options, "--password-stdin", input=password)
    assert all(word in told for word in words)
    assert rows(COUNT_PEOPLE) == [(0,)]


def test_an_address_is_added_once(refused, seed, rows):
    seed(a_user())
    assert "already" in refused("users", "add", "ADA@example.com", "--password-stdin", input=PASSWORD)
    assert rows(COUNT_PEOPLE) == [(1,)]


def test_an_address_that_a_rival_adds_meanwhile_is_refused_too(app, refused, rows):
    """The unique key has the last word: the rival comes between the look and the INSERT."""
    rival = {"email": "ada@example.com", "sub": "rival", "name": "", "is_admin": False, "created_at": 1}
    with app.app_context():

        @event.listens_for(db.session.session_factory, "before_flush", once=True)
        def rival_is_faster(session, *rest):
            with db.engine.begin() as connection:
                connection.execute(insert(table(User)), rival)

    assert "already" in refused("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    assert rows(select(User.sub)) == [("rival",)]


@pytest.mark.parametrize("command", ["add", "set-password"])
def test_the_password_is_never_an_argument(flask, seed, command):
    seed(a_user())
    done = flask("users", command, "ada@example.com", input=PASSWORD)
    assert done.exit_code == 2
    assert "--password-stdin" in done.stderr


# ---- claims of OpenID Connect ------------------------------------------------------------------------------


def set_options(**claims):
    return [text for name, value in claims.items() for text in ("--set", f"{name}={json.dumps(value)}")]


CLAIMS = {
    "given_name": "Ada",
    "birthdate": "1815-12-10",
    "zoneinfo": "Europe/London",
    "phone_number": "+44 20 7946 0000",
    "phone_number_verified": True,
    "address": {"country": "United Kingdom"},
}


def test_add_stores_claims_and_leaves_out_null(flask_json, rows):
    options = ("--name", "Ada", *set_options(**CLAIMS, nickname=None))
    added = flask_json("users", "add", "ada@example.com", *options, "--password-stdin", input=PASSWORD)
    assert added["claims"] == CLAIMS
    assert rows(select(User.claims, User.updated_at)) == [(CLAIMS, None)]
    assert flask_json("users", "show", "ada@example.com")["claims"] == CLAIMS


def test_set_changes_what_is_given_and_says_when(flask_json, flask, seed, rows, sleep):
    seed(a_user(claims={"given_name": "Ada", "nickname": "A."}))
    sleep(60)
    options = ("--name", "Ada King", *set_options(nickname=None, family_name="King"))
    changed = flask_json("users", "set", "ADA@example.com", *options)
    assert (changed["name"], changed["claims"]) == ("Ada King", {"given_name": "Ada", "family_name": "King"})
    assert rows(select(User.updated_at)) == [(clock.now(),)]
    assert re.search(r"^claims +.*King", flask("users", "show", "ada@example.com").stdout, re.MULTILINE)


def test_set_of_what_is_there_already_changes_nothing(flask, seed, rows):
    seed(a_user(claims={"given_name": "Ada"}))
    done = flask(
        "users", "set", "ada@example.com", "--name", "Ada", *set_options(given_name="Ada", nickname=None)
    )
    assert done.exit_code == 0
    assert done.stderr.startswith("Nothing is new about ada@example.com.\n")
    assert rows(select(User.updated_at)) == [(None,)]


def test_a_person_from_before_has_no_claims(flask_json, seed, rows):
    """Their column is null until the migration has filled it."""
    seed(a_user(claims=null()))
    assert rows(select(User.claims)) == [(None,)]
    assert flask_json("users", "show", "ada@example.com")["claims"] == {}
    assert flask_json("users", "set", "ada@example.com", *set_options(gender="x"))["claims"] == {
        "gender": "x"
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "nickname"), "write NAME=JSON"),
        (("--set", "nickname=Ada"), "write NAME=JSON"),
        (("--set", "nickname=1"), "nickname must be printable text"),
        (("--set", "nickname=1", "--set", "nickname=2"), "give it once"),
        (("--set", 'name="Ada"'), "use --name"),
        (("--set", 'sub="ada"'), "it cannot be set"),
        (("--set", 'email="eve@example.com"'), "use `users set --email`"),
        (("--set", 'groups="admins"'), "groups must be a list"),
        (("--set", "email_verified=true"), "it cannot be set"),
        (("--set", "updated_at=1"), "it cannot be set"),
        (("--set", "shoe_size=1"), "no claim that this server has"),
        (("--set", 'password_hash="x"'), "no claim that this server has"),
        (("--set", "phone_number_verified=true"), "needs a phone_number"),
        (("--set", 'address={"country":"a\\u001b[2J"}'), "address must have printable text"),
        (("--name", "x" * 201), "at most 200 characters"),
    ],
)
@pytest.mark.parametrize("command", ["add", "set"])
def test_claims_that_are_refused(refused, seed, rows, command, options, words):
    seed(a_user())
    before = rows(select(table(User)))
    if command == "add":
        told = refused("users", "add", "eve@example.com", *options, "--password-stdin", input=PASSWORD)
    else:
        told = refused("users", "set", "ada@example.com", *options)
    assert words in told
    assert rows(select(table(User))) == before


def test_problems_of_a_person_are_told_together(refused):
    told = refused(
        "users", "add", "x", *set_options(birthdate="now", locale=1), "--password-stdin", input="short"
    )
    assert [word for word in ("'x' is not", "birthdate", "locale", "at least 12") if word not in told] == []


def test_a_person_may_be_in_groups(flask_json):
    added = flask_json(
        "users", "add", "ada@example.com", *set_options(groups=["admins"]), "--password-stdin", input=PASSWORD
    )
    assert added["claims"] == {"groups": ["admins"]}
    changed = flask_json("users", "set", "ada@example.com", *set_options(groups=["dev", "ops"]))
    assert changed["claims"] == {"groups": ["dev", "ops"]}
    assert flask_json("users", "set", "ada@example.com", *set_options(groups=None))["claims"] == {}


# ---- another address ---------------------------------------------------------------------------------------


def test_another_address_is_the_same_person(flask_json, http, ada, rows, sleep):
    """To clients and here: `sub`, password, sessions and tokens stay.

    The operator's word verifies the address.
    """
    before = rows(WHAT_A_PERSON_HAS)
    sleep(60)
    changed = flask_json("users", "set", "ada@example.com", "--email", " Countess@Example.COM ")
    assert (changed["email"], changed["sub"], changed["name"]) == (
        "countess@example.com",
        "sub-of-ada",
        "Ada",
    )
    assert changed["email_verified_at"] == changed["updated_at"] == clock.now()
    assert rows(WHAT_A_PERSON_HAS) == before
    assert (
        press(http, http.get("/login"), "Sign in", email="ada@example.com", password=PASSWORD).status_code
        == 400
    )
    sign_in(http, "countess@example.com")
    assert flask_json("users", "show", "countess@example.com")["sub"] == "sub-of-ada"


def test_the_old_address_is_free_again(flask_json, ada):
    flask_json("users", "set", "ada@example.com", "--email", "countess@example.com", "--name", "Ada King")
    added = flask_json("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    assert added["sub"] != "sub-of-ada"


@pytest.mark.parametrize(
    ("new", "words"),
    [("nobody", "'nobody' is not an email address"), ("", "is not an"), ("BOB@example.com", "already")],
)
def test_an_address_that_will_not_do(refused, ada, rows, new, words):
    before = rows(select(table(User)))
    told = refused("users", "set", "ada@example.com", "--email", new, "--name", "x" * 201)
    assert words in told
    assert "at most 200" in told
    assert rows(select(table(User))) == before


def test_the_address_that_is_there_already_changes_nothing(flask, ada):
    done = flask("users", "set", "ada@example.com", "--email", "ADA@example.com")
    assert done.exit_code == 0
    assert done.stderr.startswith("Nothing is new about ada@example.com.\n")


def test_set_of_nothing_is_a_usage_error(flask, seed):
    seed(a_user())
    assert flask("users", "set", "ada@example.com").exit_code == 2


# ---- list, show --------------------------------------------------------------------------------------------


def test_list_shows_everybody_with_their_state(flask, flask_json, seed):
    seed(a_user(), a_user(id=2, sub="b", email="bob@example.com", name="", disabled_at=1))
    assert [(person["email"], person["disabled_at"]) for person in flask_json("users", "list")] == [
        ("ada@example.com", None),
        ("bob@example.com", 1),
    ]
    lines = flask("users", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["EMAIL", "ada@example.com", "bob@example.com"]
    assert "1970-01-01T00:00:01Z" in lines[2]


def test_list_of_nobody_is_empty(flask, flask_json):
    assert flask_json("users", "list") == []
    assert flask("users", "list").stdout.startswith("EMAIL")


def test_show_counts_live_sessions_and_tokens(flask, flask_json, ada, seed):
    seed(a_session(3, expires_at=clock.now()))
    shown = flask_json("users", "show", "ADA@example.com")
    assert (shown["email"], shown["sub"]) == ("ada@example.com", "sub-of-ada")
    assert (shown["sessions"], shown["tokens"]) == (2, 2)
    assert "sub-of-ada" in flask("users", "show", "ada@example.com").stdout


@pytest.mark.parametrize("arguments", [("list",), ("show", "ada@example.com")])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_no_hash_is_shown(flask, ada, arguments, as_json):
    output = flask("users", *arguments, *as_json).output
    assert "sub-of-ada" in output
    assert password_hash() not in output
    assert "argon2" not in output
    assert "password" not in output


def test_what_would_move_the_cursor_is_not_printed(flask, seed):
    seed(a_user(name="Ada\x1b[2J\n"))
    assert "\x1b" not in flask("users", "list").stdout
    assert "\x1b" not in flask("users", "list", "--json").stdout


@pytest.mark.threat("T039", "T086", "T095")
@pytest.mark.parametrize("command", ["set-password", "disable", "sign-out", "remove"])
def test_it_ends_what_the_person_is_signed_in_to(flask_json, ada, rows, command):
    options = ("--password-stdin",) if command == "set-password" else ()
    ended = flask_json("users", command, "Ada@example.com", *options, input=NEW_PASSWORD)
    counts = {"sessions": 2, "codes": 1, "tokens": 2, "notices": 0}
    assert ended == {"email": "ada@example.com", "sub": "sub-of-ada"} | counts
    assert rows(WHAT_A_PERSON_HAS) == [(1, 1, 1)]
    assert rows(select(Token.user_id)) == [(2,)]


@pytest.mark.parametrize("command", ["set-password", "disable", "sign-out", "remove"])
def test_it_is_one_transaction_and_the_lock_comes_first(flask, ada, statements, command):
    options = ("--password-stdin",) if command == "set-password" else ()
    statements.clear()
    flask("users", command, "ada@example.com", *options, input=NEW_PASSWORD)
    first_change = next(n for n, sql in enumerate(statements) if sql.startswith(("UPDATE", "DELETE")))
    assert any(
        sql.startswith("SELECT end_user.id") and "AND end_user.id =" in sql
        for sql in statements[:first_change]
    )
    assert statements.count("COMMIT") == 1


def test_its_clients_will_be_told(flask, ada, rows, seed):
    client = a_client(client_id="told", extra_metadata={"backchannel_logout_uri": "https://told.example/"})
    seed(client, a_client_session(client_id="told", session_id=10), a_client_session("sid-2", session_id=10))
    done = flask("users", "sign-out", "ada@example.com")
    words = "Ended: 2 sessions, 1 code, 2 tokens. Clients that will be told: 1."
    assert done.stderr.startswith(f"ada@example.com is signed out. {words}\n")
    assert rows(select(LogoutNotice.client_id, LogoutNotice.sid)) == [("told", "sid-1")]


def test_set_password_stores_a_hash_and_ends_all_sessions(flask, ada, rows):
    done = flask("users", "set-password", "ada@example.com", "--password-stdin", input=NEW_PASSWORD)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith(
        "ada@example.com has a new password. Ended: 2 sessions, 1 code, 2 tokens.\n"
    )
    [(stored_hash,)] = rows(select(User.password_hash).where(User.id == 1))
    assert passwords.is_right(NEW_PASSWORD, stored_hash)


def test_set_password_refuses_a_weak_one_and_ends_nothing(refused, ada, rows):
    assert "at least 12" in refused(
        "users", "set-password", "ada@example.com", "--password-stdin", input="short"
    )
    assert rows(select(User.password_hash).where(User.id == 1)) == [(password_hash(),)]
    assert rows(WHAT_A_PERSON_HAS) == [(3, 2, 3)]


def test_disable_keeps_the_row_and_the_first_instant(flask, seed, rows):
    seed(a_user())
    assert flask("users", "disable", "ada@example.com").exit_code == 0
    [(disabled_at,)] = rows(select(User.disabled_at))
    assert abs(disabled_at - clock.now()) < 60


def test_disabling_again_changes_nothing(flask, seed, rows):
    seed(a_user(disabled_at=7))
    assert flask("users", "disable", "ada@example.com").exit_code == 0
    assert rows(select(User.disabled_at)) == [(7,)]


def test_enable_takes_the_instant_away(flask_json, seed, rows):
    seed(a_user(disabled_at=7))
    assert flask_json("users", "enable", "ada@example.com")["disabled_at"] is None
    assert rows(select(User.disabled_at)) == [(None,)]


def test_remove_takes_all_that_belongs_to_the_person(flask, ada, seed, rows):
    seed(Consent(user_id=1, client_id="web", scope="profile", granted_at=1))
    assert flask("users", "remove", "ada@example.com").exit_code == 0
    assert rows(select(User.email)) == [("bob@example.com",)]
    assert rows(select(Consent.user_id)) == []


@pytest.mark.parametrize(
    "command", ["show", "set", "set-password", "disable", "enable", "sign-out", "remove"]
)
@pytest.mark.parametrize("email", ["eve@example.com", "no address", "", "\udcff@example.com"])
def test_nobody_has_the_address(refused, seed, rows, command, email):
    seed(a_user())
    options = {"set-password": ("--password-stdin",), "set": ("--name", "Eve")}.get(command, ())
    assert "nobody has the address" in refused(
        "users", command, email, *options, "--json", input=NEW_PASSWORD
    )
    assert rows(COUNT_PEOPLE) == [(1,)]
