"""Waiting for conditions, always with a limit."""

import time


class TimedOut(Exception):
    """A condition did not come true in time."""


def wait_for(condition, limit, what, interval=0.005):
    """Polls condition() until it is true and returns its value; raises TimedOut after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise TimedOut(f"{what}: not within {limit:g} s")
        time.sleep(interval)
