"""A multiprocessing pool whose results come in order, and a child that is talked to through pipes."""

import multiprocessing
import os
import subprocess

ROUNDS = int(60 * float(os.environ.get("SCALE", "1")))


def work(number):
    total = number
    for _ in range(4000):
        total = (total * 48271 + 11) % 2147483647
    return total


def main():
    with multiprocessing.Pool(3) as pool, subprocess.Popen(
            ["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as cat:
        print("START", flush=True)
        total = 0
        for number in range(ROUNDS):
            for value in pool.imap(work, range(number * 8, number * 8 + 8)):
                cat.stdin.write(f"{value}\n")
                if cat.stdout.readline() != f"{value}\n":
                    print("FAIL the echo is wrong", flush=True)
                total = (total * 31 + value) % 1000000007
        cat.stdin.close()
    print("RESULT", ROUNDS, total, flush=True)


if __name__ == "__main__":
    main()
