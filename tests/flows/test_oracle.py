"""Ostiary beside an oracle: what is sent to both has the same outcome, or `docs/oracle.md` says why it has
not.

A difference that is not written down fails, and so does one that is written down and is none any more, or
another one. The oracle is npm's oidc-provider, configured as Ostiary is and with the same clients; without
Node it is skipped (`judges.py`).
"""

import re
from dataclasses import dataclass

import pytest

from tests.flows.oracle import EQUAL_SETTINGS, Side, oracle, outcome, register
from tests.flows.oracle_requests import REQUESTS
from tests.live import PROJECT, live_server, new_database

pytestmark = pytest.mark.long

DOCUMENT = PROJECT / "docs/oracle.md"
SECTION = re.compile(
    r"RFC \d+ §|OpenID Connect [\w-]+(?: [\w-]+)* §|(?:Form Post|Multiple Response) [\w ]+ §|OAuth 2\.1 §"
)
FEWEST_REQUESTS = 300


@dataclass(frozen=True)
class Decision:
    """A row of the document, and the words above its table."""

    request: str
    ostiary: str
    other: str
    reason: str


def read_decisions(text):
    """The rows of all tables, each with the prose between its heading and its table."""
    for section in text.split("\n## ")[1:]:
        _title, *lines = section.splitlines()
        prose = " ".join(line for line in lines if line and not line.startswith("|"))
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")
        ]
        for request, ours, theirs in rows[2:]:  # below the two lines of the head
            yield Decision(request, ours, theirs, prose)


DECISIONS = list(read_decisions(DOCUMENT.read_text()))
BY_REQUEST = {decision.request: decision for decision in DECISIONS}


@pytest.fixture(scope="module")
def sides(node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle")
    with live_server(new_database("sqlite", folder, None), folder, **EQUAL_SETTINGS) as server:
        clients = register(server)
        with oracle(node, clients, folder) as issuer:
            sides = [Side(server.issuer, clients), Side(issuer, clients)]
            yield sides
            for side in sides:
                side.close()
        assert "Traceback" not in server.log()
        assert "bug:" not in server.log()


@pytest.mark.parametrize("request_name", REQUESTS)
def test_both_say_the_same_or_it_is_written_why_not(sides, request_name):
    ours, theirs = (outcome(side, REQUESTS[request_name](side)) for side in sides)
    decision = BY_REQUEST.get(request_name)
    if decision is None:
        assert ours == theirs, f"not in docs/oracle.md: | {request_name} | {ours} | {theirs} |"
    else:
        assert ours != theirs, "docs/oracle.md lists a difference that there is no more"
        assert (ours, theirs) == (decision.ostiary, decision.other)


def test_there_are_enough_requests():
    assert len(REQUESTS) >= FEWEST_REQUESTS


def test_each_decision_is_about_one_request_and_names_a_section():
    assert len(BY_REQUEST) == len(DECISIONS)
    assert BY_REQUEST.keys() - REQUESTS.keys() == set()
    assert [decision.request for decision in DECISIONS if not SECTION.search(decision.reason)] == []


def test_rows_are_read_with_their_reason():
    text = (
        "# Title\n\nWords.\n\n## One\n\nWhy (RFC 1 §2).\n\n| a | b | c |\n| - | - | - |\n| x | 400 | 200 |\n"
    )
    assert list(read_decisions(text)) == [Decision("x", "400", "200", "Why (RFC 1 §2).")]
