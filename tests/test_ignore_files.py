"""What goes into an image and into the repository is listed; so what lies about, secrets above all, goes into
neither.

`tests/flows/test_image.py` builds an image, where Buildah is installed.
"""

import re
import subprocess
from pathlib import PurePosixPath

import pytest

from tests.live import PROJECT

DOCKER, CONTAINER = ((PROJECT / name).read_text() for name in (".dockerignore", ".containerignore"))
LISTED = [line.removeprefix("!") for line in DOCKER.splitlines() if line.startswith("!")]
# Files of the project that no server needs.
NO_PART = re.compile(
    r"(tests|docs|deploy|\.ci)/|[A-Z]+\.md$|Makefile$|pyproject\.toml$|testing/plugin/|\.\w+ignore$"
    r"|requirements(-\w+\.txt|.*\.in)$"
)
LYING_ABOUT = (
    ".env .flaskenv ostiary.env instance/secret_key instance/ostiary.sqlite3 ostiary.sqlite3"
    " ostiary.sqlite3-wal"
    " backup.sql secret_key privkey.pem store/key.pem pages/.env templates/clients.json static/dump.sqlite3"
    " migrations/versions/x.sqlite3 robot.json deploy.key.txt .ssh/id_ed25519 .git/config .venv/bin/python"
    " .venv/lib/x.py instance/settings.py .mypy_cache/x.py"
).split()


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("this is no repository")
    return done.stdout.splitlines()


def goes_in(path):
    return any(is_like(path, pattern) for pattern in LISTED)


def is_like(path, pattern):
    """As Docker compares: part by part, and `**` is any number of them."""
    if "**" in pattern:
        start, end = pattern.split("/**/")
        return path.startswith(f"{start}/") and PurePosixPath(path).match(end)
    return PurePosixPath(f"/{path}").match(f"/{pattern}")


def test_both_files_for_images_say_the_same():
    assert DOCKER == CONTAINER
    assert [line for line in DOCKER.splitlines() if not line.startswith(("#", "!"))] == ["*"]


@pytest.mark.integration
def test_the_whole_product_goes_into_an_image():
    """A new file of the product gets its line in both files."""
    product = [path for path in tracked() if not NO_PART.match(path)]
    assert [path for path in product if not goes_in(path)] == []
    assert [path for path in tracked() if NO_PART.match(path) and goes_in(path)] == []
    # no line is left over
    assert [line for line in LISTED if not any(is_like(path, line) for path in product)] == []


@pytest.mark.parametrize("path", LYING_ABOUT)
def test_what_lies_about_does_not(path):
    assert not goes_in(path)


@pytest.mark.integration
def test_the_repository_takes_what_it_has_and_no_more():
    tracked()
    ask = ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index"]
    left_out = subprocess.run(
        [*ask, *tracked()], cwd=PROJECT, capture_output=True, text=True
    ).stdout.splitlines()
    assert left_out == []
    # the latter may be a link
    lying_about = [path for path in LYING_ABOUT if not path.startswith((".git/", ".venv/"))]
    done = subprocess.run([*ask, *lying_about], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.splitlines() == lying_about
