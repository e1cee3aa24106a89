"""`flask users …`."""

import pytest
from sqlalchemy import event, func, insert, select

from models import AuthorizationCode, Consent, Token, User, UserSession, db, table
from protocol import clock, passwords
from protocol.credentials import digest
from tests.builders import PASSWORD, a_client, a_code, a_token, a_user, password_hash

NEW_PASSWORD = "another horse battery"
COUNT_PEOPLE = select(func.count()).select_from(User)
WHAT_A_PERSON_HAS = select(
    select(func.count()).select_from(UserSession).scalar_subquery(),
    select(func.count()).select_from(AuthorizationCode).scalar_subquery(),
    select(func.count()).select_from(Token).scalar_subquery(),
)


def a_session(value="session", **changed):
    now = clock.now()
    return UserSession(
        **{"session_digest": digest(value), "user_id": 1, "created_at": now, "expires_at": now + 60} | changed
    )


@pytest.fixture
def ada(seed):
    """Ada, signed in at the server and at a client, with a code on its way; and Bob, who has the same."""
    seed(a_user(), a_user(id=2, sub="sub-of-bob", email="bob@example.com"), a_client())
    for user_id, slot in ((1, 0), (1, 1), (2, 0)):
        seed(a_token(user_id=user_id, slot=slot), a_session(f"session {user_id} {slot}", user_id=user_id))
    seed(a_code("code of ada"), a_code("code of bob", user_id=2))


def test_add(flask_json, rows):
    options = ("--name", "Ada", "--admin", "--password-stdin")
    added = flask_json("users", "add", "Ada@Example.com", *options, input=f"{PASSWORD}\n")
    assert (added["email"], added["name"], added["is_admin"]) == ("ada@example.com", "Ada", True)
    assert added["email_verified_at"] == added["created_at"]
    assert added["disabled_at"] is None
    [(sub, stored_hash)] = rows(select(User.sub, User.password_hash))
    assert sub == added["sub"]
    assert passwords.is_right(PASSWORD, stored_hash)


def test_who_was_added_can_sign_in(app, flask, http):
    flask("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    app.config["WTF_CSRF_ENABLED"] = False
    answer = http.post("/login", data={"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 303


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
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "Added ada@example.com.\n")


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
def test_add_refuses(refused, rows, email, options, password, words):
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


def test_list(flask, flask_json, seed):
    seed(a_user(), a_user(id=2, sub="b", email="bob@example.com", name="", disabled_at=1))
    assert [(person["email"], person["disabled_at"]) for person in flask_json("users", "list")] == [
        ("ada@example.com", None),
        ("bob@example.com", 1),
    ]
    lines = flask("users", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["EMAIL", "ada@example.com", "bob@example.com"]
    assert "1970-01-01T00:00:01Z" in lines[2]


def test_list_of_nobody(flask, flask_json):
    assert flask_json("users", "list") == []
    assert flask("users", "list").stdout.startswith("EMAIL")


def test_show(flask, flask_json, ada, seed):
    seed(a_session("over", expires_at=clock.now()))
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
    assert ended == {"email": "ada@example.com", "sub": "sub-of-ada", "sessions": 2, "codes": 1, "tokens": 2}
    assert rows(WHAT_A_PERSON_HAS) == [(1, 1, 1)]
    assert rows(select(Token.user_id)) == [(2,)]


@pytest.mark.parametrize("command", ["set-password", "disable", "sign-out", "remove"])
def test_it_is_one_transaction_and_the_lock_comes_first(flask, ada, statements, command):
    options = ("--password-stdin",) if command == "set-password" else ()
    statements.clear()
    flask("users", command, "ada@example.com", *options, input=NEW_PASSWORD)
    first_change = next(n for n, sql in enumerate(statements) if sql.startswith(("UPDATE", "DELETE")))
    assert statements[first_change - 1].startswith("SELECT end_user.id, end_user.sub, end_user.password_hash")
    assert statements.count("COMMIT") == 1


def test_set_password(flask, ada, rows):
    done = flask("users", "set-password", "ada@example.com", "--password-stdin", input=NEW_PASSWORD)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "ada@example.com has a new password. Ended: 2 sessions, 1 code, 2 tokens.\n"
    [(stored_hash,)] = rows(select(User.password_hash).where(User.id == 1))
    assert passwords.is_right(NEW_PASSWORD, stored_hash)


def test_set_password_refuses_a_weak_one_and_ends_nothing(refused, ada, rows):
    assert "at least 12" in refused("users", "set-password", "ada@example.com", "--password-stdin", input="short")
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


def test_enable(flask_json, seed, rows):
    seed(a_user(disabled_at=7))
    assert flask_json("users", "enable", "ada@example.com")["disabled_at"] is None
    assert rows(select(User.disabled_at)) == [(None,)]


def test_remove_takes_all_that_belongs_to_the_person(flask, ada, seed, rows):
    seed(Consent(user_id=1, client_id="web", scope="profile", granted_at=1))
    assert flask("users", "remove", "ada@example.com").exit_code == 0
    assert rows(select(User.email)) == [("bob@example.com",)]
    assert rows(select(Consent.user_id)) == []


@pytest.mark.parametrize("command", ["show", "set-password", "disable", "enable", "sign-out", "remove"])
@pytest.mark.parametrize("email", ["eve@example.com", "no address", "", "\udcff@example.com"])
def test_nobody_has_the_address(refused, seed, rows, command, email):
    seed(a_user())
    options = ("--password-stdin",) if command == "set-password" else ()
    assert "nobody has the address" in refused("users", command, email, *options, "--json", input=NEW_PASSWORD)
    assert rows(COUNT_PEOPLE) == [(1,)]
