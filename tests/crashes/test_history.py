"""The checker of acknowledged histories finds what was planted, and nothing where all is well."""

import pytest

from tests.crashes.history import NO_ROW, History

CODE, FIRST, SECOND, THIRD = b"code", b"first", b"second", b"third"


def history(*acknowledged, in_doubt=()):
    told = History()
    for value in acknowledged:
        told.begin(value)
        told.acknowledge()
    for value in in_doubt:
        told.begin(value)
    return told


@pytest.mark.parametrize(
    ("told", "rows"),
    [
        (history(), []),
        (history(CODE), [CODE]),
        (history(CODE, FIRST), [FIRST]),
        (history(CODE, FIRST, NO_ROW), []),
        (history(CODE, in_doubt=[FIRST]), [CODE]),
        (history(CODE, in_doubt=[FIRST]), [FIRST]),
        (history(CODE, FIRST, in_doubt=[NO_ROW]), []),
        (history(CODE, FIRST, in_doubt=[NO_ROW]), [FIRST]),
        (history(CODE, NO_ROW, in_doubt=[SECOND, THIRD]), [SECOND]),
        (history(CODE, NO_ROW, in_doubt=[SECOND, THIRD]), []),
    ],
)
def test_what_may_be(told, rows):
    assert told.find_violation(rows) is None


@pytest.mark.parametrize(
    ("told", "rows", "words"),
    [
        (history(CODE), [], "neither"),
        (history(CODE, in_doubt=[FIRST]), [], "neither"),
        (history(CODE, FIRST), [CODE, FIRST], "both"),
        (history(CODE, in_doubt=[FIRST]), [CODE, FIRST], "both"),
        (history(CODE, FIRST), [CODE], "undone"),
        (history(CODE, FIRST, NO_ROW), [FIRST], "undone"),  # a revocation
        (history(CODE, FIRST, in_doubt=[SECOND]), [CODE], "undone"),
        (history(CODE), [THIRD], "nobody wrote"),
        (history(), [CODE], "nobody wrote"),
    ],
)
def test_what_may_not_be(told, rows, words):
    assert words in told.find_violation(rows)


def test_an_acknowledgement_settles_what_was_in_doubt():
    told = history(CODE, in_doubt=[FIRST, SECOND])
    told.acknowledge()
    assert told.find_violation([SECOND]) is None
    assert "undone" in told.find_violation([FIRST])


def test_a_write_that_is_sent_again_is_one_write():
    told = history(CODE, in_doubt=[FIRST, FIRST])
    told.acknowledge()
    assert told.find_violation([FIRST]) is None


def test_it_goes_on_from_what_was_found():
    told = history(CODE, in_doubt=[FIRST])
    assert told.settle([FIRST])
    assert told.find_violation([FIRST]) is None
    assert "undone" in told.find_violation([CODE])
    assert not told.settle([FIRST])
    assert "neither" in told.find_violation([])
