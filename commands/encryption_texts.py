"""What `flask keys rewrap` and `flask config check` say of values that are encrypted under the secret key."""

from collections import Counter
from collections.abc import Sequence

from commands.formatting import counted
from services.encrypted_values import EncryptedValue


def count_text(values: Sequence[EncryptedValue]) -> str:
    """Return `3 signing keys, 1 client secret`."""
    kinds = Counter(value.kind for value in values)
    return ", ".join(counted(number, kind) for kind, number in kinds.items())


def unreadable_text(values: Sequence[EncryptedValue]) -> str:
    """Return what an operator can do about values that no known secret key decrypts."""
    return (
        f"no known secret key decrypts {count_text(values)}: put the key of that time into"
        " OSTIARY_OLD_SECRET_KEYS. Without it, signing keys are replaced automatically, and a client secret"
        " by `flask clients rotate-secret`"
    )
