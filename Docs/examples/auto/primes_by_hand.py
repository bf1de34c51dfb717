"""primes_by_hand.py [LAST]: the same program, which saves its own state with pickle when it is interrupted."""
import os
import pickle
import signal
import sys
import time

last = int(sys.argv[1]) if len(sys.argv) > 1 else 300000
state_file = f"primes-{last}.state"
state = {"next": 2, "found": []}
if os.path.exists(state_file):
    with open(state_file, "rb") as file:
        state = pickle.load(file)

interrupted = False


def interrupt(number, frame):
    global interrupted
    interrupted = True


for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, interrupt)


def save():
    with open(state_file + ".new", "wb") as file:
        pickle.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(state_file + ".new", state_file)


found = state["found"]
spoken = time.monotonic()
for number in range(state["next"], last + 1):
    if interrupted:
        state["next"] = number
        save()
        sys.exit(85)
    if all(number % prime for prime in found if prime * prime <= number):
        found.append(number)
    if time.monotonic() - spoken >= 1:
        spoken = time.monotonic()
        print(f"{len(found)} primes up to {number}", flush=True)
print(f"there are {len(found)} primes up to {last}")
if os.path.exists(state_file):
    os.remove(state_file)
