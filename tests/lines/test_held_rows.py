"""Rows that have expired, and that somebody else holds: a request clears a few away as it goes, and waits for
none of them.
"""

import time
from contextlib import contextmanager

import pytest

from crypto import credentials
from models import AuthorizationCode, db
from protocol import clock
from store.sweep import BATCH
from tests.builders import a_code
from tests.lines.scene import SERVED, Scene, code_exchange, consent
from tests.lines.test_file import NoLine
from tests.live import new_database
from tests.statements import select

EXPIRED = 40
TRIES = 3  # of which a busy machine may spoil some


@pytest.fixture(scope="module", params=SERVED)
def scene(request, tmp_path_factory, servers):
    url = new_database(request.param, tmp_path_factory.mktemp("rows"), servers)
    scene = Scene(url, NoLine(url))
    yield scene
    scene.close()


def expired_codes(scene):
    with scene.behind.app_context():
        expired = select(AuthorizationCode.code_digest).where(AuthorizationCode.expires_at <= clock.now())
        return list(db.session.scalars(expired))


def store_expired_codes(scene):
    client_id, (user_id, _email) = scene.client(), scene.person()
    rows = {"client_id": client_id, "user_id": user_id, "expires_at": clock.now() - 1}
    scene.store(*(a_code(credentials.new_authorization_code(), **rows) for _ in range(EXPIRED)))


@contextmanager
def held(scene, codes):
    """Somebody has locked these rows."""
    with scene.behind.app_context():
        db.session.execute(
            select(AuthorizationCode).where(AuthorizationCode.code_digest.in_(codes)).with_for_update()
        ).all()
        yield
        db.session.rollback()


@pytest.mark.threat("T172")
def test_a_request_that_adds_a_code_clears_a_few_away(scene):
    store_expired_codes(scene)
    work = consent(scene)
    before = expired_codes(scene)
    assert work.send().status_code == 303
    assert len(before) - len(expired_codes(scene)) == BATCH


def seconds_of(works):
    """How long these requests take, which all succeed."""
    began = time.monotonic()
    assert [work.send().status_code for work in works] == [303, 200]
    return time.monotonic() - began


@pytest.mark.threat("T172")
def test_it_waits_for_none_that_somebody_else_holds(scene):
    store_expired_codes(scene)
    works = [[consent(scene), code_exchange(scene)] for _ in range(TRIES)]
    before = expired_codes(scene)
    with held(scene, before):
        assert any(seconds_of(both) < 1.5 for both in works)  # a lock is waited for 2 s, at each try
    assert expired_codes(scene) == before
