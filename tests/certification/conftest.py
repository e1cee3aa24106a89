"""A database as an operator prepares it for the certification suite, with the commands that
`docs/certification.md` names.
"""

import json
import shlex
import shutil

import pytest
from flask_migrate import upgrade

from app import create_app
from config import Settings
from models import db
from tests.builders import ISSUER, PASSWORD, SECRET_KEY
from tests.certification.modules import DOCUMENT, commands_in
from tests.certification.relying_party import RelyingParty


def settings_on(path):
    return Settings(
        issuer=ISSUER, database_url=f"sqlite:///{path}", secret_key=SECRET_KEY, allow_private_addresses=True
    )


def run(app, command, input=None):
    """What a command of `flask …` prints with `--json`."""
    done = app.test_cli_runner().invoke(args=shlex.split(command)[1:], input=input, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def prepared(integration, tmp_path_factory):
    """The database file, and what the registration of each client printed, by the client's name."""
    path = tmp_path_factory.mktemp("certification") / "ostiary.sqlite3"
    app = create_app(settings_on(path))
    with app.app_context():
        upgrade()
    person, *clients = commands_in(DOCUMENT.read_text())
    run(app, person, input=f"{PASSWORD}\n")
    registered = [run(app, command) for command in clients]
    app.test_client().get("/oauth/jwks", base_url=ISSUER)  # makes the keys, which takes longer than a test
    with app.app_context():
        db.engine.dispose()
    return path, {client["client_name"]: client for client in registered}


@pytest.fixture
def settings(prepared, tmp_path):
    path = tmp_path / "ostiary.sqlite3"
    shutil.copy(prepared[0], path)
    return settings_on(path)


@pytest.fixture
def app(stopped_clock, settings):
    app = create_app(settings)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def flask(app):
    """Run `flask …` in this process: a result with `exit_code`, `stdout` and `stderr`."""
    return lambda *arguments: app.test_cli_runner().invoke(args=arguments, catch_exceptions=False)


@pytest.fixture
def party(http, prepared, sleep):
    """A function that makes the client of this name ready.

    The clock stands still, and nobody is signed in.
    """
    return lambda name, **changed: RelyingParty(http, prepared[1][name], **changed)


@pytest.fixture
def client(party):
    return party("client")


@pytest.fixture
def client2(party):
    return party("client2")
