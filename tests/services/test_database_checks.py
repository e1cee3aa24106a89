"""What is odd about a database: found on real servers where it is so, and gone where it is put right.

Enters: servers that are told to be careless. Leaves: what `flask config check` and the log of a start say of
them.
"""

import json
import logging
import re
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask_migrate import upgrade
from sqlalchemy import create_engine, make_url

import database
from app import check_database_fits, create_app
from config import Settings
from database import sqlite
from database.checks import ServerInfo, check_server
from errors import ConfigError
from models import db
from services import database_checks
from tests.builders import ISSUER, SECRET_KEY
from tests.live import MariaDB, do_without, live_server
from tests.nodes.cluster import primary_and_standby
from tests.places import an_open_folder
from tests.statements import text

PROCESSES = 2


def settings_on(url):
    return Settings(issuer=ISSUER, database_url=url, secret_key=SECRET_KEY)


@contextmanager
def app_on(url):
    """The app on this database, and an open app context."""
    app = create_app(settings_on(url))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def find(words, url, processes=PROCESSES):
    """The severities of the findings of the app on this database whose text has these words."""
    with app_on(url):
        return [
            finding.severity for finding in database_checks.run_checks(processes) if words in finding.text
        ]


def find_without_our_options(words, url, *before):
    """The same for a connection that is told nothing, as behind a pool that drops what is said at connect."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            for statement in before:
                connection.execute(text(statement))
            found = database.run_checks(connection, db.metadata.tables.keys(), PROCESSES)
    finally:
        engine.dispose()
    return [finding.severity for finding in found if words in finding.text]


# ---- what every engine is looked at for --------------------------------------------------------------------


class TestFacts:
    @pytest.mark.parametrize(
        ("facts", "words"),
        [
            ({}, None),
            ({"version": (15, 0)}, None),
            ({"version": (14, 12)}, "PostgreSQL 14.12 is too old: take 15 or newer"),
            ({"is_read_only": True}, "read-only"),
            ({"isolation": "READ-COMMITTED"}, None),
            ({"isolation": "REPEATABLE-READ"}, "REPEATABLE-READ and not READ COMMITTED"),
            ({"connections": 2 * database.POOL_SIZE}, None),
            ({"connections": 2 * database.POOL_SIZE - 1}, "max_connections"),
            ({"ahead": 2.5}, None),
            ({"ahead": -2.5}, None),
            ({"ahead": 61}, "61 s ahead of"),
            ({"ahead": -61}, "61 s behind"),
        ],
        ids=str,
    )
    def test_each_fact_has_its_finding_or_none(self, facts, words):
        usual = {"name": "PostgreSQL", "version": (16, 2), "minimum_version": (15,)}
        ahead_of_us = {"clock": time.time() + facts["ahead"]} if "ahead" in facts else facts
        found = [finding.text for finding in check_server(ServerInfo(**usual | ahead_of_us), processes=2)]
        assert len(found) == (words is not None)
        assert words is None or words in found[0]


# ---- SQLite ------------------------------------------------------------------------------------------------

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/export /srv nfs4 rw 0 0
/dev/sdb1 /srv/local xfs rw 0 0
user@server: /home/ada/a\\040folder fuse.sshfs rw 0 0
tmpfs /over tmpfs rw 0 0
//server/share /over cifs rw 0 0
/dev/sdc1 /odd\x0b\x85\u2028\udcffname ext3 rw 0 0
"""


class TestSQLite:
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:///{tmp_path / 'ostiary.sqlite3'}"

    @pytest.mark.integration
    def test_nothing_is_odd_about_a_file_or_memory(self, url):
        assert find("", url) == []
        assert find("", "sqlite://") == []

    @pytest.mark.parametrize(
        ("folder", "kind"),
        [
            ("/var/lib/ostiary", "ext4"),
            ("/srv/data", "nfs4"),
            ("/srv/local/data", "xfs"),
            ("/srv/localized", "nfs4"),
            ("/home/ada/a folder", "fuse.sshfs"),
            ("/over", "cifs"),
            ("/odd\x0b\x85\u2028\udcffname/data", "ext3"),
        ],
        ids=ascii,
    )
    def test_the_kind_of_file_system_is_read_from_the_mounts(self, folder, kind):
        assert sqlite.type_of_file_system(Path(folder), MOUNTS) == kind

    @pytest.mark.integration
    def test_a_server_does_not_start_on_a_network_file_system(self, url, tmp_path, monkeypatch):
        check_database_fits(settings_on(url), is_served=True)
        mounts = tmp_path / "mounts"
        mounts.write_bytes(
            b"/dev/sda1 / ext4 rw 0 0\n"
            + f"server:/x {tmp_path} nfs4 rw 0 0\n".encode()
            + b"x /\xff ext4 rw\n"
        )
        monkeypatch.setattr(sqlite, "MOUNTS", mounts)
        assert find("network file system (nfs4)", url) == ["problem"]
        with pytest.raises(ConfigError, match="network file system"):
            check_database_fits(settings_on(url), is_served=True)
        monkeypatch.setattr(sqlite, "MOUNTS", tmp_path / "none")  # not on Linux: nobody says
        assert find("network file system", url) == []

    @pytest.mark.integration
    def test_a_journal_that_is_no_wal(self, url):
        assert find_without_our_options("keeps its journal as delete", url) == ["problem"]
        assert find("journal", url) == []

    @pytest.mark.integration
    def test_a_disk_that_is_not_waited_for(self, url):
        assert find_without_our_options("does not wait for the disk", url, "PRAGMA synchronous = NORMAL") == [
            "warning"
        ]
        assert find_without_our_options("does not wait for the disk", url, "PRAGMA synchronous = FULL") == []


# ---- PostgreSQL --------------------------------------------------------------------------------------------


class TestPostgreSQL:
    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, servers):
        url = servers("postgresql").new_database()
        with app_on(url):
            upgrade()
        return url

    @pytest.fixture
    def tell(self, servers, url):
        """Give every later connection to this database other settings, until the test ends."""
        name = make_url(url).database

        def tell(**settings):
            changes = (f"SET {setting} = '{value}'" for setting, value in settings.items())
            servers("postgresql").execute(*(f"ALTER DATABASE {name} {change}" for change in changes))

        yield tell
        servers("postgresql").execute(f"ALTER DATABASE {name} RESET ALL")

    def test_commits_that_nobody_waits_for(self, url, tell):
        assert find("synchronous_commit", url) == []
        in_the_url = make_url(url).update_query_dict({"options": "-c synchronous_commit=off"})
        assert find("synchronous_commit is off", in_the_url.render_as_string(hide_password=False)) == [
            "warning"
        ]
        tell(synchronous_commit="off")
        assert find("synchronous_commit is off", url) == ["warning"]

    def test_a_server_that_takes_no_writes(self, url, tell):
        assert find("read-only", url) == []
        tell(default_transaction_read_only="on")
        assert find("read-only", url) == ["problem"]

    def test_too_few_connections_are_warned_of(self, url):
        assert find("max_connections", url) == []
        assert find("max_connections", url, processes=1_000) == ["warning"]

    def test_a_table_that_a_crash_empties_is_put_right_by_what_the_finding_says(self, url):
        with app_on(url):
            db.session.execute(text("ALTER TABLE throttle SET UNLOGGED"))
            db.session.commit()
            [finding] = [
                finding
                for finding in database_checks.run_checks(PROCESSES)
                if "is not logged" in finding.text
            ]
            assert finding.severity == "problem"
            db.session.execute(text(re.search(r"ALTER TABLE throttle .*", finding.text)[0]))
            db.session.commit()
        assert find("is not logged", url) == []

    def test_what_is_said_at_connect_is_dropped_on_the_way(self, url, tell):
        assert find_without_our_options("time-outs", url) == ["warning"]
        tell(default_transaction_isolation="repeatable read", lock_timeout="2s", statement_timeout="5s")
        assert find_without_our_options("not READ COMMITTED", url) == ["problem"]
        assert find_without_our_options("time-outs", url) == []
        assert find("not READ COMMITTED", url) == find("time-outs", url) == []

    def test_config_check_tells_warnings_and_fails_on_problems(self, url, tell):
        """A warning is told, a problem is an exit code."""
        assert self.config_check(url) == (0, True)
        tell(synchronous_commit="off")
        assert self.config_check(url, "Warning: synchronous_commit is off") == (0, True)
        tell(default_transaction_read_only="on")
        assert self.config_check(url, "Problem: the database server is read-only") == (1, False)

    @staticmethod
    def config_check(url, words=""):
        """Its exit code and its verdict; `words` stand in what it tells people, and in the JSON."""
        app = create_app(settings_on(url))
        done = app.test_cli_runner().invoke(args=("config", "check", "--json"), catch_exceptions=False)
        with app.app_context():
            db.engine.dispose()
        verdict = json.loads(done.stdout)
        assert words in done.stderr
        assert words.partition(": ")[2] in " ".join([*verdict["problems"], *verdict["warnings"]])
        return done.exit_code, verdict["ok"]

    def test_a_start_has_a_line_for_each_and_goes_on(self, url, tell, caplog):
        tell(synchronous_commit="off", default_transaction_read_only="on")
        app = create_app(settings_on(url))
        database_checks.log_problems(app, PROCESSES)
        with app.app_context():
            db.engine.dispose()
        told = {(record.levelno, record.getMessage().partition(" on ")[0]) for record in caplog.records}
        assert (logging.WARNING, "synchronous_commit is off") in told
        assert [record.levelno for record in caplog.records if "read-only" in record.getMessage()] == [
            logging.ERROR
        ]

    def test_a_start_without_the_database_goes_on(self, caplog):
        """Port 1 of loopback: nobody listens there."""
        database_checks.log_problems(
            create_app(settings_on("postgresql://owner:the-password@127.0.0.1:1/ostiary")), PROCESSES
        )
        assert [record.getMessage() for record in caplog.records] == [
            "the database does not answer: OperationalError"
        ]

    @pytest.mark.long
    def test_one_process_of_a_server_tells_it(self, url, tell, tmp_path):
        tell(synchronous_commit="off")
        with live_server(url, tmp_path) as server:
            assert eventually(lambda: "synchronous_commit is off" in server.log())
            server.stop()  # whoever else had something to say has said it
            assert server.log().count("synchronous_commit is off") == 1
            assert "Traceback" not in server.log()

    @pytest.mark.long
    def test_a_server_that_may_forget_and_one_that_follows(self):
        with an_open_folder() as folder, primary_and_standby(folder) as (primary, standby):
            for name in ("fsync", "full_page_writes"):
                assert find(name, primary.url) == []
                primary.change(name, "off")
                assert eventually(lambda name=name: find(f"{name} is off", primary.url)) == ["warning"]
                primary.change(name, "on")
            assert find("synchronous_commit", primary.url) == []
            primary.change("synchronous_commit", "local")
            assert eventually(lambda: find("synchronous_commit is local", primary.url)) == ["warning"]
            primary.change("synchronous_standby_names", "")
            assert not find("synchronous_commit is local", primary.url)
            assert find("perhaps a standby", standby.url) == ["problem"]
            assert find("perhaps a standby", primary.url) == []


def eventually(ask):
    """What is answered, as soon as it is anything: servers take their time."""
    deadline = time.monotonic() + 10
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


# ---- MariaDB -----------------------------------------------------------------------------------------------


@pytest.mark.long
class TestMariaDB:
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory):
        """One of its own, with the settings that it has by itself and a binary log."""
        if not MariaDB.is_there() or MariaDB.program("mariadbd") is None:
            do_without("MariaDB is not installed")
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.delenv("TEST_MARIADB_URL", raising=False)
            server = MariaDB(
                tmp_path_factory.mktemp("mariadb"), options=("--log-bin", "--server-id=1", "--sync-binlog=1")
            )
        yield server
        server.stop()

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, server):
        url = server.new_database()
        with app_on(url):
            db.create_all()
        return url

    @pytest.mark.parametrize(
        ("setting", "odd", "right", "words", "severity"),
        [
            ("innodb_flush_log_at_trx_commit", "2", "1", "set it to 1", "warning"),
            ("innodb_flush_log_at_trx_commit", "0", "1", "set it to 1", "warning"),
            ("sync_binlog", "0", "1", "set it to 1", "warning"),
            ("binlog_format", "'STATEMENT'", "'MIXED'", "set it to ROW or MIXED", "problem"),
            ("read_only", "ON", "OFF", "read-only", "problem"),
            ("max_connections", "15", "300", "raise max_connections", "warning"),
        ],
    )
    def test_an_odd_setting_of_the_server_is_found(self, server, url, setting, odd, right, words, severity):
        assert find("", url) == []
        server.execute(f"SET GLOBAL {setting} = {odd}")
        try:
            assert find(words, url) == [severity]
        finally:
            server.execute(f"SET GLOBAL {setting} = {right}")
        assert find("", url) == []

    def test_pages_that_a_crash_may_tear(self, server, url):
        server.stop()
        server.options += ("--innodb-doublewrite=OFF",)
        server.start()
        assert find("innodb_doublewrite is 0", url) == ["warning"]
        server.stop()
        server.options = server.options[:-1]
        server.start()
        assert find("", url) == []

    @pytest.mark.parametrize(
        "change", ["ENGINE=Aria", "COLLATE utf8mb4_bin", "CONVERT TO CHARACTER SET latin1"]
    )
    def test_a_table_is_put_right_by_what_the_finding_says(self, url, change):
        with app_on(url):
            # the server lets no table that refers to another one leave InnoDB
            db.session.execute(
                text("ALTER TABLE throttle DROP FOREIGN KEY IF EXISTS fk_throttle_tenant_id_tenant")
            )
            db.session.execute(text(f"ALTER TABLE throttle {change}"))
            [finding] = database_checks.run_checks(PROCESSES)
            assert finding.severity == "problem"
            db.session.execute(text(re.search(r"ALTER TABLE throttle .*", finding.text)[0]))
            assert database_checks.run_checks(PROCESSES) == []

    def test_tables_of_others_are_their_own_affair(self, url):
        with app_on(url):
            db.session.execute(
                text("CREATE TABLE others (text varchar(9)) ENGINE=MyISAM COLLATE utf8mb4_general_ci")
            )
            assert database_checks.run_checks(PROCESSES) == []

    def test_what_is_said_at_connect_is_dropped_on_the_way(self, url):
        assert find_without_our_options("REPEATABLE-READ and not READ COMMITTED", url) == ["problem"]
