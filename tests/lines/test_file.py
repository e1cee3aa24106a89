"""An SQLite file that cannot be written, has no room, or whose queue stands still: 503, nothing stored, and
well again later.
"""

import resource
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

import database.sqlite
from crypto import credentials
from database import LockFile
from models import db
from testing.races.workers import Call
from tests.builders import a_machine
from tests.flows.driving import Driver, machine_call, me
from tests.lines.asking import ask
from tests.lines.scene import WORKS, Scene, code_exchange, machine_token
from tests.live import live_server


class NoLine:
    """A file has no line that could break."""

    def __init__(self, url):
        self.url = url


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ostiary.sqlite3"


@pytest.fixture
def scene(path):
    url = f"sqlite:///{path}"
    scene = Scene(url, NoLine(url))
    yield scene
    scene.close()


@pytest.fixture(params=WORKS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@contextmanager
def told(scene, *pragmas):
    """The application's next connection is told so much more; its usual ones are closed, before and after."""
    with scene.app.app_context():
        engine = db.engine

    def tell(connection, record):
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    engine.dispose()
    event.listen(engine, "connect", tell)
    yield
    event.remove(engine, "connect", tell)
    engine.dispose()


def check_unavailable_and_then_done(scene, kind, trouble):
    """503 while `trouble` lasts, with everything as it was; then the same request is answered as usual."""
    work = kind(scene)
    before = scene.content()
    with trouble:
        answer = work.send()
        assert answer.status_code == 503
        assert ("Retry-After" in answer.headers) == (kind is not code_exchange)
    assert scene.content() == before
    assert work.send().status_code == work.status


@pytest.mark.threat("T169")
def test_a_file_that_is_read_only(scene, kind):
    check_unavailable_and_then_done(scene, kind, told(scene, "query_only = ON"))


@pytest.mark.threat("T169")
def test_a_file_without_room(scene, path):
    """It ends in a page that is full: what was answered before is stored, and nothing of what was refused."""
    work = machine_token(scene)
    with told(scene, f"max_page_count = {pages_of(path)}"):
        handed_out = tokens_until_refused(work.send)
    assert sorted(handed_out) == sorted(scene.tokens_of(work.client_id))
    assert work.send().status_code == 200


def pages_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA page_count").fetchone()[0]


def tokens_until_refused(send):
    """The digests of those that were handed out before the first 503."""
    handed_out = []
    while (answer := send()).status_code == 200:
        handed_out.append(credentials.digest(answer.json["access_token"]))
        assert len(handed_out) < 1000, "there is always room"
    assert answer.status_code == 503
    return handed_out


@pytest.mark.long
@pytest.mark.threat("T169")
def test_a_disk_without_room(path, tmp_path):
    """As its processes see it: no file of theirs may grow. They go on when there is room again."""
    with live_server(f"sqlite:///{path}", tmp_path) as server, Driver(server) as driver:
        call = machine_call(driver.client(a_machine))
        assert ask(server, call).status == 200
        with no_file_grows(server, path.with_name(f"{path.name}-wal").stat().st_size):
            answers = [ask(server, call) for _ in range(20)]
            assert {answer.status for answer in answers} == {503}
            assert ask(server, Call("GET", "/healthz")).status == 200
        answer = ask(server, call)
        assert answer.status == 200
        # a machine's, and live
        assert ask(server, me(answer.json["access_token"])).error == "insufficient_scope"
        assert "Traceback" not in server.log()


@contextmanager
def no_file_grows(server, size):
    master = server.process.pid
    workers = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
    assert len(workers) == server.workers
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in workers}
    for pid, (_soft, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    yield
    for pid, before in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.threat("T169")
def test_a_queue_that_stands_still(scene, kind, path, monkeypatch):
    monkeypatch.setattr(database.sqlite, "LOCK_FILE_TIMEOUT", timedelta(milliseconds=30))

    @contextmanager
    def standing_still():
        lock = LockFile(f"{path}.lock")
        lock.acquire(timedelta(0))
        yield
        lock.release()

    check_unavailable_and_then_done(scene, kind, standing_still())


@pytest.mark.threat("T169")
def test_a_queue_that_cannot_be_joined(scene, kind, path):
    @contextmanager
    def without_its_file():
        lock = path.with_name(f"{path.name}.lock")
        lock.unlink()
        lock.mkdir()
        yield
        lock.rmdir()

    check_unavailable_and_then_done(scene, kind, without_its_file())
