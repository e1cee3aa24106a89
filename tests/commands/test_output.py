"""What all commands have in common: a migrated database, one transaction, clean words when the database will
not do.
"""

import fcntl
import os
from datetime import timedelta

import pytest
from sqlalchemy import event, func
from sqlalchemy.exc import OperationalError

import database
from app import create_app
from commands.output import CommandGroup
from config import Settings
from models import Scope, User, db
from protocol import clock
from tests.builders import ISSUER, PASSWORD, SECRET_KEY, a_client, a_user
from tests.commands.conftest import a_signing_key
from tests.statements import select, text

MIGRATE = "`.venv/bin/flask db upgrade`"
COUNT_SCOPES = select(func.count()).select_from(Scope)
COMMANDS = [
    ("users", "add", "eve@example.com", "--password-stdin"),
    ("users", "list"),
    ("users", "show", "ada@example.com"),
    ("users", "set", "ada@example.com", "--name", "Ada K."),
    ("users", "set-password", "ada@example.com", "--password-stdin"),
    ("users", "disable", "ada@example.com"),
    ("users", "enable", "ada@example.com"),
    ("users", "sign-out", "ada@example.com"),
    ("users", "remove", "ada@example.com"),
    ("clients", "add", "Web"),
    ("clients", "set", "web", "--pkce"),
    ("clients", "list"),
    ("clients", "show", "web"),
    ("clients", "rotate-secret", "web"),
    ("clients", "remove", "web"),
    ("scopes", "add", "read", "--description", "Read"),
    ("scopes", "list"),
    ("scopes", "remove", "email"),
    ("tokens", "revoke", "--user", "ada@example.com"),
    ("tokens", "revoke", "--client", "web"),
    ("keys", "list"),
    ("keys", "rotate"),
    ("keys", "retire", "key"),
    ("keys", "rewrap"),
    ("logout-notices", "list"),
]
OF_TENANTS = [  # `test_tenants.py` has a server that takes them
    ("tenants", "add", "acme"),
    ("tenants", "list"),
    ("tenants", "show", "acme"),
    ("tenants", "set", "acme", "max_sessions=2"),
    ("tenants", "disable", "acme"),
    ("tenants", "enable", "acme"),
    ("tenants", "remove", "acme", "--yes"),
]
ALL = [*COMMANDS, *OF_TENANTS]
EVERY_COMMAND = pytest.mark.parametrize("command", ALL, ids=lambda command: " ".join(command[:2]))


def run_on(database_url, command):
    app = create_app(Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY))
    done = app.test_cli_runner().invoke(args=command, input=PASSWORD, catch_exceptions=False)
    with app.app_context():
        db.engine.dispose()
    return done


def test_the_list_of_commands_is_whole(app):
    """A new one must join it: the tests below hold for all."""
    nouns = {name: noun.commands for name, noun in app.cli.commands.items() if isinstance(noun, CommandGroup)}
    assert {(noun, verb) for noun, verbs in nouns.items() for verb in verbs} == {
        command[:2] for command in ALL
    }


@EVERY_COMMAND
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
def test_a_database_that_is_not_migrated(tmp_path, command, as_json):
    done = run_on(f"sqlite:///{tmp_path / 'empty.sqlite3'}", (*command, *as_json))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"Error: the database is not migrated: run {MIGRATE} first\n"


@EVERY_COMMAND
def test_a_database_that_was_migrated_down(app, refused, command):
    with app.app_context():
        db.session.execute(text("DELETE FROM alembic_version"))
        db.session.commit()
    assert MIGRATE in refused(*command, input=PASSWORD)


@pytest.mark.integration
@pytest.mark.parametrize(
    "database_url",
    ["postgresql://owner:the-password@127.0.0.1:1/ostiary", "sqlite:////nowhere/at/all/ostiary.sqlite3"],
)
@pytest.mark.parametrize("command", [("users", "list"), ("clients", "add", "Web", "--json")])
def test_a_database_that_cannot_be_reached(database_url, command):
    done = run_on(database_url, command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the database cannot be used: ")
    assert len(done.stderr.splitlines()) == 1
    assert "the-password" not in done.stderr


@pytest.mark.integration
def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "ostiary.sqlite3"
    path.write_text("Dear diary, " * 1000)
    done = run_on(f"sqlite:///{path}", ("users", "list"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "SQLITE_NOTADB" in done.stderr


def test_a_lock_file_of_somebody_else(folder, refused, settings):
    """As a directory it cannot be opened by root either, which may open every file."""
    os.mkdir(folder / "ostiary.sqlite3.lock")
    told = refused("scopes", "add", "read", "--description", "Read")
    assert "ostiary.sqlite3.lock" in told


def test_a_queue_for_the_writer_that_is_too_long(monkeypatch, folder, refused, rows):
    before = rows(COUNT_SCOPES)
    monkeypatch.setattr(database.sqlite, "LOCK_FILE_TIMEOUT", timedelta(milliseconds=50))
    with open(folder / "ostiary.sqlite3.lock", "w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        assert "too busy" in refused("scopes", "add", "read", "--description", "Read")
    assert rows(COUNT_SCOPES) == before


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_it_is_one_transaction(flask, seed, statements, command):
    seed(a_user(), a_client(scope="profile"), a_signing_key("key", active_from=clock.now() + 600))
    statements.clear()
    done = flask(*command, "--json", input=PASSWORD)
    assert done.exit_code == 0, done.stderr
    assert statements.count("COMMIT") == 1
    assert statements[-1] == "COMMIT"
    assert "ROLLBACK" not in statements


@EVERY_COMMAND
def test_it_takes_help_without_a_database(tmp_path, command):
    done = run_on(f"sqlite:///{tmp_path / 'empty.sqlite3'}", (*command[:2], "--help"))
    assert done.exit_code == 0
    assert "--json" in done.stdout


def fail_commits(app, times):
    """The next commits lose a race, as they do on a database that checks serializability at the end."""
    left = [times]

    with app.app_context():

        @event.listens_for(db.engine, "commit")
        def lose(connection):
            if left[0]:
                left[0] -= 1
                connection.exec_driver_sql("ROLLBACK")
                busy = connection.dialect.dbapi.OperationalError("database is locked")
                busy.sqlite_errorcode, busy.sqlite_errorname = 5, "SQLITE_BUSY"
                raise OperationalError("COMMIT", None, busy)


def test_a_lost_race_is_run_again(app, flask_json, rows):
    [(before,)] = rows(COUNT_SCOPES)
    fail_commits(app, 2)
    flask_json("scopes", "add", "read", "--description", "Read your notes")
    assert rows(COUNT_SCOPES) == [(before + 1,)]


def test_nothing_is_announced_before_the_commit(app, refused, rows):
    """A secret of a client that was never stored must not be printed."""
    fail_commits(app, 3)
    assert "SQLITE_BUSY" in refused("clients", "add", "Web", "--json")
    assert "SQLITE_BUSY" not in refused("users", "show", "nobody@example.com")


def test_words_that_the_database_refuses_hide_the_values(app, refused, rows):
    with app.app_context():
        db.session.execute(
            text(
                "CREATE TRIGGER no_people BEFORE INSERT ON end_user BEGIN SELECT RAISE(ABORT, 'no"
                " more people'); END"
            )
        )
        db.session.commit()
    told = refused("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    assert told == "Error: the database refused: IntegrityError SQLITE_CONSTRAINT_TRIGGER\n"
    assert rows(select(func.count()).select_from(User)) == [(0,)]
