"""Cases: named functions that get a folder of their own."""

import dataclasses
import typing


@dataclasses.dataclass
class Case:
    name: str  # suite.name
    run: typing.Callable  # called with the case's folder
    limit: float  # seconds, after which everything it started is killed
    needs: str = ""  # "root", "user" or ""
    alone: bool = False  # no other case runs at the same time


class Suite:
    """A named list of cases; a module of tests makes one as `suite`."""

    def __init__(self, name):
        self.name = name
        self.cases = []

    def case(self, limit=60, needs="", alone=False, name=None):
        """Decorator: the function becomes a case of that name."""

        def add(function):
            self.add(name or function.__name__, function, limit, needs, alone)
            return function

        return add

    def add(self, name, function, limit=60, needs="", alone=False):
        self.cases.append(Case(f"{self.name}.{name}", function, limit, needs, alone))
