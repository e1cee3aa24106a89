"""Find the policy of each request by its path, before Flask looks for a route.

Session, Host and CORS are decided for addresses without a route too. Enters: the files with the endpoints and
pages. Leaves: one table, in front of the app. It is not made where an endpoint declares nothing, or what
cannot be true.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import ModuleType
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from middleware.endpoint_policy import (
    PAGE,
    POLICY,
    Caller,
    Cors,
    Csrf,
    DeclarationError,
    Endpoint,
    EndpointPolicy,
    Metadata,
)

# An address without a route that begins like one of programs: whoever asks is a program, and gets JSON.
NOT_FOUND = replace(PAGE, caller=Caller.PROGRAM, csrf=Csrf.NO_FORM)
# Clients look for metadata at several addresses; a page of any origin may read that there is none.
NO_DOCUMENT = replace(NOT_FOUND, methods=("GET", "HEAD"), cors=Cors.ANY_ORIGIN)


class PolicyTable:
    """The policies of all endpoints, by path."""

    def __init__(self, policies: Iterable[EndpointPolicy]) -> None:
        self.policies = list(policies)
        self.by_path = {path: policy for policy in self.policies for path in policy.paths}
        # Of the discovery document, and those that answer under any Host.
        self.documents = frozenset(
            path for path, policy in self.by_path.items() if policy.metadata is Metadata.DOCUMENT
        )
        self.at_any_host = frozenset(path for path, policy in self.by_path.items() if policy.any_host)
        self.beginnings = [
            (path.partition("<")[0], policy) for path, policy in self.by_path.items() if "<" in path
        ]
        self.beginnings += [("/.well-known/", NO_DOCUMENT), ("/api/", NOT_FOUND)]
        self.beginnings += [
            (path, NOT_FOUND) for path, policy in self.by_path.items() if policy.is_for_programs
        ]

    def find(self, path: str) -> EndpointPolicy:
        """Return what holds for a path: of its endpoint, of the addresses that it begins like, or `PAGE`."""
        found = self.by_path.get(path)
        if found is not None:
            return found
        return next((policy for beginning, policy in self.beginnings if path.startswith(beginning)), PAGE)

    def problems(self) -> Iterator[str]:
        """Yield what two endpoints both declare."""
        members = [policy.member for policy in self.policies if policy.member is not None]
        paths = [path for policy in self.policies for path in policy.paths]
        yield from (
            f"{name} is declared twice" for name, times in Counter(members + paths).items() if times > 1
        )

    def check_pages(self, app: Flask) -> None:
        """Raise DeclarationError for a page that begins like an address of programs and declares nothing."""
        paths = [rule.rule for rule in app.url_map.iter_rules() if rule.rule not in self.by_path]
        check(f"{path} is a page where programs ask" for path in paths if self.find(path) is not PAGE)


class PolicyLookup:
    """Writes into the environ which policy a request falls under."""

    def __init__(self, app: WSGIApplication, table: PolicyTable) -> None:
        self.app = app
        self.table = table

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[POLICY] = self.table.find("/" + environ.get("PATH_INFO", "").lstrip("/"))  # as Flask reads it
        return self.app(environ, start_response)


def read_policies(endpoints: Iterable[ModuleType], pages: Iterable[ModuleType]) -> PolicyTable:
    """Return what these files declare. A page that declares nothing falls under `PAGE`.

    Raises DeclarationError with everything that is wrong.
    """
    declared: list[Endpoint] = []
    problems: list[str] = []
    for module in endpoints:
        blueprint = getattr(module, "blueprint", None)
        if isinstance(blueprint, Endpoint):
            declared.append(blueprint)
        else:
            problems.append(f"{module.__name__} declares no policy")
    declared += [module.blueprint for module in pages if isinstance(module.blueprint, Endpoint)]
    problems += [f"{found.import_name}: {text}" for found in declared for text in found.problems()]
    table = PolicyTable(found.policy for found in declared)
    check([*problems, *table.problems()])
    return table


def check(problems: Iterable[str]) -> None:
    """Raise DeclarationError where there are problems."""
    if found := list(problems):
        raise DeclarationError("\n".join(found))


def init_app(app: Flask, table: PolicyTable) -> None:
    """Put the table in front of this app."""
    app.wsgi_app = PolicyLookup(app.wsgi_app, table)  # type: ignore[method-assign]
