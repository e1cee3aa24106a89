"""`docs/architecture.md` is about the tree as it is: the floors, the rooms, the files of a token request."""

import ast
import re
import shutil

import pytest

from tests import architecture
from tests.architecture import DOCUMENT, FLOOR, PROJECT, draw, main, path_of, sentence_of

MOST_FILES_TO_READ = 8
MOST_FILES_AT_THE_TOP = 8
MOST_LINES = 400
FRONT_ENDS = {"pages", "endpoints", "commands"}


def test_the_floors_in_the_document_are_those_of_the_list():
    """`.venv/bin/python -m tests.architecture --write` makes it so."""
    assert f"<!-- from tests/architecture.py -->\n{draw()}<!-- end -->" in DOCUMENT.read_text()


def test_the_command_writes_the_document(monkeypatch, tmp_path, capsys):
    document = tmp_path / DOCUMENT.name
    shutil.copy(DOCUMENT, document)
    monkeypatch.setattr(architecture, "DOCUMENT", document)
    document.write_text(document.read_text().replace("app.py", "elsewhere.py"))
    main(["--write"])
    assert document.read_text().count(draw()) == 1
    assert capsys.readouterr().out == draw()


@pytest.mark.parametrize("room", [room for room in FLOOR if room != "migrations"])
def test_each_room_says_in_one_sentence_what_belongs_there(room):
    assert path_of(room).exists()
    assert sentence_of(room).endswith(".")


def test_at_most_eight_files_are_at_the_top():
    assert len(list(PROJECT.glob("*.py"))) <= MOST_FILES_AT_THE_TOP


def test_no_file_of_the_product_is_longer_than_400_lines():
    rooms = [PROJECT / room for room in FLOOR if (PROJECT / room).is_dir()]
    files = [*PROJECT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))]
    lengths = {path.relative_to(PROJECT).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def rooms_imported(source):
    """Return the rooms that a file names in its imports, wherever in the file they stand."""
    nodes = list(ast.walk(ast.parse(source)))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in named}


def test_pages_endpoints_and_commands_never_import_each_other():
    """What two of them need is a function in `services/`."""
    offenders = [
        path.relative_to(PROJECT).as_posix()
        for room in sorted(FRONT_ENDS)
        for path in sorted((PROJECT / room).rglob("*.py"))
        if rooms_imported(path.read_text()) & (FRONT_ENDS - {room})
    ]
    assert offenders == []


@pytest.mark.parametrize("source", ["from pages.login import show", "def f():\n    import commands.users"])
def test_a_planted_import_of_a_front_end_is_found(source):
    assert rooms_imported(source) & FRONT_ENDS


def test_a_token_request_is_read_in_eight_files():
    [steps] = re.findall(r"^## A token request.*?$(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    files = re.findall(r"^\d\. `([\w/]+\.py)`", steps, re.MULTILINE)
    assert 1 < len(files) <= MOST_FILES_TO_READ
    assert [file for file in files if not (PROJECT / file).exists()] == []
