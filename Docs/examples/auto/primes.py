"""primes.py [LAST]: counts primes up to LAST (300000), slowly, and says how far it is once a second."""
import sys
import time

last = int(sys.argv[1]) if len(sys.argv) > 1 else 300000
found = []
spoken = time.monotonic()
for number in range(2, last + 1):
    if all(number % prime for prime in found if prime * prime <= number):
        found.append(number)
    if time.monotonic() - spoken >= 1:
        spoken = time.monotonic()
        print(f"{len(found)} primes up to {number}", flush=True)
print(f"there are {len(found)} primes up to {last}")
