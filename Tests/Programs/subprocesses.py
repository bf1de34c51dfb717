"""subprocess: pipes both ways, pipelines, threads that run children, exit statuses, a child in a session of its own."""
import os
import subprocess
import sys
import threading

rounds = int(30 * float(os.environ.get("SCALE", "1")))
totals = [0, 0]


def converse(place):
    """A child that is spoken with line by line."""
    with subprocess.Popen(["/bin/sed", "-u", "s/^/1/"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          bufsize=1, start_new_session=place == 1) as child:
        for number in range(rounds * 20):
            print(number, file=child.stdin, flush=True)
            answer = child.stdout.readline().strip()
            if answer != f"1{number}":
                print("FAIL", place, number, repr(answer), flush=True)
                os._exit(1)
            totals[place] += int(answer)


print("START", flush=True)
threads = [threading.Thread(target=converse, args=(place,)) for place in (0, 1)]
for thread in threads:
    thread.start()
checked = 0
for number in range(rounds):
    first = subprocess.Popen(["/usr/bin/seq", "1", "3000"], stdout=subprocess.PIPE)
    second = subprocess.Popen(["/usr/bin/sort", "-rn"], stdin=first.stdout, stdout=subprocess.PIPE)
    first.stdout.close()
    lines = second.communicate(timeout=60)[0].split()
    status = subprocess.run(["/bin/sh", "-c", f"exit {number % 100}"], check=False).returncode
    checked += lines == [b"%d" % value for value in range(3000, 0, -1)] and status == number % 100 and first.wait() == 0
for thread in threads:
    thread.join()
print("RESULT", checked, *totals, flush=True)
sys.exit(checked != rounds)
