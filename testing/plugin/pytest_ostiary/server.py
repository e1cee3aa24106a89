"""A running Ostiary: its start and stop, and what it was seeded with."""

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pytest_ostiary.browser import Browser
from pytest_ostiary.issuer import Issuer, OstiaryError

LOG_LINES = 20
KNOWN_SECONDS, PAUSE_SECONDS = 60, 0.1
OK = 200

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


class Ostiary(Issuer):
    """A server, with its own issuer; `add_tenant` adds others.

    root: the folder that paths of JSON files begin in.
    """

    def __init__(self, checkout: Path, root: Path, folder: Path, settings: Mapping[str, object]) -> None:
        super().__init__()
        self._checkout = checkout
        self._root = root
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

    def start(self, seed_file: str | Path) -> Self:
        """Start the server with what stands in `seed_file`. Raises OstiaryError.

        The process starts while the database is made; nothing is asked of it before that is done.
        """
        self._launch()
        try:
            self._seed(self, seed_file, "--migrate")
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

    def add_tenant(self, name: str, seed_file: str | Path, **settings: object) -> Issuer:
        """Add a tenant with what stands in `seed_file`, and return its issuer; for a server with tenants.

        settings: those that a tenant may have of its own, in lower case. Raises OstiaryError.
        """
        added = self._flask(f"the tenant {name}", "tenants", "add", "--json", "--", name)
        if settings:
            members = [f"{member}={json.dumps(value)}" for member, value in settings.items()]
            self._flask(
                f"{', '.join(settings)} of the tenant {name}",
                "tenants",
                "set",
                "--json",
                "--",
                name,
                *members,
            )
        tenant = Issuer(added["issuer"])
        self._seed(tenant, seed_file, f"--tenant={name}")
        wait_until_known(tenant)
        return tenant

    def _seed(self, issuer: Issuer, seed_file: str | Path, option: str) -> None:
        """Fill the database, and let an issuer remember its clients and users. Raises OstiaryError."""
        path = self._root / Path(seed_file).expanduser()
        issuer.remember(self._flask(str(path), "seed", option, "--json", "--", str(path)))

    def _flask(self, what: str, *arguments: str) -> dict[str, Any]:
        """Return what a command of Ostiary prints as JSON. Raises OstiaryError. what: in words."""
        done = subprocess.run(  # noqa: S603
            self._python("flask", *arguments),
            cwd=self._checkout,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode != 0:
            raise OstiaryError(f"Ostiary refused {what}\n{done.stderr}")
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def _wait_until_ready(self) -> None:
        """Wait for one answer: the request waits in the port's queue until a worker takes it or all end."""
        try:
            page = Browser(self.issuer).open(f"{self.issuer}/readyz")
        except OSError as error:
            raise OstiaryError(f"Ostiary did not start ({error}):\n{self.log_tail()}") from None
        if page.status != OK:
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


def wait_until_known(tenant: Issuer) -> None:
    """Wait until the server answers for a new tenant; it looks for one at most once a second.

    Raises OstiaryError.
    """
    deadline = time.monotonic() + KNOWN_SECONDS
    while tenant.ask_for_metadata().status != OK:
        if time.monotonic() > deadline:
            raise OstiaryError(f"Ostiary does not answer for {tenant.issuer}")
        time.sleep(PAUSE_SECONDS)
