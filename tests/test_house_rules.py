"""Rules about the tree itself: who ends transactions, which way imports go.

Each catches a planted offender.
"""

import ast
from pathlib import Path

import pytest

from tests.architecture import FLOOR

PROJECT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path
    for path in PROJECT.rglob("*.py")
    if not {".venv", ".venv-next", "tests", "instance", "node_modules"} & set(path.relative_to(PROJECT).parts)
)


def room_of(path):
    top = path.relative_to(PROJECT).parts[0]
    return top.removesuffix(".py")


def misplaced(source, room):
    """Names of rooms that `source`, itself in `room`, imports from its own floor or above."""
    named = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add((node.module or "").partition(".")[0])
    return {other for other in named - {room} if FLOOR.get(other, -1) >= FLOOR[room]}


TRANSACTION_CALLS = {"commit", "rollback", "begin", "begin_nested"}


def transactions_ended(source):
    """Lines that commit, roll back, or open a transaction or a connection."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            on_engine = isinstance(node.func.value, ast.Attribute | ast.Name) and "engine" in ast.unparse(
                node.func.value
            )
            if node.func.attr in TRANSACTION_CALLS or (node.func.attr == "connect" and on_engine):
                found.append(f"{node.lineno}: {ast.unparse(node.func)}(")
        if isinstance(node, ast.Constant) and node.value == "AUTOCOMMIT":
            found.append(f"{node.lineno}: AUTOCOMMIT")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_only_the_unit_of_work_ends_transactions(path):
    if path.name != "unit_of_work.py":
        assert transactions_ended(path.read_text()) == []


@pytest.mark.parametrize(
    "planted",
    [
        "db.session.commit()",
        "session.rollback()",
        "with db.session.begin(): pass",
        "db.session.begin_nested()",
        "with db.engine.connect() as connection: pass",
        "with engine.begin() as connection: pass",
        "engine.execution_options(isolation_level='AUTOCOMMIT')",
    ],
)
def test_a_planted_transaction_is_found(planted):
    assert transactions_ended(f"def view():\n    {planted}\n")


def test_the_unit_of_work_itself_is_read_by_the_same_rule():
    assert len(transactions_ended((PROJECT / "unit_of_work.py").read_text())) >= 5


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_imports_go_down(path):
    room = room_of(path)
    if room in FLOOR:
        assert misplaced(path.read_text(), room) == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_one_place_decides_which_characters_a_text_may_have(path):
    """`protocol/typed_text.py`. Python's own word for it refuses joiners, and emoji that are younger than its
    tables.

    The log uses it: there a character is not refused but escaped.
    """
    assert path.name == "event_log.py" or ".isprintable(" not in path.read_text()


def test_every_room_has_its_floor():
    rooms = {room_of(path) for path in SOURCES} - {"pytest_ostiary"}
    assert rooms <= set(FLOOR)


@pytest.mark.parametrize(
    ("source", "room"),
    [
        ("import app", "store"),
        ("from pages.login import show", "store"),
        ("def f():\n    from my_oauth import save_token", "grants"),
        ("import store.tokens", "protocol"),
    ],
)
def test_a_planted_import_is_found(source, room):
    assert misplaced(source, room)
