"""Declare what holds for the addresses of an endpoint file: the `policy` at its top, and its blueprint.

`middleware/policy_table.py` finds the policy that a request falls under. All pages share `PAGE`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from flask import Blueprint, current_app, request
from flask.typing import RouteCallable

POLICY = "ostiary.policy"  # in the environ
MAXIMUM_BODY = 64 * 1024  # the longest body that this server reads at any address
READING = frozenset({"GET", "HEAD"})
OF_BROWSERS = READING | {"POST"}  # what links and forms can send
METHODS = OF_BROWSERS | {"PUT", "PATCH", "DELETE"}


class Caller(Enum):
    """Who calls an endpoint."""

    PROGRAM = "program"  # gets JSON; has no cookies and no session
    USER = "user"  # a user's browser: gets pages; has cookies


class Cors(Enum):
    """Which pages of other origins may read the answers."""

    NONE = "none"
    PUBLIC_CLIENTS = "public clients"  # those at the registered origins of public clients
    ANY_ORIGIN = "any origin"


class Csrf(Enum):
    """Return whether a POST is a form of one of our own pages, and has to prove it."""

    NO_FORM = "no form"
    EVERY_POST = "every post"


class Metadata(Enum):
    """What an endpoint is to the discovery document, where it is no member of it."""

    NONE = "none"
    DOCUMENT = "document"  # it is the document; an issuer's path stands behind its name (RFC 8414 §3.1)


class DeclarationError(Exception):
    """Endpoints declare nothing, or what cannot be true. Its text is for the developer."""


@dataclass(frozen=True, kw_only=True)
class EndpointPolicy:
    """What holds for the paths of one endpoint file.

    paths: written as Flask's routes. csrf: instead, the parameter that makes a POST a form of ours; without
    it, a client's page has sent the request. any_host: whether it answers under a Host that is not the
    issuer's.
    body_limit: in bytes; 0 where no body is read. metadata: instead, the member of the discovery document
    that holds its address.
    """

    paths: tuple[str, ...]
    methods: tuple[str, ...]
    caller: Caller
    cors: Cors
    csrf: Csrf | str
    any_host: bool
    body_limit: int
    metadata: Metadata | str

    @cached_property
    def is_for_programs(self) -> bool:
        """Return whether a program gets the answer: as JSON, and without a session."""
        return self.caller is Caller.PROGRAM

    @cached_property
    def member(self) -> str | None:
        """The member of the discovery document that holds the address."""
        return self.metadata if isinstance(self.metadata, str) else None

    def contradictions(self) -> Iterator[str]:
        """Yield what cannot be true, in words for the developer."""
        methods, is_for_users = frozenset(self.methods), not self.is_for_programs
        has_form, is_shared = self.csrf is not Csrf.NO_FORM, self.cors is not Cors.NONE
        rules = {
            "there is no path": not self.paths,
            "a path begins with one slash": not all(is_path(path) for path in self.paths),
            "there is no method, or none of HTTP": not methods or not methods <= METHODS,
            "a browser sends GET and POST only": is_for_users and not methods <= OF_BROWSERS,
            "a browser's POST needs a way to tell forms of ours": (
                is_for_users and "POST" in methods and not has_form
            ),
            "a program has no session to protect from forged forms": self.is_for_programs and has_form,
            "without POST there is no form": has_form and "POST" not in methods,
            "other origins read no pages": is_for_users and is_shared,
            "any origin may read and do nothing else": (
                self.cors is Cors.ANY_ORIGIN and not methods <= READING
            ),
            "only a program asks under any Host": self.any_host and (is_for_users or is_shared),
            "metadata names the issuer's Host": self.any_host and self.metadata is not Metadata.NONE,
            "a member of the metadata is one address": self.member is not None and len(self.paths) != 1,
            f"a body has 0 to {MAXIMUM_BODY} bytes": not 0 <= self.body_limit <= MAXIMUM_BODY,
            "a POST has a body": "POST" in methods and self.body_limit == 0,
        }
        yield from (text for text, is_broken in rules.items() if is_broken)


def is_path(path: str) -> bool:
    """Return whether a text can be the path of a route."""
    return path.startswith("/") and "//" not in path


# What holds for each page, and for each address without a route that no program asks for.
PAGE = EndpointPolicy(
    paths=("/",),
    methods=("GET", "POST"),
    caller=Caller.USER,
    cors=Cors.NONE,
    csrf=Csrf.EVERY_POST,
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata=Metadata.NONE,
)


class Endpoint(Blueprint):
    """A blueprint that has the routes of its policy, and no others."""

    def __init__(self, import_name: str, policy: EndpointPolicy) -> None:
        super().__init__(import_name.rpartition(".")[2], import_name)
        self.policy = policy
        self.served: set[str] = set()

    def view(self, *paths: str) -> Callable[[RouteCallable], RouteCallable]:
        """Return a decorator for the view of these paths, or of all paths of the policy."""

        def decorate(view: RouteCallable) -> RouteCallable:
            for path in paths or self.policy.paths:
                self.add_url_rule(path, view_func=view)
            return view

        return decorate

    def add_url_rule(self, rule: str, *arguments: Any, **options: Any) -> None:
        """Add a route of the policy, with its methods. Raises DeclarationError for any other."""
        methods = options.setdefault("methods", self.policy.methods)
        if rule not in self.policy.paths or set(methods) != set(self.policy.methods):
            raise DeclarationError(f"{self.import_name}: its policy has no route {rule} for {methods}")
        self.served.add(rule)
        super().add_url_rule(rule, *arguments, **options)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the declaration or missing, in words for the developer."""
        yield from self.policy.contradictions()
        yield from (f"{path} has no view" for path in self.policy.paths if path not in self.served)


def current_policy() -> EndpointPolicy:
    """Return what holds for the request at hand."""
    return policy_of(request.environ)


def policy_of(environ: dict[str, Any]) -> EndpointPolicy:
    """Return what holds for a request; `PAGE` for one that came through no server, as a test makes it."""
    policy: EndpointPolicy = environ.get(POLICY, PAGE)
    return policy


def advertised_paths() -> dict[str, str]:
    """Return the path of each endpoint that the discovery document names, by the member that names it."""
    blueprints = current_app.blueprints.values()
    policies = [blueprint.policy for blueprint in blueprints if isinstance(blueprint, Endpoint)]
    return {policy.member: policy.paths[0] for policy in policies if policy.member is not None}


def is_form_of_ours() -> bool:
    """Return whether the request is a form of one of our pages; programs and clients' pages send others."""
    csrf = current_policy().csrf
    if request.method != "POST" or csrf is Csrf.NO_FORM:
        return False
    return csrf is Csrf.EVERY_POST or csrf in request.form
