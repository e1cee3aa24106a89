"""What operators type: the same forms and the same refusals as at the pages, whichever command or file it
comes from.
"""

import json

import pytest

from config import Settings
from models import Client, Scope, User
from tests.builders import PASSWORD, REDIRECT_URI, SECRET_KEY, a_user
from tests.protocol.test_typed_text import NAMES, PERSIAN
from tests.statements import select

DECOMPOSED, COMPOSED = "Rene\u0301e\u00a0\u3000X", "Renée X"
OVERRIDE = "a\u202eb"
ADD = ("users", "add", "ada@corp.local", "--password-stdin")
LOOPBACK = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    "email", ["ada@corp.local", "ada@srv.home.arpa", "ada@nas.lan", "ada@localhost", f"{PERSIAN}@x.test"]
)
def test_somebody_of_a_closed_network(flask_json, email):
    assert flask_json("users", "add", email, "--password-stdin", input=PASSWORD)["email"] == email
    assert flask_json("users", "set", email.upper(), "--name", "Ada")["name"] == "Ada"
    assert flask_json("users", "show", email)["name"] == "Ada"


def test_text_is_kept_in_one_form(flask_json, rows):
    claims = (
        ("nickname", DECOMPOSED),
        ("groups", [DECOMPOSED]),
        ("phone_number", "+49\u00a0１７１ 555"),
        ("address", {"formatted": f"{DECOMPOSED}\n{DECOMPOSED}", "country": DECOMPOSED}),
    )
    members = [word for name, value in claims for word in ("--set", f"{name}={json.dumps(value)}")]
    person = flask_json(*ADD, "--name", DECOMPOSED, *members, input=PASSWORD)
    assert person["name"] == COMPOSED
    kept = {
        "nickname": COMPOSED,
        "groups": [COMPOSED],
        "phone_number": "+49 171 555",
        "address": {"formatted": f"{COMPOSED}\n{COMPOSED}", "country": COMPOSED},
    }
    assert person["claims"] == kept
    flask_json("scopes", "add", "read", "--description", DECOMPOSED)
    members = (
        "--set",
        f"client_name#fr={json.dumps(DECOMPOSED)}",
        "--set",
        f"contacts={json.dumps([DECOMPOSED])}",
    )
    client = flask_json("clients", "add", DECOMPOSED, "--redirect-uri", REDIRECT_URI, *members)
    assert (client["client_name"], client["client_name#fr"], client["contacts"]) == (
        COMPOSED,
        COMPOSED,
        [COMPOSED],
    )
    assert (
        flask_json("clients", "set", client["client_id"], "--name", f" {DECOMPOSED}!")["client_name"]
        == f"{COMPOSED}!"
    )
    assert rows(select(Scope.description).where(Scope.name == "read")) == [(COMPOSED,)]


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_text_of_every_script(flask_json, seed, text):
    seed(a_user())
    person = flask_json(
        "users", "set", "ada@example.com", "--name", text, "--set", f"given_name={json.dumps(text)}"
    )
    assert (person["name"], person["claims"]["given_name"]) == (text, text)
    assert flask_json("clients", "add", text, "--redirect-uri", REDIRECT_URI)["client_name"] == text
    assert flask_json("scopes", "add", "read", "--description", text)["description"] == text


@pytest.mark.threat("T117")
@pytest.mark.parametrize(
    "words",
    [
        (*ADD, "--name", OVERRIDE),
        (*ADD, "--set", f'nickname="{OVERRIDE}"'),
        (*ADD, "--set", f'address={{"country":"{OVERRIDE}"}}'),
        ("clients", "add", OVERRIDE, "--redirect-uri", REDIRECT_URI),
        ("clients", "add", "a", "--redirect-uri", REDIRECT_URI, "--set", f'contacts=["{OVERRIDE}"]'),
        ("clients", "add", "a", "--redirect-uri", REDIRECT_URI, "--set", f'client_name#he="{OVERRIDE}"'),
        ("scopes", "add", "read", "--description", OVERRIDE),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_override_is_refused(refused, words):
    told = refused(*words, input=PASSWORD)
    assert "printable text" in told
    assert OVERRIDE not in told


def test_a_table_shows_letters_and_no_controls(flask, seed):
    seed(a_user(name=f"{PERSIAN}\x1b[2J\u202e"))
    assert f"{PERSIAN}?[2J?" in flask("users", "list").stdout


@pytest.mark.parametrize(
    "settings", [Settings(issuer=LOOPBACK, database_url="sqlite://", secret_key=SECRET_KEY)]
)
def test_a_seed_file_follows_the_same_rules(app, flask_json, rows, tmp_path, settings):
    entry = {
        "email": "Ada@Corp.Local",
        "password": PASSWORD,
        "name": DECOMPOSED,
        "claims": {"nickname": DECOMPOSED},
    }
    client = {
        "client_id": "web",
        "client_name": DECOMPOSED,
        "redirect_uris": [REDIRECT_URI],
        "contacts": [DECOMPOSED],
    }
    scope = {"name": "read", "description": DECOMPOSED}
    file = tmp_path / "seed.json"
    file.write_text(json.dumps({"users": [entry], "clients": [client], "scopes": [scope]}))
    for _twice in range(2):
        flask_json("seed", "--migrate", str(file))
        assert rows(select(User.email, User.name, User.claims)) == [
            ("ada@corp.local", COMPOSED, {"nickname": COMPOSED})
        ]
        assert rows(select(Client.client_name, Client.extra_metadata)) == [
            (COMPOSED, {"contacts": [COMPOSED]})
        ]
        assert rows(select(Scope.description).where(Scope.name == "read")) == [(COMPOSED,)]
