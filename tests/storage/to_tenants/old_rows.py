"""Rows of each table as it was before tenants, stored with SQL: the models know the tables of today."""

import json

from models import db
from tests.statements import text
from unit_of_work import transaction


def digest(number):
    return number.to_bytes(32, "big")


def a_client(client_id):
    return {
        "client_id": client_id,
        "client_name": f"The client {client_id}",
        "client_id_issued_at": 1,
        "token_endpoint_auth_method": "none",
        "grant_types": json.dumps(["refresh_token"]),
        "redirect_uris": "[]",
        "scope": "email",
        "is_resource_server": False,
        "require_pkce": True,
        "rotate_refresh_tokens": True,
        "client_secret_number": 3,
        "previous_secret_digest": digest(9) if client_id == "web" else None,
        "extra_metadata": json.dumps({"contacts": ["ä@example.com"]}),
    }


def a_user(number):
    return {
        "id": number,
        "sub": f"sub-{number}",
        "email": f"user{number}@example.com",
        "name": "Ada",
        "is_admin": False,
        "created_at": number,
        "claims": "{}" if number % 2 else None,
    }


def a_session(number, user_id):
    return {
        "id": number,
        "session_digest": digest(number),
        "user_id": user_id,
        "created_at": number,
        "auth_time": number,
        "amr": "pwd",
        "expires_at": 2**40,
        "user_agent": "",
        "remote_addr": "",
        "is_kept": None,
    }


def a_notice(number, user_id):
    return {
        "id": number,
        "user_id": user_id,
        "client_id": "web",
        "sub": "s",
        "sid": f"sid-{number}",
        "created_at": 1,
        "next_attempt_at": 7 if user_id else None,
        "attempts": 0,
        "outcome": "",
    }


def a_token(number, client_id="web", user_id=None, slot=None):
    return {
        "id": number,
        "client_id": client_id,
        "user_id": user_id,
        "slot": slot,
        "scope": "email",
        "access_token_scope": "email",
        "access_token_digest": digest(number),
        "access_token_expires_at": number,
        "issued_at": number * 1_000_000,
        "family_digest": digest(number) if user_id else None,
        "openid": json.dumps({"nonce": "n"}) if user_id else None,
    }


def a_code(number, user_id):
    return {
        "code_digest": digest(number),
        "client_id": "web",
        "user_id": user_id,
        "redirect_uri": "https://app.example/",
        "scope": "",
        "auth_time": 1,
        "expires_at": number,
    }


# Some rows of each table, in the order of references. There are gaps between the numbers.
ROWS = {
    "client": [a_client("web"), a_client("mobile")],
    "end_user": [a_user(3), a_user(8), a_user(21)],
    "scope": [{"name": "notes", "description": "Read your notes"}],
    "signing_key": [
        {
            "kid": f"kid-{generation}",
            "alg": "RS256",
            "generation": generation,
            "public_jwk": "{}",
            "sealed_private_key": b"sealed",
            "created_at": 1,
            "active_from": generation,
        }
        for generation in (4, 5)
    ],
    "user_session": [a_session(5, 3), a_session(6, 8), a_session(30, 8)],
    "client_session": [
        {"sid": "sid-1", "session_id": 5, "client_id": "web", "created_at": 1},
        {"sid": "sid-2", "session_id": 30, "client_id": "mobile", "created_at": 2},
    ],
    "client_origin": [{"client_id": "web", "origin": "https://app.example"}],
    "client_secret_use": [{"client_id": "web", "number": number, "last_used_at": 5} for number in (2, 3)],
    "logout_notice": [a_notice(2, 3), a_notice(40, None)],
    "authorization_ticket": [
        {
            "ticket_digest": digest(number),
            "browser_digest": digest(1),
            "client_id": "web",
            "sealed_parameters": b"sealed",
            "expires_at": number,
            "requested_at": None,
        }
        for number in (1, 2)
    ],
    "form_answer": [{"form_digest": digest(1), "sealed_answer": b"\x00\xff", "expires_at": 1}],
    "consent": [
        {"user_id": 3, "client_id": "web", "scope": "email", "granted_at": 1},
        {"user_id": 8, "client_id": "mobile", "scope": "", "granted_at": 2},
    ],
    "authorization_code": [a_code(1, 3), a_code(2, 21)],
    "token": [a_token(7, user_id=3, slot=0), a_token(9, "mobile", 8, 4), a_token(11), a_token(50)],
    "throttle": [{"bucket_digest": digest(1), "expires_at": 1}],
    "spent_assertion": [{"jti_digest": digest(1), "expires_at": 1}],
}


def insert(table, rows):
    names = rows[0]
    values = ", ".join(f":{name}" for name in names)
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608 - our own names
    db.session.execute(text(statement), rows)


def execute(*statements):
    """Each in a transaction of its own."""
    for statement in statements:
        with transaction():
            db.session.execute(text(statement))


def fill(rows=ROWS):
    for table, those in rows.items():
        with transaction():
            for row in those:
                insert(table, [row])
            if "id" in those[0]:
                count_on(table)


def count_on(table):
    """PostgreSQL counts only what it numbers itself; the others go on behind the highest number."""
    if db.engine.dialect.name == "postgresql":
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        db.session.execute(text(f"SELECT setval({sequence}, max(id)) FROM {table}"))  # noqa: S608 - our own
