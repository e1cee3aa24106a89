"""RSA keys that Infineon's library made before 2017: their primes can be found from the public key (ROCA,
CVE-2017-15361).

Enters: a modulus. Leaves: whether it has the fingerprint. Each of its primes was made as k·M + (65537^a mod
M), M being the product of the first primes, at least of those up to 167. So the modulus is a power of 65537
modulo each of them, which of other moduli not one in a thousand million is. Nemec, Sys, Svenda, Klinec,
Matyas: The Return of Coppersmith's Attack, CCS 2017, §2.2 and §2.3.
"""

GENERATOR = 65537
LARGEST_PRIME = 167


def primes_up_to(largest: int) -> list[int]:
    return [
        n for n in range(3, largest + 1, 2) if all(n % divisor for divisor in range(3, int(n**0.5) + 1, 2))
    ]


def powers(prime: int) -> frozenset[int]:
    """The subgroup that the generator makes: all that it can be modulo this prime."""
    return frozenset(pow(GENERATOR, exponent, prime) for exponent in range(prime - 1))


SUBGROUPS = {prime: powers(prime) for prime in primes_up_to(LARGEST_PRIME)}


def has_fingerprint(modulus: int) -> bool:
    return all(modulus % prime in subgroup for prime, subgroup in SUBGROUPS.items())
