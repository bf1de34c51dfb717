"""A file being appended to, line by line."""
import os

scale = float(os.environ.get("SCALE", "1"))
state = 1
with open("appended.txt", "a", buffering=1, encoding="ascii") as file:
    print("START", flush=True)
    for number in range(int(4000 * scale)):
        for _ in range(1000):
            state = (state * 48271) % 2147483647
        file.write(f"{number} {state}\n")
with open("appended.txt", encoding="ascii") as file:
    lines = file.read().splitlines()
good = all(line.split()[0] == str(number) for number, line in enumerate(lines))
print("RESULT" if good else "FAIL out of order:", len(lines), lines[-1])
