"""An image from the documented file, with secrets lying about in the folder: it holds none of them, and it
starts.

No base can be pulled where nothing but packages can be had, so one is made of Debian's and given the name
that the file asks for. It takes minutes, hundreds of megabytes, root, Buildah and mmdebstrap; `IMAGE_BASE`
names a tar of a base that was made before:

    .venv/bin/pytest -m long -n 0 tests/flows/test_image.py
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.live import PROJECT, START_SECONDS, free_port
from tests.places import an_open_folder
from tests.test_ignore_files import LYING_ABOUT, tracked

MARK = "planted-secret-7f0c1d"
PACKAGES = "python3,python3-venv,ca-certificates"
NEEDED = ["buildah", "setpriv", *(["mmdebstrap"] if "IMAGE_BASE" not in os.environ else [])]
MISSING = [tool for tool in NEEDED if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can build without a user namespace"),
]


class Buildah:
    """With a store of its own, and without another kernel's help."""

    def __init__(self, folder):
        self.options = ["--storage-driver", "vfs", "--root", folder / "store", "--runroot", folder / "run"]

    def __call__(self, *arguments, **options):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, **options)
        assert done.returncode == 0, f"{arguments[0]}:\n{done.stdout[-4_000:]}{done.stderr[-4_000:]}"
        return done.stdout.strip()

    def command(self, *arguments):
        return ["buildah", *self.options, *arguments]


@pytest.fixture(scope="module")
def folder():
    with an_open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def buildah(folder):
    return Buildah(folder)


@pytest.fixture(scope="module")
def image(folder, buildah):
    """The id of an image of this project's own files, built beside secrets."""
    containerfile = (PROJECT / "deploy/Containerfile").read_text()
    [name] = re.findall(r"^FROM (\S+)$", containerfile, re.MULTILINE)
    base = os.environ.get("IMAGE_BASE") or folder / "base.tar"
    if not os.path.exists(base):
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", base],
            check=True,
        )
    container = buildah("from", "scratch")
    buildah("add", container, base, "/")
    link = folder / "python"
    link.write_text('#!/bin/sh\nexec python3 "$@"\n')
    buildah("copy", "--chmod", "755", container, link, "/usr/local/bin/python")
    buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah("commit", "--rm", container, name)

    # as this machine finds them: what leads to them is none of the image's business
    wheels = folder / "wheels"
    choose = ["--require-hashes", "--only-binary=:all:", "--python-version=3.11", f"--dest={wheels}"]
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        *choose,
        "-r",
        PROJECT / "requirements.txt",
    ]
    subprocess.run(download, check=True)
    (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    volumes = [f"--volume={wheels}:/wheels:ro", f"--volume={folder}/pip.conf:/etc/pip.conf:ro"]

    context = folder / "context"
    for path in tracked():
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / path, context / path)
    for path in LYING_ABOUT:
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_text(f"SECRET={MARK}\n")
    build = ["--isolation", "chroot", "--pull=never", *volumes, "-f", "deploy/Containerfile", "-t", "ostiary"]
    buildah("build", *build, ".", cwd=context)
    return "ostiary"


def test_it_holds_no_secret(buildah, image):
    container = buildah("from", "--pull=never", image)
    root = buildah("mount", container)
    try:
        found = subprocess.run(
            ["grep", "-rlF", MARK, root], capture_output=True, text=True
        ).stdout.splitlines()
        names = [
            path
            for path in LYING_ABOUT
            if not path.startswith(".venv/") and os.path.exists(f"{root}/opt/ostiary/{path}")
        ]
        assert (found, names) == ([], [])
        assert not os.path.exists(f"{root}/opt/ostiary/tests")
        assert MARK not in buildah("inspect", "--type", "image", image)
    finally:
        buildah("umount", container)
        buildah("rm", container)


def test_it_starts(buildah, image):
    """By its own command, as its own user; migrated, and ready."""
    port = free_port()
    container = buildah("from", "--pull=never", image)
    for name, value in {
        "OSTIARY_ISSUER": "https://op.example",
        "OSTIARY_DATABASE_URL": "sqlite:////var/lib/ostiary/ostiary.sqlite3",
        "OSTIARY_SECRET_KEY": "k" * 32,
        "GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:{port}",
    }.items():
        buildah("config", "--env", f"{name}={value}", container)
    [command] = re.findall(
        r'^CMD \["sh", "-c", "(.*)"\]$', (PROJECT / "deploy/Containerfile").read_text(), re.MULTILINE
    )
    run = buildah.command("run", "--isolation", "chroot", container, "--", "sh", "-c", command)
    process = subprocess.Popen(
        run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 2 * START_SECONDS
        while not is_ready(port):
            assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
            time.sleep(0.2)
        [identity] = set(re.findall(r"^Uid:\s+(\d+)", status_of(port), re.MULTILINE))
        assert identity != "0"
    finally:
        for pid in pids_of(port):
            os.kill(pid, 15)
        process.communicate(timeout=START_SECONDS)
        buildah("rm", container)


def is_ready(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def pids_of(port):
    """Of the server's processes: their command line names gunicorn, and their environment the port."""
    wanted = f"--bind=127.0.0.1:{port}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "environ").read_bytes() and b"gunicorn" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def status_of(port):
    return "".join(Path(f"/proc/{pid}/status").read_text() for pid in pids_of(port))
