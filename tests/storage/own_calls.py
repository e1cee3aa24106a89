"""Take one call of `own(…)` out of the product and run tests; or learn which tests execute whose statement.

Many statements are made when their module is imported, so `own` is replaced before the product is imported,
in a process of its own for each call. This file is its program:

    python -m tests.storage.own_calls learn REPORT …                # … are arguments for pytest
    python -m tests.storage.own_calls without REPORT store/users.py:12:8 …

REPORT is a file for the result, as JSON. The exit code is pytest's.
"""

import ast
import itertools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy import Engine, Integer, bindparam, event, true

from database import scopes, tenancy

TESTS = "tests/"
MOST_TESTS = 5  # functions that are remembered for a call


def find_calls(sources: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return where `own` is called in these sources (texts by their path), and where it is used otherwise.

    A call is named by its path, line and column. What is used otherwise cannot be taken out.
    """
    calls, others = [], []
    for path, text in sources.items():
        nodes = list(ast.walk(ast.parse(text)))
        ways = {way for node in nodes for way in ways_to_own(node)}
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        for node in nodes:
            if is_own(node, ways):
                (calls if id(node) in called else others).append(f"{path}:{node.lineno}:{node.col_offset}")
    return calls, others


def ways_to_own(node: ast.AST) -> set[type[ast.AST]]:
    """Return how a node makes `own` known: by its name, or as an attribute of its module."""
    names = set()
    if isinstance(node, ast.ImportFrom):
        names = {f"{node.module}.{alias.name}" for alias in node.names}
    elif isinstance(node, ast.Import):
        names = {alias.name for alias in node.names}
    elif isinstance(node, ast.FunctionDef) and node.name == "own":
        names = {"database.tenancy.own"}
    ways = {"database.tenancy.own": ast.Name, "database.tenancy": ast.Attribute}
    return {ways[name] for name in names & ways.keys()}


def is_own(node: ast.AST, ways: set[type[ast.AST]]) -> bool:
    """Return whether a node reads `own`, in one of these ways."""
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    return type(node) in ways and name == "own"


def call_of(frame: FrameType) -> str:
    """Return the name of the call that a frame is at, as `find_calls` names it."""
    positions = itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
    line, _end_line, column, _end_column = next(positions)
    return f"{os.path.relpath(frame.f_code.co_filename, FOLDER)}:{line}:{column}"


FOLDER = os.getcwd()  # tests may go elsewhere


class Learner:
    """Learns, as a plugin of pytest, which tests execute the statements of which calls.

    The criterion of each call has a bound parameter of its own, which is found again in what is executed. The
    check takes all of them for the same one, as they are without this.
    """

    def __init__(self) -> None:
        self.own = tenancy.own
        self.parameters = {}  # by call
        self.calls = {}  # by the name of their parameter
        self.executed = set()  # the calls, since the last test
        self.result = {}  # by call and test function: the first test that passed
        event.listen(Engine, "before_cursor_execute", self.note_statement)
        self.is_same = scopes.is_same
        scopes.is_same = self.is_same_or_both_are_own

    def is_same_or_both_are_own(self, one, other):
        """Return whether two elements are the same, or parameters of calls."""
        return {getattr(one, "key", None), getattr(other, "key", None)} <= self.calls.keys() or self.is_same(
            one, other
        )

    def replacement(self, rows):
        """Return the criterion of `own`, with the parameter of the call."""
        call = call_of(sys._getframe(1))
        if call.startswith(TESTS):
            return self.own(rows)
        if call not in self.parameters:
            name = f"of_tenant_at_{len(self.parameters)}"
            self.calls[name] = call
            self.parameters[call] = bindparam(name, callable_=tenancy.current_tenant, type_=Integer)
        return self.own(rows).left == self.parameters[call]

    def note_statement(self, connection, cursor, sql, parameters, context, executemany):
        """Note the calls that have made a statement, which is about to be executed."""
        names = getattr(context.compiled, "bind_names", {}).values()  # neither DDL nor text has any
        self.executed |= {self.calls[name] for name in names if name in self.calls}

    def pytest_runtest_logreport(self, report):
        """Remember a test that has passed, for what it and its fixtures have executed."""
        if report.when == "call" and report.passed:
            function = report.nodeid.partition("[")[0]
            for call in self.executed:
                tests = self.result.setdefault(call, {})
                if len(tests) < MOST_TESTS:
                    tests.setdefault(function, report.nodeid)
        elif report.when == "teardown":
            self.executed.clear()


class Remover:
    """Takes one call out, and counts the statements that were refused."""

    def __init__(self, call: str) -> None:
        self.call = call
        self.own = tenancy.own
        self.result = 0
        self.is_for_every_tenant = tenancy.is_for_every_tenant
        tenancy.is_for_every_tenant = self.note_refusal

    def replacement(self, rows):
        """Return the criterion of `own`; for the call that is taken out, one that every row fulfils."""
        return true() if call_of(sys._getframe(1)) == self.call else self.own(rows)

    def note_refusal(self, context):
        """Count a statement that the check has refused, but not one that is for every tenant on purpose."""
        is_on_purpose = self.is_for_every_tenant(context)
        self.result += not is_on_purpose
        return is_on_purpose


def run(plugin: Learner | Remover, report: str, arguments: list[str]) -> int:
    """Run pytest with another `own`, write the result, and return pytest's exit code."""
    own = tenancy.own
    for module in list(sys.modules.values()):
        if getattr(module, "own", None) is own:  # its own module, and what importing that has imported
            module.own = plugin.replacement
    code = pytest.main(["-n", "0", "-p", "no:cacheprovider", *arguments], plugins=[plugin])
    Path(report).write_text(json.dumps(plugin.result))
    return code


if __name__ == "__main__":
    mode, report, *arguments = sys.argv[1:]
    plugin = Learner() if mode == "learn" else Remover(arguments.pop(0))
    sys.exit(run(plugin, report, arguments))
