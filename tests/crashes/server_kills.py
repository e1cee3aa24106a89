"""Database servers that are killed under load, again and again, with everybody's acknowledged history checked
after each time.

SQLite has no server: there all the processes are killed that write. The databases keep their durable
settings. A killed process is not a power cut: what the operating system has been given stays.
"""

import random
import time
from contextlib import contextmanager

from models import db
from tests.crashes.crowd import Crowd
from tests.crashes.report import Report
from tests.crashes.worker_kills import Stage
from tests.live import LiveServer, MariaDB
from tests.nodes.cluster import DATABASE, PostgresNode

PEOPLE = 8
LOAD_SECONDS = (0.3, 1.0)
OUTAGE_SECONDS = 0.3
RECOVERY_SECONDS = 5.0
ANSWERS = {200, 503}


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
            with Stage(app.start(), report) as stage, Crowd(stage, PEOPLE) as crowd:
                siege = Siege(crowd, stage, database or app, report)
                for _ in range(kills):
                    siege.kill()
                    if progress is not None:
                        progress(f"killed {report.kills} times, {report.acknowledged} writes acknowledged")
                siege.end()
            allowed = ANSWERS if database is not None else ANSWERS | {"no answer"}  # the dead do not answer
            if unknown := set(report.statuses) - allowed:
                report.violations.append(f"answers other than {allowed}: {unknown}")
            if "bug:" in app.log():
                report.violations.append("the log tells of a bug")
        finally:
            app.kill()
    return report


class Siege:
    """A crowd and what it writes to: a database server, or the processes of an application that has
    its own.
    """

    def __init__(self, crowd, stage, victim, report):
        self.crowd, self.stage, self.victim, self.report = crowd, stage, victim, report
        self.ready_at = time.monotonic()

    def kill(self):
        self.begin()
        time.sleep(random.uniform(*LOAD_SECONDS))  # noqa: S311 - when, not what
        self.victim.kill()
        time.sleep(OUTAGE_SECONDS)
        self.crowd.end()
        self.victim.start()
        self.ready_at = time.monotonic()
        self.report.kills += 1
        self.check()

    def begin(self):
        """Everybody is served again, without anybody's help and soon."""
        self.crowd.begin()
        served_at = self.crowd.wait_until_served(RECOVERY_SECONDS)
        if served_at is None:
            self.report.violations.append(
                f"somebody is not served {RECOVERY_SECONDS} s after the database is back"
            )
        elif self.report.kills:
            self.report.served_after(served_at - self.ready_at)

    def check(self):
        with self.stage.app.app_context():
            db.engine.dispose()  # its connections led to the killed one
        self.crowd.check(self.report)

    def end(self):
        self.begin()
        self.crowd.end()
        self.crowd.check_pairs(self.report)
        self.check()
