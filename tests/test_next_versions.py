"""The suite on next versions: one that is not tried is told, with the reason; CI names files that exist."""

import re
import zipfile

import pytest

from tests.live import PROJECT
from tests.next_versions import NEXT, NoAnswerError, describe, newest

WANTED = "flask>=3.2.dev0,<3.3"


def publish(folder, *versions):
    """Put empty wheels into `folder`; returns pip's options for an index that has these alone."""
    for version in versions:
        info = f"flask-{version}.dist-info"
        with zipfile.ZipFile(folder / f"flask-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: flask\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return ["--isolated", "--no-index", "--find-links", str(folder)]


@pytest.mark.long  # pip takes a second for each
@pytest.mark.parametrize(
    ("versions", "found"),
    [
        (["3.1.3"], None),
        (["3.1.3", "3.2.0rc1"], "3.2.0rc1"),
        (["3.2.0.dev0", "3.2.0", "3.2.1", "3.3.0"], "3.2.1"),
    ],
)
def test_the_newest_that_fits_is_found(tmp_path, versions, found):
    assert newest(WANTED, *publish(tmp_path, *versions)) == found


@pytest.mark.long
def test_an_index_that_does_not_answer_is_not_one_that_has_none(tmp_path):
    options = publish(tmp_path)
    with pytest.raises(NoAnswerError):
        newest(WANTED, *options)
    told = "next Flask: not tried, the suite is on 3.1.3; the index could not be asked for it"
    assert describe("Flask", WANTED, "3.1.3", *options) == told


@pytest.mark.long  # pip takes a second for each
@pytest.mark.parametrize(
    ("versions", "installed", "told"),
    [
        (["3.1.3"], "3.2.0rc1", "next Flask: 3.2.0rc1"),
        (["3.1.3"], "3.1.3", "not tried, the suite is on 3.1.3; the index has none, not even a pre-release"),
        (["3.2.0a1"], "3.1.3", "not tried, the suite is on 3.1.3; 3.2.0a1 is on the index: run `make lock`"),
    ],
)
def test_what_is_not_tried_is_told(tmp_path, versions, installed, told):
    assert describe("Flask", WANTED, installed, *publish(tmp_path, *versions)).endswith(told)


def test_ci_names_files_that_exist():
    named = re.findall(r"tests/[\w/]+(?:\.py)?", (PROJECT / ".ci/run").read_text())
    assert named
    assert [path for path in named if not (PROJECT / path).exists()] == []


def test_flask_is_asked_for():
    assert NEXT["Flask"] == WANTED
