"""Each refusal has one line in the log, with a reason from the closed list that the answer does not tell.
Watched in each test that asks an app of the fixture `app` for anything.
"""

import logging
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

from flask import g, request, request_finished

from services.event_log import REASONS, Event, log
from tests.generated.checks import AUTHORIZATION_ERRORS, TOKEN_ERRORS

REGISTERED = AUTHORIZATION_ERRORS | TOKEN_ERRORS
# "busy" and "disabled" are words of pages
UNTOLD = {reason for reason in REASONS if "_" in reason} - REGISTERED


class RefusalLines(logging.Handler):
    """Keeps `written`: the fields of each line about a refusal, since they were last taken."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.written = []
        self.reached = set()

    def emit(self, record):
        if record.fields["event"] == Event.REFUSED:
            self.written.append(record.fields)
            self.reached.add(record.fields["reason"])


@contextmanager
def one_line_a_refusal(app):
    """Yields the lines; at the end an assertion about every answer there was."""
    lines, problems = RefusalLines(), []

    def look_at(_app, response):
        written, lines.written = lines.written, []
        problems.extend(
            f"{request.method} {request.path}: {problem}" for problem in problems_of(response, written)
        )

    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        with request_finished.connected_to(look_at, app):
            yield lines
    finally:
        log.setLevel(level)
        log.removeHandler(lines)
    assert not problems, "\n".join(problems)


def problems_of(response, written):
    body = "" if response.is_streamed else response.get_data(as_text=True)
    if not is_refusal(response, body):
        return [f"a line about an answer that is none: {fields}" for fields in written]
    if len(written) != 1:
        return [f"{len(written)} lines for {response.status}"]
    [fields] = written
    reason = fields["reason"]
    found = [] if reason in REASONS else [f"the reason {reason}"]
    if reason == "invalid_request" and fields.get("error", reason) != reason:
        found.append(f"no better reason for {fields['error']}")
    if fields["status"] != response.status_code:
        found.append(f"status {fields['status']}")
    if reason in UNTOLD and reason in f"{response.headers}{body}":
        found.append(f"the answer tells {reason}")
    if "Number of this request" in body and g.request_id not in body:
        found.append("another number on the page")
    return found


def is_refusal(response, body):
    """Whether this answer refuses, or leads a browser to a client with an error."""
    if response.status_code >= 400:
        return True
    location = urlsplit(response.headers.get("Location", ""))
    return 'name="error"' in body or (location.scheme != "" and "error" in dict(parse_qsl(location.query)))
