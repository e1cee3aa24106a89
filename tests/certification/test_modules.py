"""The list of certification modules and the tests fit together: each has one test, in its own name, where the
document says.
"""

import pytest

from tests.certification.modules import (
    DOCUMENT,
    ROW,
    commands_in,
    find_all_problems,
    main,
    modules_by_plan,
    read_markers,
)
from tests.threats import Marker, read_entries, with_places

PLANS = {  # how many modules each has
    "oidcc-basic-certification-test-plan": 38,
    "oidcc-config-certification-test-plan": 1,
    "oidcc-rp-initiated-logout-certification-test-plan": 11,
    "oidcc-backchannel-rp-initiated-logout-certification-test-plan": 2,
}
LISTED = """
### Basic OP (`oidcc-basic-certification-test-plan`)

| module | what is sent | what must come | the suite | test |
| --- | --- | --- | --- | --- |
| oidcc-server | the plain flow | tokens | passes | certification/test_basic_op.py: `test_oidcc_server` |
| oidcc-max-age-1 | `max_age=1` | a page | passes | certification/test_basic_op.py: `test_oidcc_max_age_1` |
"""
MARKED = [
    Marker("oidcc-server", "certification/test_basic_op.py", "test_oidcc_server"),
    Marker("oidcc-max-age-1", "certification/test_basic_op.py", "test_oidcc_max_age_1"),
]


def test_every_module_is_mirrored_where_the_document_says():
    assert find_all_problems(DOCUMENT.read_text(), read_markers()) == []


def test_no_module_of_a_plan_is_missing():
    listed = modules_by_plan(DOCUMENT.read_text())
    assert {plan: len(modules) for plan, modules in listed.items()} == PLANS
    entries = read_entries(DOCUMENT.read_text(), ROW)
    assert [entry.identifier for entry in entries] == [
        module for modules in listed.values() for module in modules
    ]


def test_the_command_says_so(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "tests/certification/test_basic_op.py::test_oidcc_server\n" in printed
    assert "52 due, 52 with a test, 0 without; 0 wait." in printed


def test_what_fits_is_no_problem():
    assert find_all_problems(LISTED, MARKED) == []
    assert with_places(LISTED, MARKED, ROW) == LISTED


@pytest.mark.parametrize(
    ("listed", "marked", "words"),
    [
        (LISTED, MARKED[:-1], "oidcc-max-age-1 has no test"),
        (
            LISTED,
            [*MARKED, Marker("oidcc-ghost", "test_app.py", "test_oidcc_ghost")],
            "oidcc-ghost is not listed",
        ),
        (
            LISTED,
            [*MARKED, Marker("oidcc-server", "test_app.py", "test_oidcc_server")],
            "oidcc-server has 2 tests",
        ),
        (
            LISTED,
            [MARKED[0], Marker("oidcc-max-age-1", "test_app.py", "test_x")],
            "is not named after oidcc-max-age-1",
        ),
        (LISTED.replace("basic_op.py", "x.py"), MARKED, "oidcc-server names other places"),
        (LISTED.replace("oidcc-max-age-1 |", "oidcc-server |"), MARKED, "oidcc-server is listed 2 times"),
    ],
)
def test_what_does_not_fit_is_told(listed, marked, words):
    assert [problem for problem in find_all_problems(listed, marked) if words in problem]


def test_the_command_writes_the_places_and_fails_where_a_module_has_no_test(monkeypatch, tmp_path, capsys):
    document = tmp_path / "certification.md"
    document.write_text(LISTED.replace(": `test_oidcc_server`", ""))
    monkeypatch.setattr("tests.certification.modules.DOCUMENT", document)
    monkeypatch.setattr("tests.certification.modules.read_markers", lambda: MARKED)
    assert main(["--write"]) == 0
    assert document.read_text() == LISTED
    monkeypatch.setattr("tests.certification.modules.read_markers", lambda: MARKED[:-1])
    assert main([]) == 1
    assert "PROBLEM: oidcc-max-age-1 has no test" in capsys.readouterr().err


def test_commands_are_read_with_their_continued_lines():
    text = (
        "```bash\n.venv/bin/flask users add a \\\n  --json\n.venv/bin/flask clients add"
        " b\n```\nand `flask keys list`.\n"
    )
    assert commands_in(text) == [".venv/bin/flask users add a    --json", ".venv/bin/flask clients add b"]
