"""A line to the database that breaks during a request: before COMMIT nobody notices, at COMMIT the answer is
503, and never 500.

Each kind of request, at each of its statements. What was answered 200 is stored; what was answered 503 is
either wholly stored or not at all, and to send it again does no harm.
"""

import logging
import time
from itertools import count

import pytest

from crypto import credentials
from services.current import state_of
from tests.lines.proxy import COMMIT, Break
from tests.lines.scene import SERVED, WORKS, code_exchange, refresh, scene_on
from tests.live import new_database
from unit_of_work import ATTEMPTS

pytestmark = pytest.mark.long_on("mariadb")


@pytest.fixture(scope="module", params=SERVED)
def scene(request, tmp_path_factory, servers):
    with scene_on(new_database(request.param, tmp_path_factory.mktemp("lines"), servers)) as scene:
        yield scene


@pytest.fixture(params=WORKS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture(autouse=True)
def whole_line(scene):
    yield
    scene.proxy.forget_faults()
    scene.proxy.broken.clear()


@pytest.fixture
def lines(caplog):
    """What the log says, since the last `clear()`, of trouble."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("ostiary")]


def check_answered(scene, work, answer):
    """With the usual answer, and a token that is in it is stored and works."""
    assert answer.status_code == work.status
    token = (answer.is_json and answer.json.get("access_token")) or None
    if token:
        assert credentials.digest(token) in scene.tokens_of(work.client_id)
        assert scene.is_live(token)


def check_unavailable(kind, answer):
    assert answer.status_code == 503
    if kind is code_exchange:  # it may be spent: to send it again would count as its theft
        assert "Retry-After" not in answer.headers
        assert "Start the authorization again" in answer.json["error_description"]
    else:
        assert answer.headers["Retry-After"] == "2"


@pytest.mark.threat("T169")
@pytest.mark.parametrize("how", [Break.BEFORE, pytest.param(Break.AFTER, marks=pytest.mark.long)])
def test_before_commit_the_request_goes_on_over_another_line(scene, kind, how):
    for number in count(1):
        work = kind(scene)
        scene.proxy.break_next(how, number=number)
        answer = work.send()
        check_answered(scene, work, answer)
        if not scene.proxy.broken:
            break
        scene.proxy.broken.clear()
    assert number > 1


@pytest.mark.threat("T169")
def test_a_line_that_breaks_again_and_again_is_503(scene, kind, lines):
    work = kind(scene)
    before = scene.content()
    for _ in range(ATTEMPTS):
        scene.proxy.break_next(Break.BEFORE)
    check_unavailable(kind, work.send())
    assert scene.content() == before
    assert len(lines()) <= ATTEMPTS
    scene.proxy.forget_faults()
    check_answered(scene, work, work.send())


@pytest.mark.threat("T169")
def test_a_commit_that_never_arrives_leaves_everything_as_it_was(scene, kind, lines):
    work = kind(scene)
    before = scene.content()
    scene.proxy.break_next(Break.BEFORE, COMMIT)
    check_unavailable(kind, work.send())
    assert scene.proxy.broken == [COMMIT]
    assert scene.content() == before
    assert [line for line in lines() if "used again" not in line] == ["storage unavailable: OperationalError"]
    check_answered(scene, work, work.send())


@pytest.mark.threat("T169")
def test_a_commit_whose_answer_is_lost_is_not_run_again(scene, kind):
    work = kind(scene)
    before = scene.content()
    scene.proxy.break_next(Break.AFTER, COMMIT)
    check_unavailable(kind, work.send())
    assert scene.proxy.broken == [COMMIT]
    assert scene.content() != before
    again = work.send()
    if kind is code_exchange:  # spent
        assert again.status_code == 400
    else:  # the same form gets the answer that was lost
        check_answered(scene, work, again)


def test_a_refresh_whose_answer_was_lost_gets_the_pair_that_is_stored(scene):
    work = refresh(scene)
    scene.proxy.break_next(Break.AFTER, COMMIT)
    work.send()
    stored = scene.tokens_of(work.client_id)
    again = work.send()
    assert [credentials.digest(again.json["access_token"])] == stored == scene.tokens_of(work.client_id)


def test_a_code_whose_answer_was_lost_and_that_comes_again_leaves_no_token(scene):
    """It looks as a theft does. The client was not told to repeat it."""
    work = code_exchange(scene)
    scene.proxy.break_next(Break.AFTER, COMMIT)
    work.send()
    assert len(scene.tokens_of(work.client_id)) == 1
    assert work.send().json["error"] == "invalid_grant"
    assert scene.tokens_of(work.client_id) == []


def test_a_restart_of_the_database_costs_no_request(scene, kind):
    """The connections of the pool are all dead then."""
    work = kind(scene)
    scene.proxy.cut_all()
    check_answered(scene, work, work.send())


@pytest.mark.threat("T169")
def test_an_answer_that_takes_two_seconds_is_waited_for(scene):
    work = refresh(scene)
    scene.proxy.break_next(Break.STALL, COMMIT)
    check_answered(scene, work, work.send())
    assert scene.proxy.broken == [COMMIT]


def test_the_jwks_is_served_from_memory_while_others_may_keep_it(scene):
    """For no longer than that: a key that was taken out must be known nowhere any more then."""
    known = scene.http.get("/oauth/jwks")
    scene.proxy.refuse()
    answers = [jwks_read_before(scene, seconds) for seconds in (29, 31, 130, 325)]
    again = scene.http.get("/oauth/jwks")  # while nobody tries to read it
    late = jwks_read_before(scene, 331)
    scene.proxy.mend()
    assert [answer.json for answer in (*answers, again)] == [known.json] * 5
    ages = [answer.cache_control.max_age for answer in answers]
    assert ages == [pytest.approx(seconds, abs=2) for seconds in (300, 299, 200, 5)]
    assert (late.status_code, late.headers["Retry-After"]) == (503, "2")
    assert scene.http.get("/oauth/jwks").json == known.json


def jwks_read_before(scene, seconds):
    """The answer of a process that has read the keys so long ago."""
    keyring = state_of(scene.app).home.keyring
    keyring._snapshot = keyring._snapshot._replace(
        read_at=time.monotonic() - seconds, read_again_at=time.monotonic()
    )
    return scene.http.get("/oauth/jwks")
