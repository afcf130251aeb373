"""Finds the primes up to a limit with the sieve of Eratosthenes: work for one core.

    axion run examples/scripts/primes.py -p limit=10000000

Needs one byte of memory for each number up to the limit.
"""

import itertools

HIGHEST = 1000000000


def main(params, context):
    limit = params.get("limit")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit <= HIGHEST:
        raise ValueError("limit must be a whole number from 0 to %d, got %r" % (HIGHEST, limit))

    sieve = bytearray([1]) * (limit + 1)
    sieve[:2] = bytes(min(2, limit + 1))  # 0 and 1 are not primes
    number = 2
    while number * number <= limit:
        if sieve[number]:
            # Smaller multiples have a smaller factor and are crossed out already.
            sieve[number * number :: number] = bytes(len(range(number * number, limit + 1, number)))
        number += 1
    return {
        "count": sum(sieve),
        "largest": sieve.rfind(1) if any(sieve) else None,
        "sum": sum(itertools.compress(range(limit + 1), sieve)),
    }
