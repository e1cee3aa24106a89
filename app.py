"""Make the Flask app from the settings, wired in the order in which a request meets the parts.

settings → middleware (Host, origin, headers, cookies, forms) → unit of work → endpoints and pages → storage
"""

import atexit
import gc
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Never
from weakref import WeakSet

from flask import Flask, Request, Response, request
from flask.ctx import AppContext
from flask.typing import ResponseReturnValue
from flask_migrate import Migrate
from werkzeug.routing import MapAdapter

import commands
import database
import my_oauth
import unit_of_work
from config import PROJECT, Settings
from database import tenancy
from endpoints import (
    authorize,
    change_password,
    discovery,
    end_session,
    health,
    introspect,
    jwks,
    me,
    revoke,
    token,
    userinfo,
)
from errors import ConfigError
from middleware import (
    cors,
    error_responses,
    forms,
    issuers,
    logs,
    policy_table,
    proxies,
    repeated_forms,
    request_checks,
    security_headers,
    session_cookie,
)
from middleware.endpoint_policy import policy_of
from models import db
from pages import (
    account,
    account_applications,
    account_chooser,
    account_password,
    assets,
    demo,
    home,
    login,
    signup,
)
from services import current
from unit_of_work import PageSnapshot, Snapshot

ENDPOINTS = [
    authorize,
    token,
    userinfo,
    introspect,
    revoke,
    end_session,
    discovery,
    jwks,
    me,
    health,
    change_password,
]
PAGES = [assets, home, login, signup, account_chooser, account, account_applications, account_password, demo]
APPS: WeakSet[Flask] = WeakSet()  # of this process
WSGI_SERVERS = ("gunicorn.arbiter", "granian", "waitress.server", "uwsgi", "mod_wsgi")


class Application(Flask):
    """Flask, with each view inside one transaction, and what a page needs around pages alone."""

    request_class = request_checks.Request

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view or a hook as it is: none is a coroutine. Flask would look at each every time."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what finds the view, and makes URLs: their host is the issuer's, and is known by now."""
        if request is None:
            return super().create_url_adapter(None)
        where = request.environ["HTTP_HOST"], request.root_path, "", request.scheme
        path = request.path if request.environ["PATH_INFO"] else ""
        query = request.query_string.decode(errors="replace")
        return MapAdapter(self.url_map, *where, path, request.method, query)

    def dispatch_request(self, *ctx: AppContext) -> Response:
        """Return the answer to one request. Flask 3.2 passes its context, 3.1 passes nothing."""
        view: Callable[[], ResponseReturnValue] = partial(super().dispatch_request, *ctx)
        environ = request.environ
        if policy_of(environ).is_for_programs:
            view = cors.with_origin_check(view, environ)
            return unit_of_work.run_in_transaction(view, Snapshot(), current.forget_clients)
        view = repeated_forms.answer_once(view)
        view = session_cookie.record_session_use(view)
        with repeated_forms.in_single_flight():
            response = unit_of_work.run_in_transaction(view, PageSnapshot(), current.forget_clients)
            return forms.show_stale_form(response)

    def send_static_file(self, filename: str) -> Response:
        """Return a static file, which browsers keep where it was asked for by its present version."""
        return assets.cache_forever(filename, super().send_static_file(filename))


def finish(response: Response) -> Response:
    """Add the headers that every answer has, and write the line of a refusal."""
    environ = request.environ
    cors.add_headers(response, environ)
    security_headers.add_headers(response, environ)
    logs.write_refusal(response)
    return response


def create_app(settings: Settings | None = None) -> Flask:
    """Return the app. It reads the environment where no settings are given, and opens no connection.

    Raises ConfigError, and DeclarationError for an endpoint that declares nothing or contradicts itself.
    """
    policies = policy_table.read_policies(ENDPOINTS, PAGES)
    if settings is None:
        try:
            settings = Settings()
        except ConfigError as error:
            if not commands.needs_no_settings(sys.argv[1:]):
                raise
            return without_settings(error)
    check_database_fits(settings, is_served())
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        logs.configure(settings.log_level if "run" in sys.argv else "WARNING")
    app = Application(__name__, root_path=str(PROJECT), instance_path=str(PROJECT / "instance"))
    current.init_app(app, settings)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=database.engine_options(settings.database_url),
    )
    logging.getLogger("authlib").setLevel(logging.INFO)  # at DEBUG it prints whole tokens
    logging.getLogger("werkzeug").addFilter(logs.without_query)

    policy_table.init_app(app, policies)
    issuers.init_app(app, settings, policies)
    proxies.init_app(app, settings)
    app.before_request(request_checks.check_request)
    app.after_request(finish)
    forms.init_app(app)
    session_cookie.init_app(app, settings)
    error_responses.init_app(app, database.is_unavailable)
    my_oauth.init_app(app)
    if is_served():
        app.before_request(current.state_of(app).delivery.start)
    for module in (*ENDPOINTS, *PAGES):
        app.register_blueprint(module.blueprint)
    policies.check_pages(app)
    app.jinja_env.globals["brand_name"] = current.brand_name

    db.init_app(app)
    with app.app_context():
        # First the fence: a statement that it refuses begins no transaction and waits for no lock.
        tenancy.install(db.engine, db.metadata, must_be_entered=settings.tenants == "on")
        database.prepare(db.engine)
    Migrate(app, db, directory=str(PROJECT / "migrations"))
    commands.init_app(app)
    APPS.add(app)
    return app


class NoExtensions(dict[str, object]):
    """The extensions of an app without settings: each is refused with what is wrong with the settings."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__()
        self.error = error

    def __missing__(self, name: str) -> Never:
        raise self.error


def without_settings(error: ConfigError) -> Flask:
    """Return an app that can only tell its version and its commands. Whatever needs more raises the error."""
    app = Flask(__name__, root_path=str(PROJECT))
    app.extensions = NoExtensions(error)
    commands.init_app(app)
    return app


@atexit.register
def end() -> None:
    """Close the connections of this process, and end at once.

    So an SQLite file is whole without its -wal. Python would look through all of its memory first: a third of
    a second for a command, more for a server.
    """
    for app in APPS:
        with app.app_context():
            db.engine.dispose()
    gc.freeze()


def is_served() -> bool:
    """Return whether this process is a WSGI server's."""
    return any(name in sys.modules for name in WSGI_SERVERS) or os.environ.get("FLASK_RUN_FROM_CLI") == "true"


def check_database_fits(settings: Settings, is_served: bool) -> None:
    """Raise ConfigError where a server would lose rows in this database.

    In memory SQLite is one connection for one thread, the test client's. A file needs a file system with
    locks.
    """
    if not is_served:
        return
    if database.is_memory(settings.database_url):
        raise ConfigError(
            ["OSTIARY_DATABASE_URL is in-memory SQLite: it is for the test client alone, use a file"]
        )
    if found := database.check_location(settings.database_url):
        raise ConfigError([finding.text for finding in found])
