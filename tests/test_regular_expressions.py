"""Every regular expression of the product takes its worst input of 64 kB, the largest body that is read, in
no time.

The expressions are found: whatever a module, or a class in it, has compiled. What is tried on each is made
from its own text: the characters and words in it, in long runs that are almost right.
"""

import ast
import importlib
import re
import time

import pytest

from tests.test_house_rules import PROJECT, SOURCES

SIZE = 64 * 1024
SECONDS = 0.05
TRIES = 3
METHODS = {"match": "match", "fullmatch": "fullmatch"}  # all others look for it everywhere, as "search" does
NO_MODULES = ("gunicorn.conf", "migrations", "testing.plugin")  # read by gunicorn, by Alembic, from a wheel


def modules():
    """Every module of the product."""
    for path in SOURCES:
        name = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        if not name.startswith(NO_MODULES):
            yield importlib.import_module(name)


def compiled_in(module):
    """The patterns that a module, or a class of it, has compiled; by name."""
    for owner in (module, *(value for value in vars(module).values() if isinstance(value, type))):
        if getattr(owner, "__module__", module.__name__) == module.__name__:
            for name, value in vars(owner).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.__name__}.{name}", value


def calls(path):
    """Calls of a method in a file, as (what it is called on, its name, the node)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value), node.func.attr, node


def methods_used(name):
    """How the product uses the pattern of this name."""
    short = name.rpartition(".")[2]
    attributes = {
        attribute
        for path in SOURCES
        for on, attribute, _node in calls(path)
        if on.rpartition(".")[2] == short
    }
    return sorted({METHODS.get(attribute, "search") for attribute in attributes}) or ["search"]


def given_to_re(path):
    """What the source gives to a function of `re` as a pattern; by place."""
    for on, attribute, node in calls(path):
        if on == "re" and attribute != "escape":
            first = node.args[0]
            yield (
                f"{path.relative_to(PROJECT)}:{node.lineno}",
                first.value if isinstance(first, ast.Constant) else None,
            )


PATTERNS = {name: pattern for module in modules() for name, pattern in compiled_in(module)}


def text_of(pattern):
    """Its source; of a pattern for bytes as well."""
    return pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")


def characters_of(pattern):
    """Characters that the pattern speaks of, and some that it most likely does not."""
    escaped = {chr(int(digits, 16)) for digits in re.findall(r"\\[xu]([0-9A-Fa-f]{2,4})", text_of(pattern))}
    return sorted(set(text_of(pattern)) | escaped | set("aZ0 /%=\n\0\u00e9\ufffd\ud800"))


def worst_inputs(pattern, size):
    """Texts so long: runs of each character, and beginnings that may match with a run after them and a wrong
    end.
    """
    words = re.findall(r"[A-Za-z0-9:/.\[\]-]{2,}", text_of(pattern).replace("\\", ""))
    beginnings = ["", *{*words, "http://127.0.0.1:", "&code", "a."}]
    for character in characters_of(pattern):
        for beginning in beginnings:
            yield (beginning + character * size)[: size - 1] + "\0"
            yield ((beginning + character) * (size // (len(beginning) + 1) + 1))[:size]


def slowest(pattern, methods, size, limit):
    """The most seconds that an input took, with its beginning; it ends at the first that takes too long."""
    worst = (0.0, "")
    for text in worst_inputs(pattern, size):
        for method in methods:
            worst = max(worst, (seconds(pattern, method, text, limit), f"{method}({text[:20]!r}…)"))
            if worst[0] > limit:
                return worst
    return worst


def seconds(pattern, method, text, limit):
    """The best of some tries, where the first took too long: what else the machine does is not counted."""
    sent = text if isinstance(pattern.pattern, str) else text.encode("utf-8", "surrogatepass")
    taken = []
    while not taken or (min(taken) > limit and len(taken) < TRIES):
        begin = time.process_time()
        getattr(pattern, method)(sent)
        taken.append(time.process_time() - begin)
    return min(taken)


@pytest.mark.long
@pytest.mark.threat("T166")
@pytest.mark.parametrize("name", PATTERNS)
def test_its_worst_input_takes_no_time(name):
    taken, text = slowest(PATTERNS[name], methods_used(name), SIZE, SECONDS)
    assert taken < SECONDS, text


@pytest.mark.threat("T166")
def test_the_search_finds_what_is_there():
    assert {
        "protocol.parameters.VISIBLE",
        "protocol.redirect_uris.LOOPBACK",
        "pages.navigation.LOCAL_PATH",
    } <= set(PATTERNS)


@pytest.mark.threat("T166")
def test_no_pattern_is_written_where_the_search_does_not_look():
    """Patterns are compiled at the top of a module: one inside of a function would escape it."""
    known = {pattern.pattern for pattern in PATTERNS.values()}
    hidden = {place: text for path in SOURCES for place, text in given_to_re(path) if text not in known}
    assert hidden == {}


@pytest.mark.long
@pytest.mark.threat("T166")
@pytest.mark.parametrize(("slow", "size"), [(r"(a+)+$", 23), (r"a*a*a*b", 250), (r"\s+$", 12_000)])
def test_a_slow_one_is_noticed(slow, size):
    """On shorter texts, because it would not end on a long one."""
    taken, _text = slowest(re.compile(slow), ["search"], size, SECONDS)
    assert taken > SECONDS
