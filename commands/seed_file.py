"""The file of `flask seed`: its shape, and what is wrong with that.

Enters: a JSON text. Leaves: what `services/seed.py` takes, each entry under its path in the file, and a text
for each entry that is not of the right shape.
"""

import json
from typing import Annotated, BinaryIO, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails

from commands.transaction import CommandError
from crypto.json_values import JsonObject
from protocol import client_metadata
from protocol.registered_client import NEVER
from services.client_members import ClientMembers
from services.clients import DEFAULTS, LARGEST_LIFETIME, LARGEST_MAX_SESSIONS
from services.seed import NewClient, NewScope, Seed
from services.users import NewUser


def read_lifetime(value: object) -> int:
    """Return the seconds of a lifetime, NEVER for "never"; raise ValueError."""
    if value == "never":
        return NEVER
    if type(value) is not int or not 1 <= value <= LARGEST_LIFETIME:
        raise ValueError('must be a number of seconds, at least 1, or "never"')
    return value


Lifetime = Annotated[int, PlainValidator(read_lifetime)]


class Entry(BaseModel):
    """One element of the file, of the right shape: members that are known, each of its type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class ScopeEntry(Entry):
    """A scope, as `flask scopes list --json` prints it."""

    name: str
    description: str

    def new_scope(self) -> NewScope:
        """Return what a service takes."""
        return NewScope(self.name, self.description)


class UserEntry(Entry):
    """A user with a password."""

    email: str
    password: str
    name: str = ""
    sub: str | None = None
    claims: dict[str, object] = {}

    def new_user(self) -> NewUser:
        """Return what a service takes."""
        return NewUser(self.email, self.name, self.password, self.claims, self.sub)


class ClientEntry(Entry):
    """A client. Our own members have the names that `flask clients show --json` prints."""

    client_id: str
    client_secret: str | None = None
    client_name: str | None = None
    redirect_uris: list[str] = []
    post_logout_redirect_uris: list[str] | None = None
    grant_types: list[str] | None = None
    scope: str = ""
    token_endpoint_auth_method: str = DEFAULTS["token_endpoint_auth_method"]
    is_resource_server: bool = False
    require_pkce: bool = True
    rotate_refresh_tokens: bool = True
    max_sessions: Annotated[int, Field(ge=1, le=LARGEST_MAX_SESSIONS)] | None = None
    access_token_lifetime: Annotated[int, Field(ge=1, le=LARGEST_LIFETIME)] | None = None
    refresh_token_idle_lifetime: Lifetime | None = None
    refresh_token_lifetime: Lifetime | None = None
    refresh_leeway: Annotated[int, Field(ge=0, le=LARGEST_LIFETIME)] | None = None
    refresh_retry_lifetime: Annotated[int, Field(ge=0, le=LARGEST_LIFETIME)] | None = None
    extra_metadata: dict[str, object] = {}  # the other members; not a member itself

    @model_validator(mode="before")
    @classmethod
    def gather_metadata(cls, element: object) -> object:
        """Return the element with all members that have no column in `extra_metadata`.

        What they may say is decided in `protocol/client_metadata.py`.
        """
        if not isinstance(element, dict):
            return element
        if "extra_metadata" in element:
            raise ValueError("extra_metadata is unknown: its members stand beside the others")
        metadata = {name: value for name, value in element.items() if client_metadata.is_known(name)}
        return {name: element[name] for name in element.keys() - metadata.keys()} | {
            "extra_metadata": metadata
        }

    def new_client(self) -> NewClient:
        """Return what a service takes; without a name the client is called by its id."""
        given = self.model_dump(exclude={"client_id", "client_secret", "post_logout_redirect_uris"})
        if self.client_name is None:
            given["client_name"] = self.client_id
        if self.grant_types is None:
            del given["grant_types"]
        given["extra_metadata"] = {
            "post_logout_redirect_uris": self.post_logout_redirect_uris,
            **self.extra_metadata,
        }
        members = cast(ClientMembers, given)  # the fields of this class are these members
        return NewClient(self.client_id, self.client_secret, members)


AnyEntry = TypeVar("AnyEntry", bound=Entry)


class SeedFile(NamedTuple):
    """The entries of the right shape, and what is wrong with the shape of others."""

    seed: Seed
    problems: list[str]


def read(file: BinaryIO) -> SeedFile:
    """Return what the file says. Raise CommandError for what is not a JSON object."""
    try:
        document = json.load(file)
    except json.JSONDecodeError as error:
        raise CommandError(f"this is not JSON: {error}") from None
    except (UnicodeDecodeError, RecursionError):
        raise CommandError("this is not JSON") from None
    if not isinstance(document, dict):
        raise CommandError('this is not a JSON object like {"users": […], "clients": […]}')
    problems = [
        f"{member}: is unknown" for member in document if member not in ("scopes", "users", "clients")
    ]
    scopes = read_entries(document, "scopes", ScopeEntry, problems)
    users = read_entries(document, "users", UserEntry, problems)
    clients = read_entries(document, "clients", ClientEntry, problems)
    seed = Seed(
        {path: entry.new_scope() for path, entry in scopes.items()},
        {path: entry.new_user() for path, entry in users.items()},
        {path: entry.new_client() for path, entry in clients.items()},
    )
    return SeedFile(seed, problems)


def read_entries(
    document: JsonObject, member: str, kind: type[AnyEntry], problems: list[str]
) -> dict[str, AnyEntry]:
    """Return the entries of the right shape by their paths; what is wrong with others joins `problems`."""
    elements = document.get(member, [])
    if not isinstance(elements, list):
        problems.append(f"{member}: should be a list")
        return {}
    entries = {}
    for number, element in enumerate(elements):
        path = f"{member}[{number}]"
        try:
            entries[path] = kind.model_validate(element)
        except ValidationError as error:
            problems += [problem_text(path, problem) for problem in error.errors(include_input=False)]
    return entries


def problem_text(path: str, problem: ErrorDetails) -> str:
    """Return one problem of shape in words, with its path in the file and never its value."""
    path += "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"])
    words = {"missing": "is missing", "extra_forbidden": "is unknown", "model_type": "should be an object"}
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{path}: {words.get(problem['type']) or text}"
