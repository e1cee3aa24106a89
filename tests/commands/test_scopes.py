"""`flask scopes …`."""

import pytest

from models import Scope
from tests.builders import a_client
from tests.statements import select

FROM_THE_START = [("address",), ("email",), ("groups",), ("openid",), ("phone",), ("profile",)]
NAMES = select(Scope.name).order_by(Scope.name)


def test_add_stores_the_scope_without_outer_blanks(flask_json, rows):
    added = flask_json("scopes", "add", "notes:read", "--description", " Read your notes ")
    assert added == {"name": "notes:read", "description": "Read your notes"}
    assert rows(select(Scope.description).where(Scope.name == "notes:read")) == [("Read your notes",)]


def test_what_was_added_is_offered(flask, http):
    done = flask("scopes", "add", "read", "--description", "Read your notes")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Added the scope read.\n")
    assert "read" in http.get("/.well-known/oauth-authorization-server").json["scopes_supported"]


@pytest.mark.parametrize(
    ("name", "description", "words"),
    [
        ("two words", "x", "cannot be a scope"),
        ('quo"te', "x", "cannot be a scope"),
        ("back\\slash", "x", "cannot be a scope"),
        ("é", "x", "cannot be a scope"),
        ("", "x", "cannot be a scope"),
        ("x" * 129, "x", "cannot be a scope"),
        ("read", "", "1 to 300 characters"),
        ("read", "  ", "1 to 300 characters"),
        ("read", "x" * 301, "1 to 300 characters"),
        ("read", "line\nbreak", "printable"),
        ("email", "x", "exists already"),
        ("offline_access", "x", "exists already"),
    ],
)
def test_add_refuses_what_is_no_scope_and_stores_nothing(refused, rows, name, description, words):
    assert words in refused("scopes", "add", name, "--description", description)
    assert rows(NAMES) == FROM_THE_START


def test_a_description_is_needed(flask):
    assert flask("scopes", "add", "read").exit_code == 2


def test_list_shows_the_scopes_of_a_new_database(flask, flask_json):
    assert [(scope["name"],) for scope in flask_json("scopes", "list")] == FROM_THE_START
    assert flask("scopes", "list").stdout.splitlines()[0].split() == ["NAME", "DESCRIPTION"]


def test_remove_takes_that_scope_alone(flask_json, rows):
    assert flask_json("scopes", "remove", "email") == {"name": "email"}
    assert rows(NAMES) == [name for name in FROM_THE_START if name != ("email",)]


def test_a_scope_in_use_stays(refused, seed, rows):
    seed(a_client(client_id="one"), a_client(client_id="two"), a_client(client_id="other", scope="profile"))
    told = refused("scopes", "remove", "email")
    assert "one, two" in told
    assert "other" not in told
    assert rows(NAMES) == FROM_THE_START


@pytest.mark.parametrize("name", ["nope", "offline_access", "", "\udcff"])
def test_there_is_no_such_scope(refused, rows, name):
    assert "there is no scope" in refused("scopes", "remove", name)
    assert rows(NAMES) == FROM_THE_START
