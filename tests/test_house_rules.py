"""Rules about the tree itself, one test a rule: no source breaks it, and each planted offender is found.

A rule is a function from sources, as texts by their path, to the offenders among them.
"""

import ast
import re
import statistics
from functools import cache

from tests.architecture import FLOOR, PROJECT, WITHOUT_PYTHON

NOT_OURS = {".venv", ".venv-next", "instance", "node_modules"}
FILES = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in sorted(PROJECT.rglob("*.py"))
    if not NOT_OURS & set(path.relative_to(PROJECT).parts)
}
TESTS = {path: text for path, text in FILES.items() if path.startswith("tests/")}
PRODUCT = {path: text for path, text in FILES.items() if path not in TESTS}
HAND_WRITTEN = {path: text for path, text in PRODUCT.items() if not path.startswith("migrations/versions/")}

MOST_FILES_AT_THE_TOP = 8
LONGEST_LINE = 110
LONGEST_FILE, LONG_FILE = 400, 240  # lines; nine of ten files are shorter than a long one
LONGEST_FUNCTION, LONG_FUNCTION, USUAL_FUNCTION = (
    52,
    14,
    5,
)  # lines from `def` to the last, without the docstring
FRONT_ENDS = {"pages", "endpoints", "commands", "api"}
SOURCES = [PROJECT / path for path in PRODUCT]  # for tests that read them


def assert_rule(find, sources, *planted):
    """planted: sources with one offender each, as a path and a text."""
    assert list(find(sources)) == []
    for path, text in planted:
        assert list(find(sources | {path: text})) != [], f"{path}\n{text}"


def nodes_of(text, *kinds):
    return [node for node in all_nodes(text) if isinstance(node, kinds)]


@cache
def all_nodes(text):
    return list(ast.walk(ast.parse(text)))


# ---- rooms and imports -------------------------------------------------------------------------------------


def room_of(path):
    return path.split("/")[0].removesuffix(".py")


def imports_of(text):
    """Return the dotted names that a source imports, each as a module or as something in one."""
    for node in nodes_of(text, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def too_many_at_the_top(sources):
    top = [path for path in sources if "/" not in path]
    return top if len(top) > MOST_FILES_AT_THE_TOP else []


def test_at_most_eight_files_are_at_the_top():
    assert_rule(too_many_at_the_top, PRODUCT, ("helpers.py", ""))


def rooms_without_a_sentence(sources):
    rooms = {room_of(path) for path in sources if "/" in path} - set(WITHOUT_PYTHON)
    for room in sorted(rooms):
        docstring = ast.get_docstring(ast.parse(sources.get(f"{room}/__init__.py", ""))) or ""
        if not re.match(r".+?[.](\s|$)", " ".join(docstring.split())):
            yield room


def test_each_room_says_in_a_sentence_what_belongs_there():
    assert_rule(
        rooms_without_a_sentence, PRODUCT, ("attic/__init__.py", '"""things"""'), ("attic/file.py", "")
    )


def rooms_without_a_floor(sources):
    return sorted({room_of(path) for path in sources} - set(FLOOR))


def test_each_room_has_its_floor():
    assert_rule(rooms_without_a_floor, PRODUCT, ("attic/file.py", ""))


def imports_upwards(sources):
    for path, text in sources.items():
        rooms = {name.partition(".")[0] for name in imports_of(text)} - {room_of(path)}
        for room in sorted(rooms & set(FLOOR)):
            if FLOOR[room] >= FLOOR.get(room_of(path), len(FLOOR)):
                yield f"{path} imports {room}"


def test_imports_go_down():
    assert_rule(
        imports_upwards,
        PRODUCT,
        ("store/a.py", "import app"),
        ("store/a.py", "from pages.login import show"),
        ("grants/a.py", "def f():\n    from my_oauth import save_token"),
        ("protocol/a.py", "import store.tokens"),
    )


def modules_imported(text, modules):
    """Return which of these modules a source imports: for a name in one, the module itself."""
    found = {name if name in modules else name.rpartition(".")[0] for name in imports_of(text)}
    return found & modules


def circles(sources):
    """Return the modules that import each other in a circle, and those that import one of them."""
    by_module = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text
        for path, text in sources.items()
    }
    left = {module: modules_imported(text, by_module.keys()) for module, text in by_module.items()}
    while done := [module for module, others in left.items() if not others & left.keys()]:
        for module in done:
            del left[module]
    return sorted(left)


def test_no_import_goes_in_a_circle():
    assert_rule(
        circles,
        PRODUCT | {"store/a.py": "import store.b", "store/b.py": "import store.c"},
        ("store/c.py", "from store import a"),
    )


def front_ends_of_others(sources):
    for path, text in sources.items():
        rooms = {name.partition(".")[0] for name in imports_of(text)}
        if room_of(path) in FRONT_ENDS:
            yield from (f"{path} imports {room}" for room in sorted(rooms & FRONT_ENDS - {room_of(path)}))


def test_front_ends_never_import_each_other():
    assert_rule(front_ends_of_others, PRODUCT, ("pages/a.py", "from commands.clients import add"))


# ---- sizes -------------------------------------------------------------------------------------------------


def length_of(function):
    """Return the lines of a function from its `def` to its last, without its docstring."""
    first = function.body[0]
    docstring = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (0 if docstring is None else lines_of(first))


def lines_of(node):
    return node.end_lineno - node.lineno + 1


def tenth(numbers):
    """Return the number that nine of ten are at most."""
    return statistics.quantiles(numbers, n=10, method="inclusive")[-1]


def long_functions(sources):
    lengths = {
        f"{path}: {function.name}, {length_of(function)} lines": length_of(function)
        for path, text in sources.items()
        for function in nodes_of(text, ast.FunctionDef, ast.AsyncFunctionDef)
    }
    yield from (name for name, length in lengths.items() if length > LONGEST_FUNCTION)
    if statistics.median(lengths.values()) > USUAL_FUNCTION:
        yield f"half of the functions are longer than {USUAL_FUNCTION} lines"
    if tenth(lengths.values()) > LONG_FUNCTION:
        yield f"a tenth of the functions is longer than {LONG_FUNCTION} lines"


def test_functions_are_short():
    def functions(count, lines):
        body = "    pass\n" * (lines - 1)
        return "".join(f"def f{number}():\n{body}" for number in range(count))

    assert_rule(
        long_functions,
        HAND_WRITTEN,
        ("a.py", functions(1, LONGEST_FUNCTION + 1)),
        ("a.py", functions(300, LONG_FUNCTION + 1)),
        ("a.py", functions(1_000, USUAL_FUNCTION + 1)),
    )


def long_files(sources):
    lengths = {path: len(text.splitlines()) for path, text in sources.items()}
    yield from (f"{path}: {length} lines" for path, length in lengths.items() if length > LONGEST_FILE)
    if tenth(lengths.values()) > LONG_FILE:
        yield f"a tenth of the files is longer than {LONG_FILE} lines: {tenth(lengths.values())}"


def test_files_are_short():
    many = {f"a{number}.py": "pass\n" * (LONG_FILE + 1) for number in range(40)}
    assert_rule(long_files, HAND_WRITTEN, ("a.py", "pass\n" * (LONGEST_FILE + 1)))
    assert list(long_files(HAND_WRITTEN | many)) != []


def long_lines(sources):
    """A word for a linter at the end of a line does not count."""
    for path, text in sources.items():
        for number, line in enumerate(text.splitlines(), 1):
            if len(re.sub(r"\s+# (noqa|type):.*", "", line)) > LONGEST_LINE:
                yield f"{path}:{number}"


def test_lines_are_short():
    assert_rule(long_lines, HAND_WRITTEN | TESTS, ("a.py", "#" * (LONGEST_LINE + 1)))


# ---- what stands in one place ------------------------------------------------------------------------------

TRANSACTION_CALLS = {"commit", "rollback", "begin", "begin_nested"}


def transactions_ended(text):
    """Return the lines that commit, roll back, or open a transaction or a connection."""
    for call in nodes_of(text, ast.Call):
        if isinstance(call.func, ast.Attribute):
            is_on_engine = isinstance(call.func.value, ast.Attribute | ast.Name) and "engine" in ast.unparse(
                call.func.value
            )
            if call.func.attr in TRANSACTION_CALLS or (call.func.attr == "connect" and is_on_engine):
                yield f"{call.lineno}: {ast.unparse(call.func)}("
    for constant in nodes_of(text, ast.Constant):
        if constant.value == "AUTOCOMMIT":
            yield f"{constant.lineno}: AUTOCOMMIT"


def transactions_elsewhere(sources):
    for path, text in sources.items():
        if path != "unit_of_work.py":
            yield from (f"{path}:{place}" for place in transactions_ended(text))


def test_only_the_unit_of_work_ends_transactions():
    assert len(list(transactions_ended(PRODUCT["unit_of_work.py"]))) >= 5
    assert_rule(
        transactions_elsewhere,
        PRODUCT,
        *(
            ("pages/a.py", f"def view():\n    {statement}\n")
            for statement in (
                "db.session.commit()",
                "session.rollback()",
                "with db.session.begin(): pass",
                "db.session.begin_nested()",
                "with db.engine.connect() as connection: pass",
                "with engine.begin() as connection: pass",
                "engine.execution_options(isolation_level='AUTOCOMMIT')",
            )
        ),
    )


def judges_of_characters(sources):
    """`protocol/typed_text.py` says which characters a text may have.

    Python's own word refuses joiners, and emoji that are younger than its tables. The log uses it: there a
    character is not refused but escaped.
    """
    return [
        path for path, text in sources.items() if ".isprintable(" in text and path != "services/event_log.py"
    ]


def test_one_file_decides_which_characters_a_text_may_have():
    assert_rule(judges_of_characters, PRODUCT, ("pages/a.py", "name.isprintable()"))


# ---- tests -------------------------------------------------------------------------------------------------


def clocks_that_are_stopped(sources):
    """What stops the clock by itself may come after the first rows, which are a second older then."""
    allowed = {"tests/stopped_clock.py", "tests/generated/test_machine.py", "tests/test_house_rules.py"}
    pattern = re.compile(r'setattr\(clock, "now')
    return [path for path, text in sources.items() if pattern.search(text) and path not in allowed]


def test_one_fixture_stops_the_clock():
    assert_rule(
        clocks_that_are_stopped, TESTS, ("tests/a.py", 'monkeypatch.setattr(clock, "now", lambda: 1)')
    )
