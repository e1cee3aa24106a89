"""A pytest plugin for projects that sign people in with Ostiary: a real server, on a free port, for the tests of the project.

Enters: a folder with a checkout of Ostiary and a JSON file with people, clients and scopes. Leaves: the fixtures `ostiary` and
`start_ostiary`. The server is a process of the checkout's own virtual environment, so its modules and versions never meet those of
the project. This file needs the standard library and pytest alone, and is meant to be copied; `docs/testing-your-app.md` shows how.
"""

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any, NamedTuple, Self
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

import pytest

CHECKOUT_VARIABLE = "PYTEST_OSTIARY_CHECKOUT"
ANSWER_SECONDS = 30
LOG_LINES = 20

# Nothing else of the environment reaches the server: not the settings, the coverage or the PYTHONPATH of the project.
PASSED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# All tests come from one address, and one that tries a wrong password must not lock out the next.
UNTHROTTLED = {
    f"OSTIARY_FAILED_{name}": "1000000"
    for name in (
        "SIGN_INS_PER_ACCOUNT_AND_ADDRESS",
        "SIGN_INS_PER_ACCOUNT",
        "SIGN_INS_PER_ADDRESS",
        "CLIENT_AUTHENTICATIONS_PER_CLIENT",
        "CLIENT_AUTHENTICATIONS_PER_ADDRESS",
    )
}
# Waits for the end of its stdin, which comes when pytest closes it or ends in whatever way, killed ones included.
# Then the server dies at once, with its workers: a graceful end takes a second, and nothing of it outlives the tests.
LEASH = ["/bin/sh", "-c", 'read -r line; kill -s KILL -- "-$1"', "leash"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("ostiary_checkout", f"folder with a checkout of Ostiary, from the rootdir; {CHECKOUT_VARIABLE} wins")
    parser.addini("ostiary_seed", "JSON file with people, clients and scopes, from the rootdir", default="ostiary.json")


@pytest.fixture(scope="session")
def ostiary(start_ostiary: "Callable[[], Ostiary]") -> "Ostiary":
    """A server with what stands in the file that the ini option `ostiary_seed` names."""
    return start_ostiary()


@pytest.fixture(scope="session")
def start_ostiary(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Callable[..., Ostiary]]":
    """`start_ostiary(file, **settings)`: another server, with another JSON file or other settings, such as `refresh_leeway=0`."""
    started = []

    def start(seed_file: str | Path | None = None, **settings: object) -> Ostiary:
        path = pytestconfig.rootpath / Path(seed_file or pytestconfig.getini("ostiary_seed")).expanduser()
        server = Ostiary(find_checkout(pytestconfig), tmp_path_factory.mktemp("ostiary"), settings)
        try:
            started.append(server.start(path))
        except OstiaryError as error:
            pytest.fail(str(error), pytrace=False)
        return server

    yield start
    for server in started:
        server.stop()


def find_checkout(config: pytest.Config) -> Path:
    """The folder that was named, or the one that this file, perhaps through a link, lies in."""
    named = os.environ.get(CHECKOUT_VARIABLE) or config.getini("ostiary_checkout")
    folder = config.rootpath / Path(named).expanduser() if named else Path(__file__).resolve().parent
    if not (folder / "gunicorn.conf.py").is_file() or not (folder / "my_oauth.py").is_file():
        how = f"set the ini option ostiary_checkout or the variable {CHECKOUT_VARIABLE}"
        pytest.fail(f"{folder} is no checkout of Ostiary: {how}", pytrace=False)
    if not (folder / ".venv/bin/python").exists():
        pytest.fail(f"Ostiary is not installed: run `make .venv/installed` in {folder}", pytrace=False)
    return folder


class OstiaryError(Exception):
    """The server did not start, or a page answered something else than what was wanted."""


class Client(NamedTuple):
    """A registered client; as a tuple of two it is what `requests` takes for `auth`. A public client has no secret."""

    client_id: str
    client_secret: str | None


class User(NamedTuple):
    email: str
    sub: str
    name: str


class Ostiary:
    """A running server: `issuer`, `clients` by client_id, `users` by email address, and what its methods do."""

    def __init__(self, checkout: Path, folder: Path, settings: Mapping[str, object]) -> None:
        self.issuer = ""
        self.clients: dict[str, Client] = {}
        self.users: dict[str, User] = {}
        self._checkout = checkout
        self._log_file = folder / "ostiary.log"
        self._environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._environment |= UNTHROTTLED | {
            "FLASK_SKIP_DOTENV": "1",
            "OSTIARY_ENV_FILE": os.devnull,  # not that of the machine
            "WEB_CONCURRENCY": "1",
            "OSTIARY_DATABASE_URL": f"sqlite:///{folder / 'ostiary.sqlite3'}",
            "OSTIARY_SECRET_KEY": secrets.token_urlsafe(48),
            **{f"OSTIARY_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def start(self, seed_file: Path) -> Self:
        """Raises OstiaryError. The server starts while the database is made; it is asked nothing before."""
        self._launch()
        try:
            self._seed(seed_file)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self) -> None:
        """The port is bound here and handed over, so that nobody else can take it in between."""
        with socket.create_server(("127.0.0.1", 0)) as listener, self._log_file.open("ab") as log:
            port = listener.getsockname()[1]
            self.issuer = f"http://127.0.0.1:{port}"
            self._environment["PORT"] = str(port)
            bind = ["--bind", f"fd://{listener.fileno()}"]
            self._process = subprocess.Popen(  # noqa: S603 - fixed words and a folder
                self._python("gunicorn", "--config", "gunicorn.conf.py", *bind, "app:create_app()"),
                cwd=self._checkout,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(listener.fileno(),),
                start_new_session=True,  # a group that ends together, and that Ctrl-C does not reach before pytest
            )
        self._leash = subprocess.Popen(  # noqa: S603
            [*LEASH, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def _python(self, *arguments: str) -> list[str]:
        return [str(self._checkout / ".venv/bin/python"), "-m", *arguments]

    def _seed(self, seed_file: Path) -> None:
        done = subprocess.run(  # noqa: S603
            self._python("flask", "seed", "--migrate", "--json", str(seed_file)),
            cwd=self._checkout,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode != 0:
            raise OstiaryError(f"Ostiary refused {seed_file}\n{done.stderr}")
        seeded = json.loads(done.stdout)
        for client in seeded["clients"]:
            self.clients[client["client_id"]] = Client(client["client_id"], client.get("client_secret"))
        for user in seeded["users"]:
            self.users[user["email"]] = User(user["email"], user["sub"], user["name"])

    def _wait_until_ready(self) -> None:
        """One request is enough: it waits in the queue of the port until a worker takes it, or the server has ended."""
        try:
            page = Browser(self.issuer).open(f"{self.issuer}/readyz")
        except OSError as error:
            raise OstiaryError(f"Ostiary did not start ({error}):\n{self.log_tail()}") from None
        if page.status != 200:
            raise OstiaryError(f"Ostiary is not ready ({page.text.strip()}):\n{self.log_tail()}")

    def stop(self) -> None:
        """End the server. A test need not do it: at the end, however it comes, all are stopped."""
        assert self._leash.stdin is not None  # noqa: S101 - a pipe
        self._leash.stdin.close()
        self._leash.wait()
        self._process.wait()

    def log_tail(self) -> str:
        lines = self._log_file.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def metadata(self) -> dict[str, Any]:
        """The authorization server metadata (RFC 8414)."""
        page = Browser(self.issuer).open(f"{self.issuer}/.well-known/oauth-authorization-server")
        metadata: dict[str, Any] = json.loads(page.text)
        return metadata

    def authorize(self, request: str | Mapping[str, str], email: str, password: str, *, decision: str = "allow") -> str:
        """Go through the pages as a person does, and return the URL that the browser is sent back to, with the code in it.

        request: the URL that the application sent the browser to, or the parameters of the authorization request.
        decision: "allow" or "deny". Raises OstiaryError with the words of the page where the way ends before.
        """
        url = request if isinstance(request, str) else f"{self.issuer}/oauth/authorize?{urlencode(request)}"
        if not url.startswith(f"{self.issuer}/"):
            raise OstiaryError(f"{url} is not at {self.issuer}")
        browser = Browser(self.issuer)
        page = browser.open(url)
        if form := page.form_with("password"):
            page = browser.open(form.url, form.fields | {"email": email, "password": password})
        if form := page.form_with("decision"):
            page = browser.open(form.url, form.fields | {"decision": decision})
        if page.location is None:
            raise OstiaryError(f"no redirect to the client, but a page with status {page.status}: {page.words()}")
        return page.location


class Form(NamedTuple):
    url: str
    fields: dict[str, str]


class Page(HTMLParser):
    """An answer: its status, its text, its forms, and where it leads outside of the issuer."""

    def __init__(self, url: str, status: int, location: str | None, text: str) -> None:
        super().__init__()
        self.url, self.status, self.location, self.text = url, status, location, text
        self.forms: list[Form] = []
        self._words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name = attributes.get("name")
        if tag == "form":
            self.forms.append(Form(urljoin(self.url, attributes.get("action") or ""), {}))
        elif tag in ("input", "button") and name and self.forms:
            self.forms[-1].fields[name] = attributes.get("value") or ""

    def handle_data(self, data: str) -> None:
        self._words += data.split()

    def words(self) -> str:
        return " ".join(self._words)

    def form_with(self, name: str) -> Form | None:
        return next((form for form in self.forms if name in form.fields), None)


class Browser:
    """Keeps cookies, follows redirects within the issuer and no further, and asks no proxy."""

    def __init__(self, issuer: str) -> None:
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(), StayAt(issuer))

    def open(self, url: str, fields: dict[str, str] | None = None) -> Page:
        """GET, or with `fields` POST. Raises OSError where there is no answer; any status is one."""
        body = None if fields is None else urlencode(fields).encode()
        try:
            answer = self._opener.open(url, body, ANSWER_SECONDS)
        except HTTPError as error:
            answer = error
        with answer:
            location = answer.headers.get("Location")
            return Page(answer.url, answer.status, location, answer.read().decode("utf-8", "replace"))


class StayAt(HTTPRedirectHandler):
    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        is_inside = newurl.startswith(f"{self._issuer}/")
        return super().redirect_request(req, fp, code, msg, headers, newurl) if is_inside else None
