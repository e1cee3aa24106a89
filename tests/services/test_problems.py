"""Each code that a service refuses with has its sentence, and each sentence its values."""

import ast
from pathlib import Path
from string import Formatter

import pytest

import commands.problem_texts
import pages.problem_texts
from errors import Problem
from services.problems import Code

PROJECT = Path(__file__).resolve().parent.parent.parent
FORM_ONLY = {Code.PASSWORD_UNCHANGED}


def values_by_code():
    """The names of the values that the services give with each code."""
    names = {}
    for path in sorted((PROJECT / "services").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "problem":
                for code in ast.walk(node.args[0]):
                    if isinstance(code, ast.Attribute):
                        names.setdefault(code.attr, []).append({word.arg for word in node.keywords})
    return names


def texts_of(path):
    """The texts in a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    own = [
        node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    docstrings = {id(node.value) for node in own}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("room", ["services", "protocol"])
def test_rules_know_no_command_and_no_option(room):
    texts = [text for path in sorted((PROJECT / room).glob("*.py")) for text in texts_of(path)]
    assert len(texts) > 100
    assert [text for text in texts if "`flask " in text or " --" in f" {text}"] == []


def fields(text):
    return {name for _text, name, _format, _conversion in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("code", [code for code in Code if code not in FORM_ONLY], ids=str)
def test_an_operator_is_told_each_problem_in_words(code):
    assert commands.problem_texts.TEXTS[code]


@pytest.mark.thorough
@pytest.mark.parametrize("code", Code, ids=str)
def test_a_sentence_uses_the_values_of_its_code_and_no_others(code):
    texts = [commands.problem_texts.TEXTS.get(code, ""), pages.problem_texts.TEXTS.get(code, ("", ""))[1]]
    wanted = set().union(*map(fields, texts))
    given = values_by_code().get(code.name, [])
    assert all(wanted <= names for names in given)


def test_a_list_is_told_with_commas_and_an_instant_as_a_date():
    text_of = commands.problem_texts.problem_text
    found = Problem(Code.UNKNOWN_AUTH_METHOD, {"method": "x", "supported": ["a", "b"]}, "clients[0]")
    assert text_of(found) == "clients[0]: unknown auth method 'x': use one of a, b"
    two = Problem(Code.TWO_SECRETS_ALREADY, {"client_id": "c", "ends_at": 0})
    assert "until 1970-01-01T00:00:00Z: end it" in text_of(two)


def test_what_a_form_shows_stands_at_the_field_that_it_is_about():
    found = [Problem(Code.INVALID_EMAIL, {"email": "x"}), Problem(Code.PASSWORD_TOO_SHORT, {"minimum": 12})]
    assert pages.problem_texts.by_field(found) == {
        "email": "This does not look like an email address.",
        "password": "Use at least 12 characters.",
    }
