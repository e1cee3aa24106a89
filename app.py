"""The application: settings in, a Flask app out, wired in the order in which a request meets the parts.

settings → front door (Host, origin, headers) → browser session → unit of work → endpoints and pages → storage
"""

import atexit
import gc
import logging
import os
import sys
from functools import partial
from typing import Any
from weakref import WeakSet

from flask import Flask, Response
from flask.ctx import AppContext
from flask_migrate import Migrate

import browser
import browser_ids
import commands
import cors
import database
import errors
import events
import failpoints
import forms
import front_door
import my_oauth
import unit_of_work
from config import PROJECT, Settings
from courier import Courier
from endpoints import authorize, discovery, health, introspect, jwks, logout, me, revoke, token, userinfo
from errors import ConfigError
from fetching import Documents, Fetcher
from keyring import Keyring
from models import db
from pages import account, account_applications, account_password, accounts, assets, demo, home, login, signup
from protocol import passwords
from secret_uses import SecretUses

ENDPOINTS = [authorize, token, userinfo, introspect, revoke, logout, discovery, jwks, me, health]
PAGES = [assets, home, login, signup, accounts, account, account_applications, account_password, demo]
APPS: WeakSet[Flask] = WeakSet()  # of this process
WSGI_SERVERS = ("gunicorn.arbiter", "granian", "waitress.server", "uwsgi", "mod_wsgi")


class Application(Flask):
    """Flask with every view inside one transaction."""

    def dispatch_request(self, *ctx: AppContext) -> Response:
        """Return the answer to one request. Flask 3.2 passes its context, 3.1 passes nothing."""
        view = browser.with_use_written(forms.answered_once(partial(super().dispatch_request, *ctx)))
        with forms.one_at_a_time():
            return forms.told_if_stale(unit_of_work.settle(cors.shared(view)))


def create_app(settings: Settings | None = None) -> Flask:
    """The app. Reads the environment when it is given no settings. Raises ConfigError; opens no connection."""
    if settings is None:
        try:
            settings = Settings()
        except ConfigError as error:
            if not commands.only_tells(sys.argv[1:]):
                raise
            return without_settings(error)
    check_database_fits(settings, is_served())
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        events.configure(settings.log_level if "run" in sys.argv else "WARNING")
    app = Application(__name__, root_path=str(PROJECT), instance_path=str(PROJECT / "instance"))
    app.extensions["ostiary.settings"] = settings
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=database.engine_options(settings.database_url),
    )
    logging.getLogger("authlib").setLevel(logging.INFO)  # at DEBUG it prints whole tokens

    front_door.init_app(app, settings)
    cors.init_app(app)
    forms.init_app(app)
    browser.init_app(app, settings)
    browser_ids.init_app(app, settings)
    errors.init_app(app, database.is_unavailable)
    my_oauth.init_app(app, settings)
    remember_nothing(app)
    if is_served():
        app.before_request(app.extensions["ostiary.courier"].start)
    for module in (*ENDPOINTS, *PAGES):
        app.register_blueprint(module.blueprint)

    db.init_app(app)
    with app.app_context():
        database.prepare(db.engine)
        if settings.failpoint is not None:
            failpoints.arm(db.engine, settings.failpoint)
    Migrate(app, db, directory=str(PROJECT / "migrations"))
    commands.init_app(app)
    APPS.add(app)
    return app


class Refusal(dict[str, Any]):
    """Extensions of an app that has none."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__()
        self.error = error

    def __missing__(self, name: str) -> Any:
        raise self.error


def without_settings(error: ConfigError) -> Flask:
    """An app that can say which version it is and which commands there are. Whatever needs more ends with the error."""
    app = Flask(__name__, root_path=str(PROJECT))
    app.extensions = Refusal(error)
    commands.init_app(app)
    return app


def remember_nothing(app: Flask) -> None:
    """What a process keeps in memory, empty: keys, documents of clients, uses of their secrets, notices, places for hashes."""
    settings: Settings = app.extensions["ostiary.settings"]
    fetcher = Fetcher(settings)
    app.extensions["ostiary.keyring"] = Keyring(settings)
    app.extensions["ostiary.fetcher"] = fetcher
    app.extensions["ostiary.documents"] = Documents(fetcher, settings.client_fetches)
    app.extensions["ostiary.secret_uses"] = SecretUses()
    app.extensions["ostiary.courier"] = Courier(app)
    app.extensions["ostiary.password_hashes"] = passwords.Slots(settings.password_hashes)


@atexit.register
def end() -> None:
    """Close what the apps of this process have open, so that an SQLite file is whole without its -wal; then end at once.

    Python would look through all of its memory first: a third of a second for a command, more for a server.
    """
    for app in APPS:
        with app.app_context():
            db.engine.dispose()
    gc.freeze()


def is_served() -> bool:
    """Whether this process is a WSGI server's."""
    return any(name in sys.modules for name in WSGI_SERVERS) or os.environ.get("FLASK_RUN_FROM_CLI") == "true"


def check_database_fits(settings: Settings, is_served: bool) -> None:
    """In-memory SQLite is one connection for one thread: the test client's. Threads on it lose rows. And a file needs locks."""
    if not is_served:
        return
    if database.is_memory(settings.database_url):
        raise ConfigError(["OSTIARY_DATABASE_URL is in-memory SQLite: it is for the test client alone, use a file"])
    if found := database.place_findings(settings.database_url):
        raise ConfigError([finding.text for finding in found])
