"""threads.py [LAST]: four threads count, each in its own way; once a second their numbers are printed."""
import sys
import threading
import time

last = int(sys.argv[1]) if len(sys.argv) > 1 else 0
counts = [0, 0, 0, 0]
turn = threading.Condition()
second = 0


def work(number):
    seen = 0
    while True:
        with turn:
            turn.wait_for(lambda: second > seen)
            seen += 1
            counts[number] += number + 1
            turn.notify_all()


for number in range(4):
    threading.Thread(target=work, args=(number,), daemon=True).start()
while last == 0 or second < last:
    with turn:
        second += 1
        turn.notify_all()
        turn.wait_for(lambda: counts == [second * step for step in (1, 2, 3, 4)])
        print(second, "the threads have counted to", *counts, flush=True)
    time.sleep(1)
