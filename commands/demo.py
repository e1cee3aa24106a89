"""`flask demo`: something to try, made once where the issuer is on loopback and nobody is there yet.

`make run` and `make dev` run it at each start, with the migrations in the same process. What it makes is a
user with a random password, shown here and nowhere else, and the public client of `pages/demo.py`. A later
start lets the client follow the issuer.
"""

import click
from flask.cli import with_appcontext

import store.demo
from commands.output import Result, for_home, json_option, print_result
from commands.transaction import apply_migrations, run_command
from services import demo as service
from services.current import settings
from services.demo import Demo

NEW_PASSWORD = f".venv/bin/flask users set-password {store.demo.EMAIL} --password-stdin"


@click.command("demo")
@click.option("--migrate", is_flag=True, help="Apply the migrations first, as `flask db upgrade` does.")
@json_option
@with_appcontext
@for_home
def demo(migrate: bool, as_json: bool) -> None:
    """Make an account and a client to try, if the issuer is on loopback and the database is empty."""
    if migrate:
        apply_migrations()
    print_result(run_command(provide), as_json, names_database=True)


def provide() -> Result:
    """Make the demo, or find it, and return where it is."""
    if not settings.is_development:
        return no_demo("the issuer is not on a loopback address")
    if service.is_there():
        return show_known(service.follow_issuer())
    if not store.demo.is_nobody_there():
        return no_demo("there are people or clients already")
    return show_new(service.make())


def no_demo(reason: str) -> Result:
    """Return why there is none."""
    return Result({"url": None}, messages=(f"No demo: {reason}.",))


def show_new(made: Demo) -> Result:
    """Return a demo with its password, which nothing shows again."""
    lines = {"Try it": made.url, "Email address": store.demo.EMAIL, "Password": made.password or ""}
    text = f"{box(lines)}\nThe password is shown this once. For another one:\n{NEW_PASSWORD}\n"
    return Result(made._asdict(), text)


def show_known(known: Demo) -> Result:
    """Return a demo that was made before."""
    account = f", as {known.email}. A new password: {NEW_PASSWORD}" if known.email is not None else ""
    return Result({"url": known.url}, messages=(f"The demo: {known.url}{account}",))


def box(lines: dict[str, str]) -> str:
    """Return the lines in a frame of ASCII: a terminal that cannot show more must not lose the password."""
    left = max(map(len, lines))
    texts = [f"{name.ljust(left)}   {value}" for name, value in lines.items()]
    width = max(map(len, texts))
    edge = f"+{'-' * (width + 4)}+"
    return "\n".join(["", edge, *(f"|  {text.ljust(width)}  |" for text in texts), edge])
