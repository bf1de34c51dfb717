"""What a program prints, gathered while it runs."""

import fcntl
import os
import struct
import termios
import threading

from .waiting import wait_for


class Output:
    """Reads a pipe to its end in a thread of its own. Several incarnations of a program may add to one Output."""

    def __init__(self, name):
        self.name = name
        self._bytes = bytearray()
        self._lock = threading.Lock()
        self._threads = []

    def pipe(self):
        """Makes a pipe whose content is gathered, and returns its write end, which the caller closes."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._gather(reading)
        return writing

    def pseudo_terminal(self, columns=80):
        """The same with a terminal that nobody controls: returns its slave."""
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self._gather(master)
        return slave

    def _gather(self, reading):
        thread = threading.Thread(target=self._read, args=(reading,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _read(self, descriptor):
        while True:
            try:
                data = os.read(descriptor, 65536)
            except OSError:  # a terminal has no other end any more
                data = b""
            if not data:
                os.close(descriptor)
                return
            with self._lock:
                self._bytes += data

    def bytes(self):
        with self._lock:
            return bytes(self._bytes)

    def text(self):
        return self.bytes().decode("utf-8", errors="replace")

    def lines(self):
        """Whole lines only."""
        return self.text().split("\n")[:-1]

    def expect(self, predicate, limit, what, alive=lambda: True):
        """Waits for a line that fulfils predicate, and returns it. Ends early when alive() says that none can come."""

        def found():
            ended = not alive()
            for line in self.lines():
                if predicate(line):
                    return line
            if ended and not any(thread.is_alive() for thread in self._threads):
                raise EOFError(f"{what}: the program has ended; its {self.name}: {self.text()[-2000:]!r}")
            return None

        return wait_for(found, limit, f"{what} in {self.name} {self.text()[-300:]!r}")

    def drained(self, limit=10):
        """Waits until every writer has closed its end; returns all that was written."""
        wait_for(lambda: not any(thread.is_alive() for thread in self._threads), limit, f"the end of {self.name}")
        return self.text()
