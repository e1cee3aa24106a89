"""Each `own(…)` of the product is needed: without it a test fails, because its statement is refused.

First it is learned which tests execute whose statement (`own_calls.py`); then the calls are taken out, one at
a time, and such a test must fail of each, because a statement was refused.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.live import PROJECT
from tests.storage.own_calls import find_calls
from tests.test_house_rules import HAND_WRITTEN

MAXIMUM_SECONDS = 1_800  # it takes three minutes where nothing else runs
EACH_STATEMENT = "tests/storage/test_two_tenants.py"
# A small product: the words behind a line say, for each call in it, what is found out.
SHOP = """
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, select

from database.tenancy import install, own

metadata = MetaData()
things = Table("thing", metadata, Column("tenant_id", Integer), Column("id", Integer))
BY_ID = select(things.c.id).where(own(things), things.c.id == 1)  # good


def all_ids():
    return select(things.c.id).where(
        things.c.id > 0,
        own(things),  # good
    )


def pairs():
    others = things.alias()
    return select(things).join(others, own(others)).where(own(things))  # good good


def twice():
    return select(things).where(own(things), own(things))  # not needed, not needed


def never():
    return select(things).where(own(things))  # not executed
"""
TEST_OF_SHOP = """
import shop


def rows_of(statement):
    engine = shop.create_engine("sqlite://")
    shop.install(engine, shop.metadata)
    shop.metadata.create_all(engine)
    with engine.connect() as connection:
        found = connection.execute(statement).all()
    engine.dispose()
    return found


def test_by_id():
    assert rows_of(shop.BY_ID) == []


def test_all_ids():
    assert rows_of(shop.all_ids()) == []


def test_pairs():
    assert rows_of(shop.pairs()) == []


def test_twice():
    assert rows_of(shop.twice()) == []
"""


def run(mode, report, *arguments, folder):
    """Run the program; return pytest's exit code, the result, and what was printed."""
    command = [sys.executable, "-m", "tests.storage.own_calls", mode, report, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(PROJECT)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    result = json.loads(report.read_text()) if report.exists() else None
    return done.returncode, result, done.stdout + done.stderr


def problem_without(call, tests, folder, reports):
    """Return what is wrong where a call can be taken out; None where a test fails as it should."""
    printed = ""
    for number, test in enumerate(tests):
        report = reports / f"{call.replace('/', '.')}.{number}.json"
        code, refusals, printed = run("without", report, call, "-m", "", test, folder=folder)
        if code == pytest.ExitCode.TESTS_FAILED and refusals:
            return None
    if not tests:
        return f"{call} is not executed by what was run to learn"
    return f"{call} is not needed: without it {', '.join(tests)} said {printed[-1_000:]}"


def learned_by(code, result, printed):
    """Return what was learned in a run of which every test has passed."""
    assert code == pytest.ExitCode.OK, printed[-5_000:]
    return result


def problems_of(calls, to_learn_from, folder, reports):
    """Take these calls of the product in a folder out, one at a time; return what is wrong, in words.

    to_learn_from: arguments for pytest.
    """
    learned = learned_by(*run("learn", reports / "learned.json", *to_learn_from, folder=folder))
    tests = {call: list(learned.get(call, {}).values()) for call in calls}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = pool.map(lambda call: problem_without(call, tests[call], folder, reports), calls)
        return sorted(filter(None, problems))


@pytest.mark.long
def test_what_can_be_taken_out_is_found(integration, tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(TEST_OF_SHOP)
    calls, others = find_calls({"shop.py": SHOP})
    assert (len(calls), others) == (7, [])
    problems = problems_of(calls, ["test_shop.py"], tmp_path, tmp_path)
    for number, line in enumerate(SHOP.splitlines(), 1):
        found = [problem for problem in problems if problem.startswith(f"shop.py:{number}:")]
        for words in ("not needed", "not executed"):
            assert sum(f"is {words}" in problem for problem in found) == line.count(words), found
        assert "own(" not in line or len(found) + line.count("good") == line.count("own(")


@pytest.mark.long
def test_a_test_that_fails_while_it_is_learned_from_is_told(integration, tmp_path):
    (tmp_path / "test_wrong.py").write_text("def test_wrong():\n    assert not 'what is wrong'\n")
    with pytest.raises(AssertionError, match="what is wrong"):
        problems_of([], ["test_wrong.py"], tmp_path, tmp_path)


def test_own_is_called_and_not_used_otherwise():
    _calls, others = find_calls(HAND_WRITTEN)
    assert others == []
    planted = {
        "a.py": "from database.tenancy import own\nown(rows)\nmap(own, tables)",
        "b.py": "from database import tenancy\ntenancy.own(rows)\nown = f = tenancy.own",
        "c.py": "own = 1\nprint(own)",
    }
    assert find_calls(planted) == (["a.py:2:0", "b.py:2:0"], ["a.py:3:4", "b.py:3:10"])


@pytest.mark.threat("T193")
@pytest.mark.long
@pytest.mark.timeout(MAXIMUM_SECONDS)
def test_each_own_is_needed(integration, tmp_path):
    calls, _others = find_calls(HAND_WRITTEN)
    assert len(calls) > 80
    assert problems_of(calls, ["-k", "sqlite", EACH_STATEMENT], PROJECT, tmp_path) == []
