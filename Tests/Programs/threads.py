"""Threads with a queue and locks."""
import os
import queue
import threading

scale = float(os.environ.get("SCALE", "1"))
jobs, results = queue.Queue(50), queue.Queue()


def work():
    while True:
        job = jobs.get()
        if job is None:
            return
        state = job + 1
        for _ in range(300):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        results.put(state)


threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
print("START", flush=True)
count = int(20000 * scale)
for job in range(count):
    jobs.put(job)
for thread in threads:
    jobs.put(None)
for thread in threads:
    thread.join()
print("RESULT", results.qsize(), sum(results.get() for _ in range(count)) % 2**64)
