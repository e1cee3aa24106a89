"""Rows of two tenants with the same names, for `test_two_tenants.py` and `test_tenant_keys.py`."""

import store.clients
import store.form_answers
import store.spent_assertions
import store.throttles
import store.tickets
from crypto.credentials import digest
from models import ClientSecretUse, Consent, Scope, SigningKey, db
from protocol import clock
from protocol.throttle import Bucket
from tests.builders import (
    a_client_session,
    a_code,
    a_notice,
    a_public_client,
    a_session,
    a_token,
    a_user,
)

OTHER = 2
NOW = clock.now()
ORIGIN = "https://spa.example"
BUCKET = Bucket.of(1, 3600, "sign-in", "ada@example.com")
JTI = digest("jti")


def fill(tenant):
    """Store a user with everything. Numbers and random values tell the tenants apart, and nothing else."""
    web = {"client_id": "web", "redirect_uris": [f"{ORIGIN}/back"], "client_id_issued_at": NOW}
    rows = [
        a_user(id=tenant, created_at=NOW),
        Scope(name="read", description=f"Read at {tenant}"),
        a_session(tenant, user_id=tenant, last_seen_at=NOW - 7200),
        a_session(10 + tenant, user_id=tenant, expires_at=NOW - 1, device_digest=digest(f"device {tenant}")),
    ]
    store.clients.add(a_public_client(**web))
    for row in rows:
        db.session.add(row)
        db.session.flush()
    of_user = {"user_id": tenant}
    family = {"family_digest": digest(f"family {tenant}"), "refresh_token_digest": digest(f"rt {tenant}")}
    db.session.add_all(
        [
            a_client_session(f"sid {tenant}", session_id=tenant),
            a_notice(id=tenant, sid=f"sid {tenant}", **of_user),
            a_code(f"code {tenant}", sid=f"sid {tenant}", **of_user),
            Consent(client_id="web", scope="profile", granted_at=NOW, **of_user),
            ClientSecretUse(client_id="web", number=1, last_used_at=NOW - 7200),
            a_token(
                id=tenant,
                sid=f"sid {tenant}",
                scope="openid",
                access_token_digest=digest(f"at {tenant}"),
                code_digest=digest(f"spent code {tenant}"),
                **family,
                **of_user,
            ),
            a_token(
                id=10 + tenant,
                user_id=None,
                slot=None,
                access_token_digest=digest(f"own at {tenant}"),
                access_token_expires_at=NOW - 1,
            ),
            a_signing_key(f"kid {tenant}"),
        ]
    )
    db.session.flush()
    store.tickets.add(f"ticket {tenant}", digest("browser"), "web", {}, NOW)
    store.form_answers.add(f"form {tenant}", digest("browser"), {"status": 303}, NOW)
    store.throttles.count_failure([BUCKET], NOW)
    assert store.spent_assertions.spend(JTI, NOW + 60, NOW)


def a_signing_key(kid):
    return SigningKey(
        kid=kid,
        alg="RS256",
        generation=1,
        public_jwk={},
        sealed_private_key=b"sealed",
        created_at=NOW,
        active_from=NOW,
    )
