"""A running time.sleep: it ends neither early nor with an exception."""
import os
import time

seconds = 1.5 * float(os.environ.get("SCALE", "1"))
print("START", flush=True)
before = time.time()
time.sleep(seconds)
took = time.time() - before
print("RESULT slept" if took >= seconds - 0.01 else f"FAIL slept {took} s instead of {seconds}")
