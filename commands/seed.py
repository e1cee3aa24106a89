"""`flask seed FILE`: people, clients and scopes from a JSON file, for tests and for development.

Enters: `{"scopes": […], "users": […], "clients": […]}`, clients in the member names of RFC 7591 §2. Leaves:
all the rows or none. The file may choose what is otherwise random (`client_id`, `client_secret`, `sub`), so
this is for a loopback issuer only: a short secret is soon guessed from its digest. What is there already is
brought in line with the file, and what the file does not name stays as it is: a second run changes nothing.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, BinaryIO, NamedTuple, TypeVar

import click
from flask.cli import with_appcontext
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

import store.clients
import store.scopes
import store.users
from commands import registration, scopes, users
from commands.clients import (
    DEFAULTS,
    LARGEST_LIFETIME,
    LARGEST_MAX_SESSIONS,
    bring_secret_in_line,
    default_grant_types,
    keep_secret,
    problems_of_signing_secret,
    warnings_about,
)
from commands.lookup import lock_fresh_user
from commands.members import without_nulls
from commands.output import (
    CommandError,
    Result,
    apply_migrations,
    counted,
    json_option,
    refuse_if_any,
    run_command,
    show,
    table,
)
from crypto.jwt import MINIMUM_SECRET_OCTETS
from models import CLIENT_ID_LENGTH, NEVER, SUB_LENGTH, Client, User
from protocol import client_metadata, clock, person_claims, typed_text
from protocol.scopes import OFFLINE_ACCESS, join, split
from services import passwords
from services.current import settings

MAXIMUM_SECRET_LENGTH = 255
# the same text in a URL, a Basic header and a command line
UNRESERVED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
VISIBLE = re.compile(r"[\x21-\x7E]+")
# A key must have as many octets as the digest (RFC 7518 §3.2); a client that is not registered for one may
# use the longest.


# ---- what the file may say ---------------------------------------------------------------------------------


def read_lifetime(value: Any) -> int:
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
    name: str
    description: str


class UserEntry(Entry):
    email: str
    password: str
    name: str = ""
    sub: str | None = None
    claims: dict[str, Any] = {}

    def display_name(self) -> str:
        return typed_text.name(self.name)

    def normal_claims(self) -> dict[str, Any]:
        return person_claims.normal(without_nulls(self.claims))


class ClientEntry(Entry):
    """Our own members have the names that `flask clients show --json` prints."""

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
    extra_metadata: dict[str, Any] = {}  # the other members; not a member itself

    @model_validator(mode="before")
    @classmethod
    def gather_metadata(cls, element: Any) -> Any:
        """Members that have no column are put together; what they say is for the rules of
        `protocol/client_metadata.py`.
        """
        if not isinstance(element, dict):
            return element
        if "extra_metadata" in element:
            raise ValueError("extra_metadata is unknown: its members stand beside the others")
        metadata = {name: value for name, value in element.items() if client_metadata.is_known(name)}
        return {name: element[name] for name in element.keys() - metadata.keys()} | {
            "extra_metadata": metadata
        }

    def columns(self) -> dict[str, Any]:
        """Every column of a client but its identifier, its secret and its age."""
        given = self.model_dump(exclude={"client_id", "client_secret", "post_logout_redirect_uris"})
        given["client_name"] = typed_text.name(
            self.client_id if self.client_name is None else self.client_name
        )
        given["scope"] = join(split(self.scope))
        if self.grant_types is None:
            given["grant_types"] = default_grant_types(given)
        metadata = {"post_logout_redirect_uris": self.post_logout_redirect_uris, **self.extra_metadata}
        return given | {"extra_metadata": client_metadata.normal(without_nulls(metadata))}


AnyEntry = TypeVar("AnyEntry", bound=Entry)


class SeedFile(NamedTuple):
    """The file as it was read: its entries by their places, and what is wrong with the shape of others."""

    scopes: dict[str, ScopeEntry]
    users: dict[str, UserEntry]
    clients: dict[str, ClientEntry]
    problems: list[str]


def read(file: BinaryIO) -> SeedFile:
    """Raises Refused for what is not a JSON object."""
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
    return SeedFile(
        read_entries(document, "scopes", ScopeEntry, problems),
        read_entries(document, "users", UserEntry, problems),
        read_entries(document, "clients", ClientEntry, problems),
        problems,
    )


def read_entries(
    document: dict[str, Any], member: str, kind: type[AnyEntry], problems: list[str]
) -> dict[str, AnyEntry]:
    """Those of the right shape; what is wrong with the others joins `problems`."""
    elements = document.get(member, [])
    if not isinstance(elements, list):
        problems.append(f"{member}: should be a list")
        return {}
    entries = {}
    for number, element in enumerate(elements):
        place = f"{member}[{number}]"
        try:
            entries[place] = kind.model_validate(element)
        except ValidationError as error:
            problems += [problem_text(place, problem) for problem in error.errors(include_input=False)]
    return entries


def problem_text(place: str, problem: Any) -> str:
    """One problem of shape in words, with the way to it in the file and never its value."""
    path = place + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"])
    words = {"missing": "is missing", "extra_forbidden": "is unknown", "model_type": "should be an object"}
    told = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{path}: {words.get(problem['type']) or told}"


# ---- what is wrong with what it says -----------------------------------------------------------------------


def find_problems(sheet: SeedFile) -> Iterator[str]:
    """Everything that is wrong with the content, with its place in the file."""
    new_scopes = [entry.name for entry in sheet.scopes.values()]
    for place, scope in sheet.scopes.items():
        yield from at(place, problems_of_scope(scope))
    for place, user in sheet.users.items():
        yield from at(place, problems_of_user(user))
    for place, client in sheet.clients.items():
        yield from at(place, problems_of_client(client, new_scopes))
    yield from problems_of_repeats("name", {place: entry.name for place, entry in sheet.scopes.items()})
    yield from problems_of_repeats("email", {place: address(entry) for place, entry in sheet.users.items()})
    yield from problems_of_repeats("sub", {place: entry.sub for place, entry in sheet.users.items()})
    yield from problems_of_repeats(
        "client_id", {place: entry.client_id for place, entry in sheet.clients.items()}
    )


def at(place: str, problems: Iterable[str]) -> Iterator[str]:
    return (f"{place}: {problem}" for problem in problems)


def problems_of_repeats(member: str, values: dict[str, str | None]) -> Iterator[str]:
    first: dict[str, str] = {}
    for place, value in values.items():
        if value is not None and first.setdefault(value, place) != place:
            yield f"{place}.{member}: is that of {first[value]} too"


def problems_of_scope(entry: ScopeEntry) -> Iterator[str]:
    yield from scopes.find_problems(entry.name, scopes.normal_description(entry.description))
    if entry.name == OFFLINE_ACCESS:
        yield f"the scope {OFFLINE_ACCESS} exists already, and its words are fixed"


def problems_of_user(entry: UserEntry) -> Iterator[str]:
    yield from users.find_problems(entry.email, address(entry), entry.display_name(), entry.password)
    yield from person_claims.find_problems(entry.normal_claims())
    if entry.sub is None:
        return
    if len(entry.sub) > SUB_LENGTH or not UNRESERVED.fullmatch(entry.sub):
        yield (
            f"{entry.sub!r} cannot be a sub: use 1 to {SUB_LENGTH} letters, digits, dots, dashes,"
            " underscores, tildes"
        )
    person = store.users.find_by_email(entry.email)
    if person is not None and person.sub != entry.sub:
        yield f"{person.email} has another sub already, and a sub never changes"


def problems_of_client(entry: ClientEntry, new_scopes: Collection[str]) -> Iterator[str]:
    if len(entry.client_id) > CLIENT_ID_LENGTH or not UNRESERVED.fullmatch(entry.client_id):
        limits = f"1 to {CLIENT_ID_LENGTH} letters, digits, dots, dashes, underscores, tildes"
        yield f"{entry.client_id!r} cannot be a client_id: use {limits}"
    client = Client(client_id=entry.client_id, **entry.columns())
    yield from registration.find_problems(client, new_scopes)
    yield from registration.problems_of_sector(client)
    if entry.client_secret is not None:
        yield from problems_of_secret(client, entry.client_secret)
    elif (known := store.clients.find(entry.client_id)) is not None:
        client.sealed_client_secret = known.sealed_client_secret
        yield from problems_of_signing_secret(client)


def problems_of_secret(client: Client, client_secret: str) -> Iterator[str]:
    if client.is_public:
        yield "a public client has no secret"
    if client.token_endpoint_auth_method == client_metadata.SIGNS_ITS_KEYS:
        yield "a client that signs with its own keys has no secret"
    if client.token_endpoint_auth_method == client_metadata.SIGNS_ITS_SECRET:
        alg = client.member("token_endpoint_auth_signing_alg")
        minimum = MINIMUM_SECRET_OCTETS.get(
            alg if isinstance(alg, str) else "", max(MINIMUM_SECRET_OCTETS.values())
        )
        if len(client_secret) < minimum:
            yield (
                f"the client_secret is a signing key here: it must have at least {minimum}"
                " characters (RFC 7518 §3.2)"
            )
    if len(client_secret) > MAXIMUM_SECRET_LENGTH or not VISIBLE.fullmatch(client_secret):
        yield f"the client_secret must be 1 to {MAXIMUM_SECRET_LENGTH} visible ASCII characters"


def address(entry: UserEntry) -> str | None:
    return store.users.normal_email(entry.email)


# ---- what becomes of it ------------------------------------------------------------------------------------


def apply(sheet: SeedFile) -> Result:
    """Check everything, then store everything."""
    for entry in sheet.clients.values():
        registration.fetch_sector(Client(client_id=entry.client_id, **entry.columns()))
    refuse_if_any([*sheet.problems, *find_problems(sheet)])
    hashes = [new_hash(entry) for entry in sheet.users.values()]  # slow, so before the first lock
    for scope in sheet.scopes.values():
        put_scope(scope)
    people = [put_user(entry, new) for entry, new in zip(sheet.users.values(), hashes, strict=True)]
    registered = [put_client(entry) for entry in sheet.clients.values()]
    data = {
        "scopes": [entry.model_dump() for entry in sheet.scopes.values()],
        "users": [users.public_members(person) for person in people],
        "clients": [registration.response(client, secret) for client, secret in registered],
    }
    numbers = (
        counted(len(people), "user"),
        counted(len(registered), "client"),
        counted(len(sheet.scopes), "scope"),
    )
    warnings = [
        f"{client.client_id}: {warning}"
        for (client, _secret), entry in zip(registered, sheet.clients.values(), strict=True)
        for warning in warnings_about(client, entry.columns())
    ]
    text = table(data["clients"], ("client_id", "client_secret", "client_name")) if registered else ""
    return Result(data, text, (f"In line with the file: {', '.join(numbers)}.", *warnings))


def new_hash(entry: UserEntry) -> str | None:
    """None where the person has this password already."""
    person = store.users.find_by_email(entry.email)
    has_it = person is not None and passwords.is_right(entry.password, person.password_hash)
    return None if has_it else passwords.hash_password(entry.password)


def put_scope(entry: ScopeEntry) -> None:
    known = store.scopes.find(entry.name)
    description = scopes.normal_description(entry.description)
    if known is None:
        store.scopes.add(entry.name, description)
    else:
        known.description = description


def put_user(entry: UserEntry, password_hash: str | None) -> User:
    """The person; a new password signs one who was there already out, as `flask users set-password` does."""
    if store.users.find_by_email(entry.email) is None:
        person = store.users.add(
            address(entry) or "", entry.display_name(), password_hash or "", is_verified=True
        )
        person.sub = entry.sub or person.sub
    else:
        person = lock_fresh_user(entry.email)
        if password_hash is not None:
            store.users.set_password_hash(person.id, password_hash)
            users.signed_out_answer(person, "has a new password")
    users.change_profile(person, entry.display_name(), entry.normal_claims())
    return person


def put_client(entry: ClientEntry) -> tuple[Client, str | None]:
    """The client, and its secret where the file chose it or it was made now."""
    client = store.clients.lock(entry.client_id)
    is_new = client is None
    client = client or Client(client_id=entry.client_id, client_id_issued_at=clock.now())
    for name, value in entry.columns().items():
        setattr(client, name, value)
    if entry.client_secret is not None:
        keep_secret(client, entry.client_secret)
    secret = bring_secret_in_line(client) or entry.client_secret
    if is_new:
        store.clients.add(client)
    else:
        store.clients.set_origins(client)
    return client, secret


@click.command("seed")
@click.argument("file", type=click.File("rb"))
@click.option("--migrate", is_flag=True, help="Apply the migrations first, as `flask db upgrade` does.")
@json_option
@with_appcontext
def seed(file: BinaryIO, migrate: bool, as_json: bool) -> None:
    """Bring people, clients and scopes in line with a JSON FILE ("-" for stdin), where the issuer is on
    loopback.
    """
    if not settings.is_development:
        raise CommandError(
            "seeds are for a loopback issuer only: their passwords and secrets stand in a file"
        )
    sheet = read(file)
    if migrate:
        apply_migrations()
    show(run_command(lambda: apply(sheet)), as_json, tells_place=True)
