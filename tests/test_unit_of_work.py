"""One request, one transaction: what is committed, what is undone, what is run again, and what outlives a
refusal.
"""

import sqlite3

import pytest
from flask import abort, flash, g, get_flashed_messages, session
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import store.clients
from commands.output import CommandGroup, Result
from errors import StorageBusyError
from models import Scope, db
from tests.builders import ISSUER, a_client
from tests.statements import select, text
from unit_of_work import (
    ATTEMPTS,
    after_commit,
    after_rollback,
    mark_rollback,
    run_in_app,
    run_outside_transaction,
    transaction,
)

NAMES = select(Scope.name).order_by(Scope.name)


def busy():
    original = sqlite3.OperationalError("database is locked")
    original.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("COMMIT", {}, original)


def cut():
    """A connection that died: nobody knows whether the COMMIT arrived."""
    error = OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))
    error.connection_invalidated = True
    return error


def add(name):
    db.session.add(Scope(name=name, description=name))
    db.session.flush()


@pytest.fixture
def names(rows):
    """The scopes that were stored by a test's views."""
    return lambda: [name for (name,) in rows(NAMES) if name not in ("openid", "profile", "email", "read")]


@pytest.fixture
def fail_commits(app):
    """Let the next COMMITs fail with these errors, in turn."""

    def fail_commits(*errors):
        waiting = list(errors)

        def fail(connection):
            if waiting:
                raise waiting.pop(0)

        with app.app_context():
            event.listen(db.engine, "commit", fail)

    return fail_commits


def view(app, function, path="/api/view"):
    app.add_url_rule(path, path, function)
    return path


def test_a_success_commits(app, http, names):
    path = view(app, lambda: (add("a"), "ok")[1])
    assert http.get(path).status_code == 200
    assert names() == ["a"]


def test_a_view_that_asks_nothing_has_no_session_of_the_database(app, http):
    found = []
    app.after_request(lambda response: (found.append(db.session.registry.has()), response)[1])
    paths = view(app, lambda: "ok"), view(app, lambda: (add("a"), "ok")[1], "/api/other")
    for path in paths:
        assert http.get(path).status_code == 200
    assert found == [False, True]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_refusal_rolls_back(app, http, names, status):
    path = view(app, lambda: (add("a"), ("no", status))[1])
    assert http.get(path).status_code == status
    assert names() == []


def test_a_refusal_that_is_raised_rolls_back_and_its_penalty_stays(app, http, names):
    def raising():
        add("a")
        after_rollback(add, "penalty")
        abort(429)

    assert http.get(view(app, raising)).status_code == 429
    assert names() == ["penalty"]


def test_a_refusal_that_leaves_as_a_redirect_rolls_back(app, http, names):
    def redirecting():
        add("a")
        after_rollback(add, "penalty")
        mark_rollback()
        return "", 303

    assert http.get(view(app, redirecting)).status_code == 303
    assert names() == ["penalty"]


def test_a_success_has_no_penalty(app, http, names):
    path = view(app, lambda: (after_rollback(add, "penalty"), "ok")[1])
    assert http.get(path).status_code == 200
    assert names() == []


def test_what_takes_long_comes_between_two_transactions(app, http, names, statements):
    """The first is undone whole, session and penalties too; the second knows what came of it, and does all
    there is to do.
    """
    seen = []

    def wait():
        seen.append((statements[-1], db.session().in_transaction(), names()))
        return len(seen)

    def waiting():
        seen.append(dict(session))
        session["a"] = 1
        add("a")
        after_rollback(add, "penalty")
        found = [run_outside_transaction(name, wait) for name in ("first", "second")]
        return {"found": found}

    statements.clear()
    answer = http.get(view(app, waiting, "/view"))
    assert answer.json == {"found": [2, 4]}
    assert seen == [{}, ("ROLLBACK", False, []), {}, ("ROLLBACK", False, []), {}]
    assert names() == ["a"]
    assert statements.count("COMMIT") == 1


def test_a_lost_race_does_not_wait_again(app, http, fail_commits, names):
    waits = []

    def waiting():
        add("a")
        return {"found": run_outside_transaction("it", lambda: waits.append(1) or "done")}

    path = view(app, waiting)
    fail_commits(busy())
    assert http.get(path).json == {"found": "done"}
    assert waits == [1]
    assert names() == ["a"]


def test_a_view_that_never_has_enough_is_a_bug(app, http):
    assert http.get(view(app, lambda: [run_outside_transaction(object(), lambda: None)])).status_code == 500


def test_the_next_try_reads_anew_what_was_removed_meanwhile(app, http, seed, monkeypatch):
    """Somebody may still hold on to the row of the first try: a frame of the error's trace, for one."""
    seed(a_client())
    held = []

    def find_twice():
        held.append(store.clients.find("web"))
        if len(held) == 1:
            raise busy()
        return {"found": held[-1] is not None}

    def remove_it(seconds):
        with app.app_context(), transaction():
            db.session.execute(text("DELETE FROM client"))

    monkeypatch.setattr("unit_of_work.time.sleep", remove_it)  # between the two tries
    assert http.get(view(app, find_twice)).json == {"found": False}


@pytest.mark.threat("T158")
def test_a_bug_rolls_back_and_tells_an_id_only(app, http, names, caplog):
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def buggy():
        add("a")
        raise ValueError("the secret input")

    answer = http.get(view(app, buggy))
    assert answer.status_code == 500
    assert answer.json["error"] == "server_error"
    assert answer.headers["Request-Id"] in answer.json["error_description"]
    assert "secret input" not in answer.text + caplog.text
    assert names() == []


def test_a_lost_race_runs_the_whole_view_again_from_a_clean_start(app, http, names, fail_commits):
    runs = []

    def racing():
        runs.append((dict(session), g.get("left"), get_flashed_messages()))
        g.left = "over"
        session["left"] = "over"
        flash("over")
        add("a")
        return "ok"

    path = view(app, racing, "/racing")
    fail_commits(busy(), busy())
    assert http.get(path).status_code == 200
    assert names() == ["a"]
    assert runs == [({}, None, [])] * 3


def test_a_race_lost_three_times_is_503(app, http, names, fail_commits):
    path = view(app, lambda: (add("a"), "ok")[1])
    fail_commits(busy(), busy(), busy())
    answer = http.get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.json["error"] == "temporarily_unavailable"
    assert names() == []


def test_a_penalty_that_loses_a_race_is_run_again_with_its_view(app, http, names, fail_commits):
    path = view(app, lambda: (after_rollback(add, "penalty"), abort(400)))
    fail_commits(busy())
    assert http.get(path).status_code == 400
    assert names() == ["penalty"]


@pytest.mark.parametrize("error", [cut, StorageBusyError, lambda: PoolTimeoutError("pool")])
def test_what_cannot_be_known_or_waited_for_is_503_at_once(app, http, error, fail_commits):
    runs = []

    def unlucky():
        runs.append(1)
        add("a")
        if error is not cut:
            raise error()
        return "ok"

    path = view(app, unlucky)
    fail_commits(cut())
    answer = http.get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert len(runs) == 1


def test_a_code_in_play_gets_no_retry_after(app, http, seed, fail_commits):
    """The first try may have spent the code: sending it again would count as its theft."""
    from tests.builders import a_client, a_code, a_user, basic, code_request

    seed(a_user(), a_client(), a_code("ost_ac_" + "c" * 43))
    fail_commits(cut())
    answer = http.post("/oauth/token", data=code_request("ost_ac_" + "c" * 43), auth=basic())
    assert answer.status_code == 503
    assert "Retry-After" not in answer.headers
    assert "Start the authorization again" in answer.json["error_description"]


def test_a_page_says_503_in_words(app, http, fail_commits):
    path = view(app, lambda: (add("a"), "ok")[1], "/page")
    fail_commits(cut())
    answer = http.get(path)
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "Try again in a few seconds" in answer.text


def test_a_command_is_one_transaction(app, names):
    with app.app_context():
        with transaction():
            add("kept")
        with pytest.raises(DBAPIError), transaction():
            add("undone")
            add("kept")  # its key is taken
        db.session.remove()
    assert names() == ["kept"]


# ---- one loop for requests, commands and deliveries --------------------------------------------------------


def as_request(app, work):
    app.add_url_rule("/api/work", "work", lambda: (work(), "ok")[1])
    return app.test_client().get("/api/work", base_url=ISSUER).status_code == 200


def as_command(app, work):
    group = CommandGroup("works")
    group.command("work")(lambda: (work(), Result({}))[1])
    app.cli.add_command(group)
    return app.test_cli_runner().invoke(args=["works", "work"]).exit_code == 0


def as_delivery(app, work):
    try:
        run_in_app(app, work)
    except DBAPIError:
        return False
    return True


@pytest.fixture
def pauses(monkeypatch):
    """How long was waited before each further try."""
    pauses = []
    monkeypatch.setattr("unit_of_work.time.sleep", pauses.append)
    return pauses


@pytest.fixture
def migrated(app):
    with app.app_context(), transaction():
        db.session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        db.session.execute(text("INSERT INTO alembic_version VALUES ('newest')"))


CALLERS = pytest.mark.parametrize("run", [as_request, as_command, as_delivery])


@CALLERS
def test_whoever_loses_a_race_waits_a_moment_and_tries_again(app, migrated, names, fail_commits, pauses, run):
    fail_commits(busy(), busy())
    assert run(app, lambda: add("a"))
    assert names() == ["a"]
    assert [0.005 <= pauses[0] <= 0.015, 0.01 <= pauses[1] <= 0.03] == [True, True]


@CALLERS
def test_whoever_loses_it_three_times_gives_up(app, migrated, names, fail_commits, pauses, run):
    fail_commits(busy(), busy(), busy())
    assert not run(app, lambda: add("a"))
    assert names() == []
    assert len(pauses) == ATTEMPTS - 1


@CALLERS
def test_a_connection_that_is_lost_before_commit_is_no_end(app, migrated, names, pauses, run):
    tries = []

    def work():
        tries.append(1)
        add("a")
        if len(tries) == 1:
            raise cut()

    assert run(app, work)
    assert names() == ["a"]


@CALLERS
def test_one_that_is_lost_during_commit_is_one(app, migrated, names, fail_commits, pauses, run):
    """The first try may be stored: the second would take its own work for another's."""
    fail_commits(cut())
    assert not run(app, lambda: add("a"))
    assert pauses == []


@CALLERS
def test_what_is_to_follow_a_commit_follows_the_one_that_came_about(app, migrated, fail_commits, pauses, run):
    done = []
    fail_commits(busy())
    assert run(app, lambda: (add("a"), after_commit(lambda: done.append(1))))
    assert done == [1]
