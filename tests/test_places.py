"""Where servers of tests run that refuse root: also for a checkout in a folder that nobody else may enter."""

import os
import subprocess
import sys
import tempfile

import pytest

from tests import places
from tests.live import PROJECT
from tests.nodes.cluster import PostgresNode
from tests.places import NoPlaceError

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder that its owner alone may enter, and which is also the one for temporary files."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.integration
@AS_ROOT
def test_a_server_starts_from_a_closed_checkout(closed, monkeypatch):
    """And nothing is opened for it."""
    brought = places.brought_programs()
    package = brought.parent.parent
    (closed / package.name).mkdir()
    (closed / package.name / brought.parent.name).symlink_to(brought.parent)
    (closed / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    programs = places.reachable(closed / package.name / brought.parent.name / brought.name)
    assert closed not in programs.parents
    monkeypatch.setattr("tests.nodes.cluster.postgres_programs", lambda: programs)
    with places.an_open_folder() as folder:
        assert closed not in folder.parents
        node = PostgresNode(folder / "node")
        try:
            node.initialize()
            node.start()
            assert node.answers()
        finally:
            node.kill()
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.parent.stat().st_mode & 0o077 == 0


@AS_ROOT
def test_no_account_is_said_before_anything_begins(monkeypatch):
    monkeypatch.setattr(places, "ACCOUNTS", ("nobody-of-this-name",))
    places.another_account.cache_clear()
    try:
        with pytest.raises(NoPlaceError, match="run this as another user"):
            places.check_place(["sqlite", "postgresql"])
    finally:
        places.another_account.cache_clear()


@pytest.mark.integration
@AS_ROOT
def test_no_place_is_said_before_anything_begins(closed, monkeypatch):
    monkeypatch.setattr(places, "FOLDERS", ())
    with pytest.raises(NoPlaceError, match="TMPDIR"):
        places.check_place(["postgresql"])
    places.check_place(["sqlite"])
    assert list(closed.iterdir()) == []


@pytest.mark.integration
@AS_ROOT
def test_make_prove_says_it_at_once():
    """Before it has tried anything for minutes, and without a trace."""
    program = (
        "import sys; from tests import places; places.ACCOUNTS = (); from tests.proofs.__main__"
        " import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "run this as another user" in done.stderr and "Traceback" not in done.stderr
