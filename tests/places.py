"""Another account than root, and places where it can work: PostgreSQL and Galera refuse to run as root.

A checkout may lie in a folder that others may not enter, `TMPDIR` too, and a disk for temporary files may run
no programs. So what another account needs is tried out before it is used. `NoPlaceError` says what is
missing, before anything has begun.
"""

import atexit
import os
import shutil
import subprocess
import tempfile
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# beside that of the environment; a new folder is made in it
FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108
ACCOUNTS = ("embedded_postgres", "postgres", "nobody")
SECONDS = 30


class NoPlaceError(Exception):
    """A server cannot be started here as whoever runs this; its words say why, and what to do."""


@cache
def another_account():
    """None for whoever is not root: then everything runs as they are. Raises NoPlaceError."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        if can_run(["/bin/true"], name):
            return name
    names = ", ".join(ACCOUNTS)
    raise NoPlaceError(
        f"database servers refuse to run as root, and no account of {names} can be used: run this as"
        " another user"
    )


def can_run(command, account):
    """Whether `account` can start this and it succeeds."""
    try:
        done = subprocess.run(command, user=account, cwd="/", capture_output=True, timeout=SECONDS)
    except (KeyError, OSError, subprocess.SubprocessError):  # no such account, or nothing that we may be
        return False
    return done.returncode == 0


def new_open_folder():
    """A new folder that other accounts can enter, and run programs in. Raises NoPlaceError."""
    account = another_account()
    tried = list(dict.fromkeys([tempfile.gettempdir(), *FOLDERS]))
    for parent in tried:
        try:
            folder = Path(tempfile.mkdtemp(prefix="ostiary-servers-", dir=parent))
        except OSError:
            continue
        folder.chmod(0o755)
        probe = folder / "probe"
        probe.write_text("#!/bin/sh\n")
        probe.chmod(0o755)
        is_open = can_run([str(probe)], account)
        probe.unlink()
        if is_open:
            return folder
        folder.rmdir()
    who = account or "this user"
    raise NoPlaceError(
        f"{who} cannot work in any of {', '.join(tried)}: let TMPDIR name a folder that it can enter"
    )


@contextmanager
def an_open_folder():
    """The same, for a while."""
    folder = new_open_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_place(engines):
    """For a command that takes minutes: raises NoPlaceError now if the server of one of these engines could
    not be started.
    """
    if set(engines) != {"sqlite"}:
        with an_open_folder():
            pass
    if "postgresql" in engines:
        postgres_programs()


def brought_programs():
    """Where embedded-postgres has its programs, within the environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no XDG_RUNTIME_DIR under root, and says so
        from embedded_postgres._commands import POSTGRES_BIN_PATH
    return POSTGRES_BIN_PATH


@cache
def postgres_programs():
    """The folder of initdb, pg_basebackup and postgres: where they are, or a copy that the other account can
    reach.

    Raises NoPlaceError. The copy is gone when this process ends.
    """
    return reachable(brought_programs())


def reachable(programs):
    account = another_account()
    if are_run_by(programs, account):
        return programs
    folder = new_open_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    installed, package = programs.parent, programs.parent.parent
    shutil.copytree(installed, folder / package.name / installed.name, copy_function=copy_readable)
    libraries = package.with_name(f"{package.name}.libs")  # the programs look for them beside the package
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name, copy_function=copy_readable)
    for path in filter(Path.is_dir, folder.rglob("*")):
        path.chmod(0o755)  # a folder that was made under umask 077 was copied with its mode
    copied = folder / package.name / installed.name / programs.name
    if not are_run_by(copied, account):
        who = account or "this user"
        raise NoPlaceError(
            f"{who} cannot run the PostgreSQL of embedded-postgres: let TEST_POSTGRESQL_URL name a server"
        )
    return copied


def are_run_by(programs, account):
    return all(
        can_run([str(programs / name), "--version"], account)
        for name in ("postgres", "initdb", "pg_basebackup")
    )


def copy_readable(source, target):
    """A copy that everybody may read, and run where its owner may: the original may be closed."""
    shutil.copyfile(source, target)
    # programs and data of a package
    os.chmod(target, 0o755 if os.stat(source).st_mode & 0o100 else 0o644)  # noqa: S103
