"""The threat list and the tests fit together: what is promised is proven, where the document says, and the
document has all.
"""

import pytest

from tests.threats import (
    DOCUMENT,
    Marker,
    all_markers,
    find_problems,
    main,
    read_entries,
    read_markers,
    report,
    with_places,
)

PLACED = "grants/test_codes.py: `test_a`, `test_b`<br>test_app.py: `test_c`"
DOCUMENTED = f"""
| identifier | what is sent | what must happen | section | proven by |
| --- | --- | --- | --- | --- |
| T001 | no client | a page | RFC 6749 §4.1.2.1 | {PLACED} |
| T002 | another | a page | RFC 6749 §4.1.2.1 | test_app.py: `Test::test_d` |

| identifier | why it waits |
| --- | --- |
| T003, T005–T007 | there is no such endpoint |
"""
MARKED = [
    Marker("T001", "test_app.py", "test_c"),
    Marker("T001", "grants/test_codes.py", "test_b"),
    Marker("T001", "grants/test_codes.py", "test_a"),
    Marker("T002", "test_app.py", "Test::test_d"),
]


def test_every_promise_is_proven_where_the_document_says():
    assert find_problems(DOCUMENT.read_text(), all_markers()) == []


def test_the_command_says_so(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "T001  " in printed
    assert "tests/pages/test_authorization_errors.py::test_a_page_and_no_redirect" in printed
    assert " 0 without; " in printed


def test_it_reads_all_of_the_document():
    assert len(read_entries(DOCUMENT.read_text())) >= 100


def test_what_fits_is_no_problem():
    assert find_problems(DOCUMENTED, MARKED) == []
    assert with_places(DOCUMENTED, MARKED) == DOCUMENTED


@pytest.mark.parametrize(
    ("document", "markers", "words"),
    [
        (DOCUMENTED, MARKED[:-1], "T002 has no test"),
        (DOCUMENTED, MARKED[1:], "T001 names other places"),
        (DOCUMENTED.replace("test_b", "test_x"), MARKED, "T001 names other places"),
        (DOCUMENTED.replace("grants/", "pages/"), MARKED, "T001 names other places"),
        (DOCUMENTED, [*MARKED, Marker("T004", "test_app.py", "test_c")], "T004 is not listed"),
        (DOCUMENTED, [*MARKED, Marker("T006", "test_app.py", "test_c")], "T006 is listed as waiting"),
        (
            DOCUMENTED,
            [*MARKED, Marker("T002", "test_app.py", "")],
            "T002 in tests/test_app.py is not on a test",
        ),
        (DOCUMENTED.replace("T003", "T002"), MARKED, "T002 is listed 2 times"),
    ],
)
def test_what_does_not_fit_is_told(document, markers, words):
    assert [problem for problem in find_problems(document, markers) if words in problem]


def test_the_command_fails_where_a_promise_has_no_test(monkeypatch, tmp_path, capsys):
    document = tmp_path / "threats.md"
    document.write_text(DOCUMENTED)
    monkeypatch.setattr("tests.threats.DOCUMENT", document)
    monkeypatch.setattr("tests.threats.all_markers", lambda: MARKED[:-1])
    assert main([]) == 1
    told = capsys.readouterr()
    assert "NO TEST" in told.out and "2 due, 1 with a test, 1 without; 4 wait." in told.out
    assert "PROBLEM: T002 has no test" in told.err


def test_the_command_writes_the_places(monkeypatch, tmp_path, capsys):
    document = tmp_path / "threats.md"
    document.write_text(DOCUMENTED.replace(PLACED, "?"))
    monkeypatch.setattr("tests.threats.DOCUMENT", document)
    monkeypatch.setattr("tests.threats.all_markers", lambda: MARKED)
    assert main(["--write"]) == 0
    assert document.read_text() == DOCUMENTED
    assert capsys.readouterr().err == ""


SOURCE = """
import pytest

@pytest.mark.parametrize("x", [1])
@pytest.mark.threat("T001", "T002")
@pytest.mark.threat("T003")
def test_one(x): ...

class TestMany:
    @pytest.mark.threat("T004")
    def test_two(self): ...

@pytest.mark.threat("T005")
def no_test(): ...

pytestmark = pytest.mark.threat("T006")
"""


def test_markers_are_read_from_functions_and_others_are_noticed():
    found = [(marker.identifier, marker.function) for marker in read_markers(SOURCE, "x.py")]
    assert sorted(found) == [
        ("T001", "test_one"),
        ("T002", "test_one"),
        ("T003", "test_one"),
        ("T004", "TestMany::test_two"),
        ("T005", ""),
        ("T006", ""),
    ]


def test_the_report_has_the_sentence_and_the_tests():
    told = report(DOCUMENTED, MARKED)
    assert "T001  no client: a page (RFC 6749 §4.1.2.1)\n      tests/grants/test_codes.py::test_a\n" in told
    assert told.endswith("2 due, 2 with a test, 0 without; 4 wait.")
