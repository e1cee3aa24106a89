"""A test for weak RSA keys of Infineon's library of before 2017 (ROCA, CVE-2017-15361).

The primes of such a key can be computed from the public key. Each prime was made as k·M + (65537^a mod M), M
being the product of the first primes, at least of those up to 167. So the modulus is a power of 65537 modulo
each of those small primes. Of other moduli, less than one in a thousand million is. Nemec, Sys, Svenda,
Klinec, Matyas: The Return of Coppersmith's Attack, CCS 2017, §2.2 and §2.3.
"""

GENERATOR = 65537
LARGEST_PRIME = 167


def primes_up_to(largest: int) -> list[int]:
    """Return the odd primes up to a number."""
    return [
        n for n in range(3, largest + 1, 2) if all(n % divisor for divisor in range(3, int(n**0.5) + 1, 2))
    ]


def powers(prime: int) -> frozenset[int]:
    """Return all powers of the generator modulo a prime: the subgroup that it generates."""
    return frozenset(pow(GENERATOR, exponent, prime) for exponent in range(prime - 1))


SUBGROUPS = {prime: powers(prime) for prime in primes_up_to(LARGEST_PRIME)}


def has_fingerprint(modulus: int) -> bool:
    """Return whether an RSA modulus is one of such a weak key."""
    return all(modulus % prime in subgroup for prime, subgroup in SUBGROUPS.items())
