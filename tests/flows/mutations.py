"""Rules of the tokens, each as the lines that keep it and what breaks it: to show that the races notice when
one is gone.

`mutated_copy` writes a copy of the project to serve from. Each piece of old text must be in its file exactly
once: when the code has moved on, the mutation fails loudly instead of changing nothing.
"""

import shutil
from typing import NamedTuple

from tests.live import PROJECT

FOLDERS = (
    "authorization",
    "client_auth",
    "commands",
    "crypto",
    "database",
    "endpoints",
    "environment",
    "grants",
    "middleware",
    "migrations",
    "outbound",
    "pages",
    "protocol",
    "services",
    "static",
    "store",
    "templates",
    "testing",
    "tokens",
)


class Replacement(NamedTuple):
    file: str
    old: str
    new: str


NO_LOCK_ON_THE_PERSON = [
    Replacement("store/users.py", '"user_id"))\n    .with_for_update(key_share=True)', '"user_id"))'),
    Replacement("store/users.py", "joined.with_for_update(key_share=True, of=users)", "joined"),
]
CLAIM_OF_THE_CODE_IGNORED = [
    Replacement(
        "store/codes.py",
        '(CLAIM, {"digest": code_digest}).one_or_none() is not None',
        '(CLAIM, {"digest": code_digest}).one_or_none() is not CLAIM',
    ),
]
CLAIM_OF_THE_REFRESH_TOKEN_IGNORED = [
    Replacement(
        "my_oauth.py",
        "        if slot is not None:\n            return slot\n    family = ",
        "        return presented.family.slot if slot is None else slot\n    family = ",
    ),
]
# On SQLite what is claimed is read behind the lock, which orders the claims by itself.
NO_LOCK_AND_NO_CLAIM_OF_THE_CODE = NO_LOCK_ON_THE_PERSON + CLAIM_OF_THE_CODE_IGNORED
NO_LOCK_AND_NO_CLAIM_OF_THE_REFRESH_TOKEN = NO_LOCK_ON_THE_PERSON + CLAIM_OF_THE_REFRESH_TOKEN_IGNORED
NO_SLOT_IN_THE_KEY = [
    Replacement(
        "models.py",
        'unique("client_id", "user_id", "slot")',
        'unique("client_id", "user_id")',
    ),
    Replacement(
        "migrations/versions/0009_tenants.py",
        'unique("client_id, tenant_id, user_id, slot")',
        'unique("client_id, tenant_id, user_id")',
    ),
    Replacement(
        "migrations/versions/0001_first_tables.py",
        'sa.UniqueConstraint("client_id", "user_id", "slot", name',
        'sa.UniqueConstraint("client_id", "user_id", name',
    ),
]
TAG_NOT_CHECKED = [
    Replacement(
        "crypto/credentials.py",
        "return token if token is not None and self.has_valid_tag(token) else None",
        "return token",
    ),
]
PENALTIES_FORGOTTEN = [
    Replacement("unit_of_work.py", "            callback(*arguments)\n", "            pass\n"),
]
PENALTIES_ROLLED_BACK = [
    Replacement(
        "unit_of_work.py",
        "        db.session.rollback()\n"
        "        g.after_commit = []\n"
        "        for callback, arguments in g.after_rollback:\n"
        "            callback(*arguments)\n",
        "        for callback, arguments in g.after_rollback:\n"
        "            callback(*arguments)\n"
        "        db.session.rollback()\n",
    ),
]
NO_LOCK_IN_THE_PENALTY_OF_A_REPLAY = [
    Replacement(
        "grants/authorization_code.py",
        "    store.users.lock(user_id)\n    store.tokens.revoke_of_code(",
        "    store.tokens.revoke_of_code(",
    ),
]
NO_LOCK_IN_A_REVOCATION = [
    Replacement(
        "endpoints/revoke.py", "            store.users.lock(token.row.user_id)\n", "            pass\n"
    ),
]
NO_LOCK_IN_A_SIGN_OUT = [
    Replacement("services/sessions.py", "    store.users.lock(user_id)\n    known_to", "    known_to"),
]
NO_LOCK_WHEN_ACCESS_IS_REMOVED = [
    Replacement("services/consents.py", "    store.users.lock(user_id)\n    if", "    if"),
]
NO_LOCK_IN_THE_PENALTY_OF_A_THEFT = [
    Replacement(
        "my_oauth.py",
        "    store.users.lock(user_id)\n    store.tokens.revoke_family(",
        "    store.tokens.revoke_family(",
    ),
]
THEFT_WITHOUT_PENALTY = [
    Replacement(
        "my_oauth.py", "after_rollback(revoke_stolen_family, family.user_id, family.family_digest)", "pass"
    ),
]
PAIR_NOT_SEALED = [
    Replacement("my_oauth.py", "if not retry_window_of(client, settings).is_strict:", "if False:"),
]
FIRST_USE_BREAKS_THE_SEAL = [
    Replacement(
        "store/tokens.py", "case((tokens.c.issued_at > bindparam(", "case((tokens.c.issued_at < bindparam("
    ),
]
FIRST_USE_NOT_NOTED = [
    Replacement("tokens/bearer.py", "    store.tokens.mark_used(*arguments)\n", ""),
]


def mutated_copy(replacements, source):
    """Put what the server needs to run into the new folder `source`, with the replacements made;
    returns it.
    """
    source.mkdir()
    for file in PROJECT.glob("*.py"):
        shutil.copy2(file, source)
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for replacement in replacements:
        replace_once(source / replacement.file, replacement.old, replacement.new)
    return source


def replace_once(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has {text.count(old)} times: {old!r}"
    file.write_text(text.replace(old, new))
