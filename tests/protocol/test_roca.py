"""Keys that can be computed from their public part (ROCA, CVE-2017-15361), and all the others."""

from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.roca import has_fingerprint
from tests.jose import roca_key

pytestmark = pytest.mark.thorough


def modulus(key):
    return key.raw_value.public_key().public_numbers().n


@pytest.mark.threat("T130")
@pytest.mark.parametrize("first", [39, 71, 126])
def test_keys_of_every_length_that_the_library_made(first):
    """The product of the first 39, 71 or 126 primes was taken for keys of 512, 1024 and 2048 bits
    and more.
    """
    assert has_fingerprint(modulus(roca_key(first=first)))


def test_ordinary_keys_have_no_fingerprint():
    """Each two of these primes make one."""
    keys = [rsa.generate_private_key(65537, 2048).private_numbers() for _key in range(11)]
    moduli = [p * q for p, q in combinations([prime for key in keys for prime in (key.p, key.q)], 2)]
    assert len(moduli) > 200
    assert not [modulus for modulus in moduli if has_fingerprint(modulus)]
