"""How a case ends other than by success."""


class Failed(Exception):
    """What the case looks at is not as it must be."""


class Skipped(Exception):
    """The case cannot be run here; the reason is shown and counted."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def check_equal(found, expected, what):
    if found != expected:
        raise Failed(f"{what}: {found!r} instead of {expected!r}")
