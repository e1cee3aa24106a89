"""Find and re-encrypt what the database holds encrypted under the secret key.

That is signing keys, and the secrets of clients that sign with them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import store.clients
import store.signing_keys
from crypto.encryption import Cipher
from protocol import clock
from services import clients
from services.current import keyring

State = Literal["current", "old", "unreadable"]


@dataclass(frozen=True)
class EncryptedValue:
    """A value as it is stored."""

    kind: Literal["signing key", "client secret"]
    label: str  # the row that it is encrypted for
    content: bytes
    cipher: Cipher
    put: Callable[[bytes], None]  # stores another one in its place

    @property
    def state(self) -> State:
        """Return whether the present secret key decrypts it, or an old one, or none that is known."""
        if self.cipher.is_current(self.content, self.label):
            return "current"
        return "unreadable" if self.cipher.decrypt(self.content, self.label) is None else "old"

    def reencrypt(self) -> None:
        """Store it encrypted under the present secret key."""
        content = self.cipher.decrypt(self.content, self.label)
        assert content is not None  # noqa: S101 - its state says so
        self.put(self.cipher.encrypt(content, self.label))


def find_all() -> Iterator[EncryptedValue]:
    """Return everything that is encrypted under the secret key."""
    for row in store.signing_keys.all_keys():
        put_key = partial(store.signing_keys.set_sealed_private_key, row.kid)
        yield EncryptedValue("signing key", row.kid, row.sealed_private_key, keyring.cipher, put_key)
    of_client = partial(EncryptedValue, "client secret", cipher=keyring.client_secrets)
    for client in store.clients.all_by_name():
        if client.sealed_client_secret is not None:
            put = partial(setattr, client, "sealed_client_secret")
            yield of_client(client.client_id, client.sealed_client_secret, put=put)
        for secret in client.live_secrets(clock.now()):
            if secret.ends_at is not None and secret.sealed is not None:
                put = partial(setattr, client, "sealed_previous_secret")
                yield of_client(client.client_id, secret.sealed, put=put)


def lock_clients() -> None:
    """Lock the clients before a change: a secret that is renewed meanwhile must not be overwritten."""
    client_ids = [
        client.client_id for client in store.clients.all_by_name() if client.sealed_client_secret is not None
    ]
    for client_id in sorted(client_ids):
        clients.find_and_lock(client_id)


def reencrypt_old() -> tuple[list[EncryptedValue], list[EncryptedValue]]:
    """Re-encrypt what is encrypted under an old secret key; return that, and what no known key decrypts."""
    lock_clients()
    old, unreadable = find_not_current()
    for value in old:
        value.reencrypt()
    return old, unreadable


def find_not_current() -> tuple[list[EncryptedValue], list[EncryptedValue]]:
    """Return what is encrypted under an old secret key, and what no known key decrypts."""
    values = [(value, value.state) for value in find_all()]
    old = [value for value, state in values if state == "old"]
    return old, [value for value, state in values if state == "unreadable"]
