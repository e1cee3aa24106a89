"""Which statements are about the rows of all tenants on purpose. Whoever adds one adds it here, too."""

import ast

import pytest

from database.tenancy import EVERY_TENANT
from tests.test_house_rules import HAND_WRITTEN

ON_PURPOSE = {
    "store/logout_notices.py: IS_ANY_DUE": "one delivery asks whether any tenant has something to tell",
    "store/logout_notices.py: BEGIN_ATTEMPTS": "it begins the attempts at the notices that it has claimed",
    "store/logout_notices.py: claim_due": "those who have waited longest come first, whosever they are",
    "store/sweep.py: expired": "a tenant that nobody uses any more leaves no expired rows behind",
}
FENCE = "database/"  # what reads the option, and copies it with a statement
NAMES = {"EVERY_TENANT", EVERY_TENANT}


def find_uses(sources):
    """The statements and functions that have the option, by their names at the top of a file."""
    for path, text in sources.items():
        if path.startswith(FENCE):
            continue
        options = set()  # names of dicts that hold it
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import | ast.ImportFrom) or not words_of(node) & (NAMES | options):
                continue
            name = name_of(node)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                options.add(name)
            else:
                yield f"{path}: {name}"


def words_of(node):
    """Return the names, members, texts and keywords in a piece of a source."""
    kinds = {ast.Name: "id", ast.Attribute: "attr", ast.Constant: "value", ast.keyword: "arg"}
    return {getattr(part, kinds[type(part)]) for part in ast.walk(node) if type(part) in kinds}


def name_of(node):
    return node.targets[0].id if isinstance(node, ast.Assign) else getattr(node, "name", ast.unparse(node))


def of_tables(sources):
    """Commands have a flag and arguments that are called so; no statement is written there."""
    return {path: text for path, text in sources.items() if not path.startswith("commands/")}


@pytest.mark.threat("T194")
def test_each_statement_about_all_tenants_is_listed():
    assert sorted(find_uses(of_tables(HAND_WRITTEN))) == sorted(ON_PURPOSE)


@pytest.mark.parametrize(
    "text",
    [
        "ALL = select(rows).execution_options(every_tenant='why')",
        "ALL = select(rows).execution_options(**{EVERY_TENANT: 'why'})",
        "WHY = {tenancy.EVERY_TENANT: 'why'}\nALL = select(rows).execution_options(**WHY)",
        "def ALL():\n    return select(rows).execution_options(**{'every_tenant': 'why'})",
    ],
)
def test_one_that_is_not_would_be_found(text):
    assert list(find_uses({"services/a.py": text})) == ["services/a.py: ALL"]


def test_no_command_writes_a_statement():
    for path, text in HAND_WRITTEN.items():
        if path.startswith("commands/"):
            assert "execution_options" not in text, path
