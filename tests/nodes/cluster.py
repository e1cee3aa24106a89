"""Databases of more than one server, on loopback: a PostgreSQL primary with a synchronous standby, and a
Galera cluster.

Enters: a folder. Leaves: running servers that can be killed at once, as a machine that loses its power is,
and promoted. They keep their durable settings: what they have acknowledged is what the tests are about.
"""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from tests.live import MariaDB, free_port, free_ports
from tests.places import another_account, postgres_programs
from tests.statements import text

START_SECONDS = 30
DATABASE = "ostiary"


class Server:
    """A database server of a cluster: `port`, `url`, `log()`."""

    scheme: str
    user: str

    def __init__(self, folder):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.log_file = self.folder / "log"
        self.port = free_port()
        self.process = None

    @property
    def url(self):
        return f"{self.scheme}://{self.user}@127.0.0.1:{self.port}/{DATABASE}"

    def execute(self, *statements, database=DATABASE):
        """Send statements, each a transaction of its own."""
        with self.connection(database) as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, sql):
        with self.connection(DATABASE) as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    @contextmanager
    def connection(self, database):
        url = f"{self.scheme}://{self.user}@127.0.0.1:{self.port}/{database}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def launch(self, command, **options):
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, **options
            )

    def wait_until(self, is_ready, what):
        """Ask again and again; an error of the database is a no."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"a database server has ended:\n{self.log()[-4_000:]}")
            with suppress(DBAPIError):
                if is_ready():
                    return
            time.sleep(0.05)
        raise AssertionError(f"not {what} in {START_SECONDS} s:\n{self.log()[-4_000:]}")

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def kill(self):
        """End all of its processes at once.

        The first one goes first: it would notice that the others are gone, and tell.
        """
        if self.process is None or self.process.poll() is not None:
            return
        first = psutil.Process(self.process.pid)
        for process in (first, *first.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)


# ---- PostgreSQL --------------------------------------------------------------------------------------------


class PostgresNode(Server):
    scheme = "postgresql+psycopg"
    user = "postgres"

    def __init__(self, folder):
        super().__init__(folder)
        self.programs = postgres_programs()
        self.system_user = another_account()
        self.folder.mkdir()
        if self.system_user is not None:
            shutil.chown(self.folder, self.system_user)

    def initialize(self):
        self.run(
            "initdb",
            "--auth=trust",
            "--no-sync",
            "--encoding=utf8",
            f"--username={self.user}",
            "-D",
            self.data,
        )

    def follow(self, primary):
        """Begin again as a standby of `primary`, under the name of this folder."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host=127.0.0.1 port={primary.port} user={self.user} application_name={self.folder.name}"
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        self.run("pg_basebackup", f"--dbname={source}", *options, "-D", self.data)
        self.start()

    def wait_for(self, standby):
        """From now on no commit is done before this standby has it on disk."""
        self.change("synchronous_standby_names", standby.folder.name)
        states = "SELECT sync_state FROM pg_stat_replication"
        self.wait_until(lambda: self.rows(states) == [("sync",)], "in step with its standby")

    def change(self, setting, value):
        self.execute(
            f"ALTER SYSTEM SET {setting} = '{value}'", "SELECT pg_reload_conf()", database="postgres"
        )

    def run(self, program, *arguments):
        subprocess.run(
            [self.programs / program, *arguments],
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
            cwd=self.folder,
            user=self.system_user,
        )

    def start(self, **settings):
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
        } | settings
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        command = [self.programs / "postgres", "-D", self.data, *options]
        self.launch(command, cwd=self.folder, user=self.system_user)
        self.wait_until(self.answers, "ready")

    def answers(self):
        self.execute("SELECT 1", database="postgres")
        return True

    def promote(self):
        """Make a primary of the standby, as an operator or an agent does. Returns when it takes writes.

        It has no standby itself yet: one that its settings name, because they are a copy, would be waited for
        without end.
        """
        self.change("synchronous_standby_names", "")
        self.execute("SELECT pg_promote(wait => true, wait_seconds => 30)", database="postgres")


class Pair(NamedTuple):
    primary: PostgresNode
    standby: PostgresNode

    @property
    def url(self):
        """Both hosts; a connection goes to the one that takes writes."""
        hosts = "&".join(f"host=127.0.0.1:{node.port}" for node in self)
        return f"postgresql://{self.primary.user}@/{DATABASE}?{hosts}&target_session_attrs=read-write"


@contextmanager
def primary_and_standby(folder, synchronous=True):
    """A primary whose every commit waits until the standby has it on disk; or does not, to show what is lost
    then.

    `folder` may be entered by everybody: under root the servers run as another user.
    """
    primary, standby = PostgresNode(Path(folder) / "primary"), PostgresNode(Path(folder) / "standby")
    try:
        primary.initialize()
        primary.start()
        primary.execute(f"CREATE DATABASE {DATABASE}", database="postgres")
        standby.follow(primary)
        if synchronous:
            primary.wait_for(standby)
        yield Pair(primary, standby)
    finally:
        primary.kill()
        standby.kill()


# ---- Galera ------------------------------------------------------------------------------------------------

PROVIDERS = (
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
)
PROGRAMS = ("mariadbd", "mariadb-install-db", "rsync")
# How soon the others give up a node that is gone; until then no commit is done anywhere. Galera itself says 5
# s and 15 s.
GIVE_UP = (
    "evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.3S;"
    "evs.suspect_timeout=PT1S;evs.inactive_timeout=PT3S"
)


def missing_for_galera():
    """Why there can be no cluster here, or None."""
    missing = [name for name in PROGRAMS if MariaDB.program(name) is None]
    if not any(map(os.path.exists, PROVIDERS)):
        missing.append("libgalera_smm.so")
    return f"needs {', '.join(missing)}" if missing else None


class GaleraNode(Server):
    scheme = "mariadb+pymysql"
    user = "root"

    def __init__(self, folder):
        super().__init__(folder)
        self.port, self.group_port, self.transfer_port, self.copy_port = free_ports(4)
        self.system_user = another_account()
        self.folder.mkdir()
        self.data.mkdir()
        if self.system_user is not None:
            shutil.chown(self.folder, self.system_user)
            shutil.chown(self.data, self.system_user)

    def initialize(self):
        subprocess.run(
            [
                MariaDB.program("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self.data}",
                "--skip-test-db",
            ]
            + ["--auth-root-authentication-method=normal", "--skip-name-resolve"],
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
            cwd=self.folder,
            user=self.system_user,
        )

    def start(self, nodes, is_first=False):
        """Join the cluster of `nodes`; the first one begins it. An empty one gets its data from another."""
        provider = next(path for path in PROVIDERS if os.path.exists(path))
        settings = {
            "datadir": self.data,
            "port": self.port,
            "bind_address": "127.0.0.1",
            "socket": self.folder / "socket",
            "pid_file": self.folder / "pid",
            "binlog_format": "ROW",
            "innodb_autoinc_lock_mode": 2,
            "innodb_buffer_pool_size": "64M",
            "innodb_log_file_size": "32M",
            "wsrep_on": "ON",
            "wsrep_provider": provider,
            "wsrep_cluster_name": "ostiary",
            "wsrep_cluster_address": "gcomm://" + ",".join(f"127.0.0.1:{node.group_port}" for node in nodes),
            "wsrep_node_name": self.folder.name,
            "wsrep_node_address": "127.0.0.1",
            "wsrep_sst_method": "rsync",
            "wsrep_sst_receive_address": f"127.0.0.1:{self.copy_port}",
            "wsrep_sync_wait": 7,
            "wsrep_provider_options": f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port};"
            f"ist.recv_addr=127.0.0.1:{self.transfer_port};gcache.size=32M;{GIVE_UP}",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [
            MariaDB.program("mariadbd"),
            "--no-defaults",
            *options,
            *["--wsrep-new-cluster"] * is_first,
        ]
        self.launch(command, cwd=self.folder, user=self.system_user)
        self.wait_until(self.is_synced, "in step with its cluster")

    def is_synced(self):
        return self.status("wsrep_local_state_comment") == "Synced"

    def status(self, name):
        with self.connection("mysql") as connection:
            return connection.execute(text(f"SHOW STATUS LIKE '{name}'")).one()[1]


@contextmanager
def galera(folder, size=3):
    """A cluster of so many nodes, all of which take writes. `folder` may be entered by everybody."""
    nodes = [GaleraNode(Path(folder) / f"galera{number}") for number in range(size)]
    try:
        nodes[0].initialize()
        for node in nodes:
            node.start(nodes, is_first=node is nodes[0])
        nodes[0].execute(
            f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", database="mysql"
        )
        yield nodes
    finally:
        for node in nodes:
            node.kill()
