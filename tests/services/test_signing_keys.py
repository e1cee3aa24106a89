"""The keyring's own promises: it signs only with what the JWKS has, and no stranger makes it work."""

from sqlalchemy import func

from config import Settings
from crypto import jwt
from models import SigningKey
from services.current import state_of
from services.signing_keys import Keyring
from tests.builders import ISSUER, SECRET_KEY
from tests.statements import select
from unit_of_work import transaction

DAY = 24 * 3600


def sign(app, ring):
    with app.app_context(), transaction():
        return jwt.read_header(ring.sign({"iss": ISSUER}, "ES256"))["kid"]


def test_after_a_moment_with_another_secret_key_what_signs_is_published(app, http, sleep):
    """A key that nobody else opens any more has a successor; the one before it must not go on in secret."""
    url = state_of(app).settings.database_url
    ours, other = (
        Keyring(Settings(issuer=ISSUER, database_url=url, secret_key=key)) for key in (SECRET_KEY, "n" * 32)
    )
    sign(app, ours)
    sign(app, other)
    for _ in range(3):
        sleep(2 * DAY)
        kid = sign(app, Keyring(state_of(app).settings))
        assert kid in [key["kid"] for key in http.get("/oauth/jwks").json["keys"]]


def test_a_strangers_hint_makes_no_keys(app, http, rows, monkeypatch):
    made = []
    monkeypatch.setattr(Keyring, "make", lambda *arguments: made.append(arguments))
    for _ in range(3):
        assert http.get("/oauth/logout", query_string={"id_token_hint": "x.y.z"}).status_code == 400
    assert made == [] and rows(select(func.count()).select_from(SigningKey)) == [(0,)]


def test_what_is_remembered_of_a_key_goes_with_it(app, rows, sleep):
    """The private key, parsed, and when it was last seen in use: a process may live longer than many keys."""
    ring = Keyring(state_of(app).settings)
    for _ in range(12):
        with app.app_context(), transaction():
            ring.note_presentation(ring.sign({"iss": ISSUER}, "ES256"))
        sleep(50 * DAY)
    known = {kid for (kid,) in rows(select(SigningKey.kid))}
    with app.app_context():
        assert {row.kid for row in ring.known_rows()} == known
    assert {kid for kid, _ in ring._parsed} <= known and set(ring._noted_at) <= known
