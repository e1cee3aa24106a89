"""Database servers that are killed under load, again and again, with everybody's acknowledged history checked
after each time.

SQLite has no server: there all the processes are killed that write. The databases keep their durable
settings. A killed process is not a power cut: what the operating system has been given stays.
"""

import random
import time
from contextlib import contextmanager

from tests.crashes.report import Report
from tests.flows.driving import Driver
from tests.live import LiveServer, MariaDB
from tests.load import NO_ANSWER, WriteLoad
from tests.nodes.cluster import DATABASE, PostgresNode

PEOPLE = 8
LOAD_SECONDS = (0.3, 1.0)
OUTAGE_SECONDS = 0.3
RECOVERY_SECONDS = 5.0


@contextmanager
def postgresql(folder, is_durable):
    node = PostgresNode(folder / "postgresql")
    try:
        node.initialize()
        node.start()
        node.execute(f"CREATE DATABASE {DATABASE}", database="postgres")
        if not is_durable:
            node.change("synchronous_commit", "off")
            node.change("wal_writer_delay", "10s")
        yield node.url, node
    finally:
        node.kill()


@contextmanager
def mariadb(folder, is_durable):
    (folder / "mariadb").mkdir()
    server = MariaDB(folder / "mariadb", options=() if is_durable else MariaDB.HASTY)
    if server.process is None:
        raise RuntimeError("TEST_MARIADB_URL names a server that is not ours to kill")
    try:
        yield server.new_database(), server
    finally:
        server.kill()


@contextmanager
def sqlite(folder, is_durable):
    yield f"sqlite:///{folder / 'ostiary.sqlite3'}", None


DATABASES = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}


def kill_servers(engine, folder, kills=6, progress=None, is_durable=True):
    """Kill the database server of this engine so many times under load. Returns a `Report`.

    `folder`: where this runs as root, PostgreSQL's own user must be able to enter it. `progress`: a function
    that is told each kill. `is_durable`: False is for showing that what a server loses, which may, is
    noticed.
    """
    report = Report()
    with DATABASES[engine](folder, is_durable) as (url, database):
        app = LiveServer(url, folder)
        try:
            with Driver(app.start()) as driver, WriteLoad(driver, PEOPLE) as load:
                siege = Siege(load, database or app, report, {503} if database else {503, NO_ANSWER})
                for _ in range(kills):
                    siege.kill()
                    if progress is not None:
                        progress(f"killed {report.kills} times, {report.acknowledged} writes acknowledged")
                siege.end()
            if "bug:" in app.log():
                report.violations.append("the log tells of a bug")
        finally:
            app.kill()
    return report


class Siege:
    """A load and what it writes to: a database server, or the processes of an application that has
    its own.
    """

    def __init__(self, load, victim, report, allowed):
        self.load, self.victim, self.report, self.allowed = load, victim, report, allowed
        self.ready_at = time.monotonic()

    def kill(self):
        self.begin()
        time.sleep(random.uniform(*LOAD_SECONDS))  # noqa: S311 - when, not what
        self.victim.kill()
        time.sleep(OUTAGE_SECONDS)
        self.load.end()
        self.victim.start()
        self.ready_at = time.monotonic()
        self.report.kills += 1
        self.check()

    def begin(self):
        """Everybody is served again, without anybody's help and soon."""
        self.load.begin()
        try:
            _first, served_at = self.load.served_after(self.load.begun_at, RECOVERY_SECONDS)
        except AssertionError as error:
            self.report.violations.append(f"after the database is back {error}")
        else:
            if self.report.kills:
                self.report.served_after(served_at - self.ready_at)

    def check(self):
        self.load.check(self.report, self.load.driver.server.database_url, self.allowed)

    def end(self):
        self.begin()
        self.load.end()
        self.load.check_use(self.report)
        self.check()
