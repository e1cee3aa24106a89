"""`flask demo`: something to try, made once where the issuer is on loopback and nobody is there yet.

`make run` and `make dev` run it at each start, with the migrations in the same process. What it makes is a
person with a random password, shown here and nowhere else, and the public client of `pages/demo.py`. A later
start lets the client follow the issuer.
"""

import secrets

import click
from flask.cli import with_appcontext

import store.clients
import store.demo
import store.users
from commands.clients import DEFAULTS
from commands.output import Result, apply_migrations, json_option, run_command, show
from models import Client
from protocol import clock
from services import passwords
from services.current import issuer, settings

PERSON_NAME = "Demo"
CLIENT_NAME = "Ostiary demo"
EASY_TO_READ = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that looks like something else
NEW_PASSWORD = f".venv/bin/flask users set-password {store.demo.EMAIL} --password-stdin"


@click.command("demo")
@click.option("--migrate", is_flag=True, help="Apply the migrations first, as `flask db upgrade` does.")
@json_option
@with_appcontext
def demo(migrate: bool, as_json: bool) -> None:
    """Make a person and a client to try, where the issuer is on loopback and nobody is there yet."""
    if migrate:
        apply_migrations()
    show(run_command(provide), as_json, tells_place=True)


def provide() -> Result:
    if not settings.is_development:
        return no_demo("the issuer is not on a loopback address")
    if store.clients.find(store.demo.CLIENT_ID) is not None:
        return follow_issuer()
    if not store.demo.is_nobody_there():
        return no_demo("there are people or clients already")
    return make()


def no_demo(reason: str) -> Result:
    return Result({"url": None}, messages=(f"No demo: {reason}.",))


def make() -> Result:
    """Both rows.

    Of two commands at once the second violates a unique key, is run again, and finds what the first made.
    """
    password = new_password()
    password_hash = passwords.hash_password(password)
    store.clients.add(demo_client())
    store.users.add(store.demo.EMAIL, PERSON_NAME, password_hash, is_verified=True)
    url = store.demo.redirect_uri(issuer)
    text = (
        f"{box({'Try it': url, 'Email address': store.demo.EMAIL, 'Password': password})}\n{password_hint()}"
    )
    return Result({"url": url, "email": store.demo.EMAIL, "password": password}, text)


def follow_issuer() -> Result:
    """The client answers at this issuer's page, whichever it was made at."""
    url = store.demo.redirect_uri(issuer)
    if store.demo.find_client(issuer) is None:
        client = store.clients.lock(store.demo.CLIENT_ID)
        if client is not None:
            client.redirect_uris = [url]
            store.clients.set_origins(client)
    person = store.users.find_by_email(store.demo.EMAIL)
    known = f", as {person.email}. A new password: {NEW_PASSWORD}" if person is not None else ""
    return Result({"url": url}, messages=(f"The demo: {url}{known}",))


def demo_client() -> Client:
    """A public client (OAuth 2.1 §2.1): a page cannot keep a secret."""
    registration = DEFAULTS | {
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [store.demo.redirect_uri(issuer)],
        "scope": "profile email",
    }
    return Client(
        client_id=store.demo.CLIENT_ID,
        client_name=CLIENT_NAME,
        client_id_issued_at=clock.now(),
        **registration,
    )


def new_password() -> str:
    """Four groups of four, good to read and to type: 79 random bits."""
    return "-".join("".join(secrets.choice(EASY_TO_READ) for _ in range(4)) for _ in range(4))


def box(lines: dict[str, str]) -> str:
    """In ASCII: a terminal that cannot show more must not lose the password."""
    left = max(map(len, lines))
    texts = [f"{name.ljust(left)}   {value}" for name, value in lines.items()]
    width = max(map(len, texts))
    edge = f"+{'-' * (width + 4)}+"
    return "\n".join(["", edge, *(f"|  {text.ljust(width)}  |" for text in texts), edge])


def password_hint() -> str:
    return f"The password is shown this once. For another one:\n{NEW_PASSWORD}\n"
