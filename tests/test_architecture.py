"""`docs/architecture.md` is about the tree as it is: the floors, the rooms, the files of a token request."""

import re
import shutil

from tests import architecture
from tests.architecture import DOCUMENT, PROJECT, draw, main

MOST_FILES_TO_READ = 8


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


def test_a_token_request_is_read_in_eight_files():
    [steps] = re.findall(r"^## A token request.*?$(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    files = re.findall(r"^\d\. `([\w/]+\.py)`", steps, re.MULTILINE)
    assert 1 < len(files) <= MOST_FILES_TO_READ
    assert [file for file in files if not (PROJECT / file).exists()] == []
