"""Serve each issuer at its own host and path: this server's own, and those of its tenants.

Where tenants are off there is one, and nothing is looked up.
"""

from collections.abc import Iterable
from weakref import WeakKeyDictionary
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from config import Settings
from database.tenancy import HOME
from errors import ConfigError, StorageBusyError
from middleware.policy_table import PolicyTable
from middleware.proxies import OUTSIDE_PREFIX, UNSERVED, at_host, at_issuer
from services.current import state_of
from services.tenant_registry import BELOW
from services.tenant_state import TenantState, enter, entered, leave

TENANT_NAME = "ostiary.tenant"  # in the environ, for the line that the server writes; not there for home


def init_app(app: Flask, settings: Settings, policies: PolicyTable) -> None:
    """Put this server's issuer in front of the app, or all of them."""
    if settings.tenants == "on":
        app.wsgi_app = Issuers(app, policies)  # type: ignore[method-assign]
    else:
        served = at_issuer(app.wsgi_app, settings, policies)
        app.wsgi_app = as_home(app, served)  # type: ignore[method-assign,assignment]


def as_home(app: Flask, served: WSGIApplication) -> WSGIApplication:
    """Serve each request as home, which then is not looked up again for each setting that it reads."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        before = enter(state_of(app).tenants.home)
        try:
            return served(environ, start_response)
        finally:
            leave(before)

    return serve


class Issuers:
    """Finds the tenant by the Host and the path, and serves the request as its issuer.

    A Host of no issuer is left to home, which refuses it. A path below `/t/` of no tenant is a 404. While the
    tenants cannot be read, and where the tenant's settings cannot be used, the answer is a 503.
    """

    def __init__(self, app: Flask, policies: PolicyTable) -> None:
        self.flask = app
        self.app = app.wsgi_app
        self.policies = policies
        home = state_of(app).settings
        self.home_path = home.path
        self.nowhere = at_host(self.app, home)
        self._of_tenants: WeakKeyDictionary[TenantState, WSGIApplication] = WeakKeyDictionary()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        tenants = state_of(self.flask).tenants
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if {path, path.removeprefix(self.home_path)} & self.policies.at_any_host:
            return self.serve(tenants.home, environ, start_response)
        try:
            tenant = tenants.find(environ.get("HTTP_HOST", ""), path)
        except (ConfigError, SQLAlchemyError, StorageBusyError) as error:
            environ[UNSERVED] = error
            return self.refuse(path, environ, start_response)
        if tenant is None:
            environ[OUTSIDE_PREFIX] = True
            return self.refuse(path, environ, start_response)
        return self.serve(tenant, environ, start_response)

    def refuse(self, path: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let home answer what is no tenant's, as a program or a user gets it."""
        inside = BELOW.sub("", path, count=1)  # tells whether a program asks
        environ |= {"SCRIPT_NAME": self.home_path, "PATH_INFO": inside}
        with entered(state_of(self.flask).tenants.home):
            return self.nowhere(environ, start_response)

    def serve(
        self, tenant: TenantState, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request as a tenant."""
        app = self._of_tenants.get(tenant)
        if app is None:
            app = self._of_tenants[tenant] = at_issuer(self.app, tenant.settings, self.policies)
        if tenant.id != HOME:
            environ[TENANT_NAME] = tenant.name
        with entered(tenant):
            return app(environ, start_response)
