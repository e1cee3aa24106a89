"""Settings: each with its type, unit and default, read from `OSTIARY_…` and checked once at start.

Enters: the environment (or keyword arguments in tests). Leaves: one frozen `Settings`, or one `ConfigError`
that lists every problem and prints no value. A loopback issuer means development: only there do the first
three have defaults.
"""

import os
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

import protocol.issuer
from crypto.json_values import JsonObject
from crypto.key_schedule import MAXIMUM_JWT_LIFETIME, Schedule
from environment import env_file, secret_files
from errors import ConfigError
from protocol import client_address, redirect_uris

# `flask version` and the start of a server print it; a release has a tag of the same name
VERSION = "0.1.0"
PROJECT = Path(__file__).resolve().parent
INSTANCE = PROJECT / "instance"  # where `make run` keeps its database and key
DEVELOPMENT_DATABASE = INSTANCE / "ostiary.sqlite3"
# `make run` and `make dev` set this variable: then a missing database and key are created
CREATES = "OSTIARY_CREATE_DEVELOPMENT"
MINIMUM_SECRET_LENGTH = 32
DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mariadb": "mariadb+pymysql",
    "mysql": "mariadb+pymysql",
    "mysql+pymysql": "mariadb+pymysql",
}

# How pydantic writes a duration in its messages.
DURATION = re.compile(r"datetime\.timedelta\((0|days=(?P<days>\d+)|seconds=(?P<seconds>\d+))\)")

# Shown in place of a default that depends on the environment.
DEFAULTS_IN_WORDS = {
    "issuer": "`http://127.0.0.1:$PORT`",
    "database_url": "on loopback the SQLite file `instance/ostiary.sqlite3`",
    "secret_key": "on loopback `instance/secret_key`",
    "allow_private_addresses": "`true` on loopback, else `false`",
    "signup": "`open` on loopback, else `closed`",
}


def from_seconds(value: object) -> timedelta:
    """Return a duration that is given in seconds, also as text. Raises ValueError.

    pydantic itself would not read "600" as seconds.
    """
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=float(value))  # type: ignore[arg-type]  # a TypeError is caught
    except (TypeError, ValueError, OverflowError):
        raise ValueError("must be a number of seconds") from None


def from_commas(value: object) -> object:
    """Return the parts of a text with commas; any other value unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def read_proxies(value: object) -> list[client_address.Network | client_address.Unix]:
    """Return the trusted proxies of a text with commas, or of a list. Raises ValueError."""
    try:
        parts = from_commas(value)
        if not isinstance(parts, Iterable):
            raise ValueError
        return [client_address.read_proxy(str(part)) for part in parts]
    except ValueError:
        raise ValueError(
            "must be addresses and networks such as 10.0.0.0/8, comma separated, or the word unix"
        ) from None


def check_length(key: SecretStr) -> SecretStr:
    """Return the secret key, or raise ValueError where it is too short."""
    if len(key.get_secret_value()) < MINIMUM_SECRET_LENGTH:
        raise ValueError(f"must have at least {MINIMUM_SECRET_LENGTH} characters")
    return key


def from_blanks(value: object) -> object:
    """Return the words of a text, in lower case; any other value unchanged."""
    return value.lower().replace(",", " ").split() if isinstance(value, str) else value


def check_schemes(schemes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the schemes, or raise ValueError where one may not be used."""
    for problem in filter(None, map(redirect_uris.problem_of_scheme, schemes)):
        raise ValueError(problem)
    return schemes


Seconds = Annotated[timedelta, BeforeValidator(from_seconds), Field(ge=timedelta(0))]
PositiveSeconds = Annotated[timedelta, BeforeValidator(from_seconds), Field(ge=timedelta(seconds=1))]
Failures = Annotated[int, Field(ge=1, le=1_000_000)]
SecretKey = Annotated[SecretStr, AfterValidator(check_length)]
SecretKeys = Annotated[tuple[SecretKey, ...], NoDecode, BeforeValidator(from_commas)]
Proxies = Annotated[
    tuple[client_address.Network | client_address.Unix, ...], NoDecode, BeforeValidator(read_proxies)
]
Schemes = Annotated[tuple[str, ...], NoDecode, BeforeValidator(from_blanks), AfterValidator(check_schemes)]
IS_PROCESS = "is_process"  # no setting: whether `Settings()` reads them for a process of an operator


class Settings(BaseSettings):
    """All settings. They cannot be changed; keyword arguments win over the environment.

    `Settings()` without arguments is for the processes of an operator: it reads the file of settings too, and
    takes the development database only where it exists. Raises ConfigError with every problem at once. Only
    `make run` and `make dev` let it create files.
    """

    model_config = SettingsConfigDict(
        env_prefix="OSTIARY_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,  # they are what `flask config settings` and docs/settings.md say
    )

    issuer: str
    """The address of this server: https, with or without a path, no slash at the end (RFC 8414 §2).

    A loopback address means development.
    """

    database_url: str = Field(repr=False)  # it may hold a password
    """`sqlite:///path`, `postgresql://…` (psycopg 3) or `mariadb://…` (PyMySQL)."""

    secret_key: SecretKey
    """At least 32 characters, the same on every node.

    On loopback it is made once and kept in a file of mode 0600.
    """

    old_secret_keys: SecretKeys = ()
    """Earlier secret keys, separated by commas. They verify and decrypt only."""

    access_token_lifetime: PositiveSeconds = timedelta(minutes=10)
    """Keep it short: a resource server that does not introspect accepts a revoked token until it expires.

    See RFC 9700 §2.2.
    """

    authorization_code_lifetime: Annotated[PositiveSeconds, Field(le=timedelta(minutes=10))] = timedelta(
        minutes=1
    )
    """At most 600 (RFC 6749 §4.1.2)."""

    refresh_token_idle_lifetime: PositiveSeconds = timedelta(days=30)
    """A refresh token that is not used for this time expires (RFC 9700 §4.14.2)."""

    refresh_token_lifetime: PositiveSeconds = timedelta(days=365)
    """Counted from the sign-in, however often the token is refreshed."""

    refresh_leeway: Seconds = timedelta(seconds=10)
    """How long a repeated refresh gets the same pair, also after its access token was used.

    With this and the next two at 0, every refresh token works once.
    """

    public_refresh_leeway: Seconds = timedelta(seconds=30)
    """The same for public clients. They cannot authenticate, so a thief can repeat a refresh as well."""

    refresh_retry_lifetime: Seconds = timedelta(hours=24)
    """How long a client that authenticates may repeat a refresh while the first answer is unused."""

    id_token_lifetime: Annotated[PositiveSeconds, Field(le=MAXIMUM_JWT_LIFETIME)] = timedelta(hours=1)
    """How long an ID token proves a sign-in, at most a day (OpenID Connect Core §2)."""

    signing_key_lifetime: PositiveSeconds = timedelta(days=90)
    """How long a key signs. Its successor is published before that time ends."""

    jwks_cache_lifetime: Annotated[PositiveSeconds, Field(le=timedelta(days=1))] = timedelta(minutes=5)
    """How long clients and resource servers may cache the JWKS.

    A new key signs only after older copies have expired.
    """

    max_sessions: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Live sign-ins of a user at a client: a new one replaces the oldest. A client may have its own value."""

    signup: Literal["open", "closed"]
    """Whether people may create accounts themselves."""

    failed_sign_ins_per_account_and_address: Failures = 10
    """In a throttle period, from one address.

    Each known device of an account has the same number for itself.
    """

    failed_sign_ins_per_account: Failures = 50
    """In a throttle period, from all addresses together.

    Known devices are not affected, and addresses that are new to the account hardly.
    """

    failed_sign_ins_per_address: Failures = 100
    """In a throttle period, for all accounts together."""

    sign_ups_per_address: Failures = 20
    """Accounts that may be created in an hour from one address."""

    failed_client_authentications_per_client: Failures = 20
    """In a throttle period, from one address. The right secret always works."""

    failed_client_authentications_per_address: Failures = 100
    """In a throttle period, for all clients together."""

    throttle_period: PositiveSeconds = timedelta(minutes=15)
    """After this time, as many failures as are allowed are forgotten."""

    password_hashes: Annotated[int, Field(ge=1, le=1_000)] = 2
    """Passwords that a worker process hashes at once; each takes 19 MiB and a core.

    More get 503.
    """

    redirect_schemes: Schemes = ("cursor", "vscode", "vscode-insiders")
    """Private-use schemes without a dot that redirect URIs may have, separated by blanks.

    Nobody owns such a scheme (RFC 8252 §8.4).
    """

    client_cache_lifetime: Annotated[Seconds, Field(le=timedelta(minutes=1))] = timedelta(seconds=5)
    """How long a worker process uses a client's registration as it read it, at most 60; with 0 not at all.

    So long may a change of a client take to reach every process.
    """

    client_fetches: Annotated[int, Field(ge=1, le=1_000)] = 2
    """Requests of a worker process that may wait at once for documents of clients; each blocks a thread.

    More get 503.
    """

    allow_private_addresses: bool
    """Whether logout notices and `jwks_uri` may use loopback addresses, private addresses and plain http."""

    trusted_proxies: Proxies = ()
    """Addresses or networks, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto count.

    `unix` stands for a Unix socket.
    """

    tenants: Literal["off", "on"] = "off"
    """Whether this server has more issuers than its own: `flask tenants` adds and removes them."""

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""

    def __init__(self, **values: Any) -> None:
        is_process = not values
        problems = env_file.load() if is_process else []
        if problems:  # without that file other settings may be missing too
            raise ConfigError(problems)
        in_files, problems = secret_files.read_secret_files(exclude=values)
        arguments: JsonObject = {IS_PROCESS: is_process, **in_files, **values}
        try:
            super().__init__(**arguments)
        except ValidationError as error:
            problems += [problem_text(problem) for problem in error.errors(include_input=False)]
        if problems:
            raise ConfigError(problems)

    @model_validator(mode="before")
    @classmethod
    def fill_defaults(cls, values: JsonObject) -> JsonObject:
        """Return the values with those defaults that depend on the environment."""
        values.setdefault("issuer", f"http://127.0.0.1:{os.environ.get('PORT') or 8000}")
        is_process = values.pop(IS_PROCESS, False)
        is_development = isinstance(values["issuer"], str) and protocol.issuer.is_loopback(values["issuer"])
        if is_development:
            fill_development_defaults(values, is_process)
        values.setdefault("signup", "open" if is_development else "closed")
        values.setdefault("allow_private_addresses", is_development)
        return values

    @model_validator(mode="after")
    def check_key_lifetime(self) -> "Settings":
        """Raise ValueError where a key would be published for longer before it signs than it signs."""
        schedule = Schedule(self.signing_key_lifetime, self.jwks_cache_lifetime)
        if self.signing_key_lifetime.total_seconds() < 2 * schedule.publication_lead:
            raise ValueError(
                "OSTIARY_SIGNING_KEY_LIFETIME must be at least twice OSTIARY_JWKS_CACHE_LIFETIME and"
                " two minutes more:"
                " each key is published before it signs"
            )
        return self

    @field_validator("issuer")
    @classmethod
    def check_issuer(cls, issuer: str) -> str:
        """Return the issuer, or raise ValueError."""
        protocol.issuer.check(issuer)
        return issuer

    @field_validator("database_url")
    @classmethod
    def check_database_url(cls, url: str) -> str:
        """Return the URL with the driver that this server uses, or raise ValueError."""
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            raise ValueError("is not a database URL") from None
        if (parsed.database or "").startswith("file:"):
            raise ValueError("must be a path, not a file: URI")
        if parsed.drivername in DRIVERS:
            parsed = parsed.set(drivername=DRIVERS[parsed.drivername])
        if parsed.drivername not in ("sqlite", *DRIVERS.values()):
            raise ValueError("must begin with sqlite://, postgresql:// or mariadb://")
        if parsed.query.get("prepare_threshold", "never") != "never":
            raise ValueError("may have prepare_threshold=never and no other")
        return parsed.render_as_string(hide_password=False)

    @property
    def origin(self) -> str:
        """Return the issuer without its path, as browsers send it in the Origin header."""
        return self.issuer.removesuffix(self.path)

    @property
    def path(self) -> str:
        """Return the issuer's path with the slash before it; "" where it has none."""
        return urlsplit(self.issuer).path

    @property
    def is_development(self) -> bool:
        """Return whether the issuer is a loopback address."""
        return protocol.issuer.is_loopback(self.issuer)

    @property
    def is_https(self) -> bool:
        """Return whether browsers reach this server by https."""
        return self.issuer.startswith("https:")


def fill_development_defaults(values: JsonObject, is_process: bool) -> None:
    """Add the database and the secret key of `instance/` to values that have none.

    is_process: then the database is taken only where it exists, so that none is created by mistake.
    """
    may_create = bool(os.environ.get(CREATES))
    if "database_url" not in values and (
        may_create or not is_process or os.path.exists(DEVELOPMENT_DATABASE)
    ):
        if may_create:
            INSTANCE.mkdir(mode=0o700, exist_ok=True)
        values["database_url"] = f"sqlite:///{DEVELOPMENT_DATABASE}"
    if "secret_key" not in values:
        key = secret_files.development_secret_key(INSTANCE / "secret_key", may_create)
        values |= {"secret_key": key} if key else {}


def problem_text(problem: ErrorDetails) -> str:
    """Return one problem in words, with the name of the variable and never its value."""
    name = "OSTIARY_" + str(problem["loc"][0]).upper() + " " if problem["loc"] else ""
    if problem["type"] == "missing":
        return (
            f"{name}is missing: set it, or let OSTIARY_ENV_FILE name a file of settings; `make"
            " run` makes one for development"
        )
    return name + DURATION.sub(
        in_seconds, problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    )


def in_seconds(duration: re.Match[str]) -> str:
    """Return a duration, as the words of pydantic have it, in seconds."""
    return str(int(duration["days"] or 0) * 86_400 + int(duration["seconds"] or 0))
