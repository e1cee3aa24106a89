"""What the database holds encrypted under the secret key: signing keys, and the secrets of clients that sign
with them.

Enters: nothing. Leaves: a `Box` for each, which tells whether the present key opens it and can be sealed
anew. `flask keys rewrap` and `flask config check` ask here.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import store.clients
import store.signing_keys
from commands.formatting import counted
from crypto.encryption import Cipher
from protocol import clock
from services.current import keyring


@dataclass(frozen=True)
class EncryptedValue:
    kind: str
    label: str  # the row that it is sealed for
    content: bytes
    cipher: Cipher
    put: Callable[[bytes], None]

    @property
    def state(self) -> str:
        """`current`, `old` or `unreadable`."""
        if self.cipher.is_current(self.content, self.label):
            return "current"
        return "unreadable" if self.cipher.decrypt(self.content, self.label) is None else "old"

    def seal_anew(self) -> None:
        opened = self.cipher.decrypt(self.content, self.label)
        assert opened is not None  # noqa: S101 - its state says so
        self.put(self.cipher.encrypt(opened, self.label))


def all_encrypted_values() -> Iterator[EncryptedValue]:
    for row in store.signing_keys.all_keys():
        put_key = partial(store.signing_keys.set_sealed_private_key, row.kid)
        yield EncryptedValue("signing key", row.kid, row.sealed_private_key, keyring.cipher, put_key)
    for client in store.clients.all_by_name():
        if client.sealed_client_secret is not None:
            put = partial(setattr, client, "sealed_client_secret")
            yield EncryptedValue(
                "client secret", client.client_id, client.sealed_client_secret, keyring.client_secrets, put
            )
        for secret in client.live_secrets(clock.now()):
            if secret.ends_at is not None and secret.sealed is not None:
                put = partial(setattr, client, "sealed_previous_secret")
                yield EncryptedValue(
                    "client secret", client.client_id, secret.sealed, keyring.client_secrets, put
                )


def lock_clients() -> None:
    """Before a change: a secret that is renewed meanwhile must not be overwritten by the one before."""
    sealed = [
        client.client_id for client in store.clients.all_by_name() if client.sealed_client_secret is not None
    ]
    for client_id in sorted(sealed):
        store.clients.lock(client_id)


def in_words(boxes: list[EncryptedValue]) -> str:
    """`3 signing keys, 1 client secret`."""
    return ", ".join(counted(number, kind) for kind, number in Counter(box.kind for box in boxes).items())


def unreadable_in_words(boxes: list[EncryptedValue]) -> str:
    return (
        f"no known secret key decrypts {in_words(boxes)}: put the key of that time into"
        " OSTIARY_OLD_SECRET_KEYS. Without it, signing keys are replaced automatically, and a client secret"
        " by `flask clients rotate-secret`"
    )
