"""A running Ostiary: its start and stop, what it was seeded with, and a person's way through its pages."""

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from pytest_ostiary.browser import Browser

LOG_LINES = 20

# Nothing else of the environment reaches the server: no settings, coverage or PYTHONPATH of the application.
PASSED_ON = (
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
)
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
# A process that waits for the end of its stdin, which comes when pytest closes it or ends in any way, killed
# too. Then it kills the server with its workers: a graceful stop takes a second, and nothing may stay.
WATCHER = ["/bin/sh", "-c", 'read -r line; kill -s KILL -- "-$1"', "watcher"]


class OstiaryError(Exception):
    """The server did not start, or a page answered something else than what was wanted."""


class Client(NamedTuple):
    """A registered client: a tuple that `requests` takes for `auth`. A public client has no secret."""

    client_id: str
    client_secret: str | None


class User(NamedTuple):
    """A person who can sign in."""

    email: str
    sub: str
    name: str


class Ostiary:
    """A server: its `issuer`, its `clients` by client_id, its `users` by email address in lower case."""

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
        """Start the server with what stands in `seed_file`. Raises OstiaryError.

        The process starts while the database is made; nothing is asked of it before that is done.
        """
        self._launch()
        try:
            self._seed(seed_file)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self) -> None:
        """Start gunicorn on a port that is bound here and handed over, so that nobody takes it in between."""
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
                # A group that ends together, and that Ctrl-C does not reach before pytest.
                start_new_session=True,
            )
        self._watcher = subprocess.Popen(  # noqa: S603
            [*WATCHER, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def _python(self, *arguments: str) -> list[str]:
        """Return the command line of a module in the checkout's own environment."""
        return [str(self._checkout / ".venv/bin/python"), "-m", *arguments]

    def _seed(self, seed_file: Path) -> None:
        """Make and fill the database, and remember its clients and users. Raises OstiaryError."""
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
        """Wait for one answer: the request waits in the port's queue until a worker takes it or all end."""
        try:
            page = Browser(self.issuer).open(f"{self.issuer}/readyz")
        except OSError as error:
            raise OstiaryError(f"Ostiary did not start ({error}):\n{self.log_tail()}") from None
        if page.status != 200:
            raise OstiaryError(f"Ostiary is not ready ({page.text.strip()}):\n{self.log_tail()}")

    def stop(self) -> None:
        """Stop the server. A test need not do it: all are stopped when the run ends, however it ends."""
        assert self._watcher.stdin is not None  # noqa: S101 - a pipe
        self._watcher.stdin.close()
        self._watcher.wait()
        self._process.wait()

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        lines = self._log_file.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def metadata(self) -> dict[str, Any]:
        """Return the authorization server metadata (RFC 8414)."""
        page = Browser(self.issuer).open(f"{self.issuer}/.well-known/oauth-authorization-server")
        metadata: dict[str, Any] = json.loads(page.text)
        return metadata

    def authorize(
        self,
        request: str | Mapping[str, str],
        email: str,
        password: str,
        *,
        decision: str = "allow",
    ) -> str:
        """Return the URL that a person who goes through the pages is sent back to, with the code in it.

        request: the URL that the application sent the browser to, or the parameters of that request.
        decision: "allow" or "deny". Raises OstiaryError with the words of the page where it ends on one.
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
            what = f"a page with status {page.status}: {page.words()}"
            raise OstiaryError(f"no redirect to the client, but {what}")
        return page.location
