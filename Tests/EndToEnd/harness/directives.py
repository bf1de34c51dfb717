"""The `// @word …` comments at the head of a workload."""

import shlex

RUNS = ("plain", "0", "resume1", "resume3", "restart1", "restart3", "abort1")
LISTS = {"flags", "arguments", "launch", "restart", "environment", "runs", "cases"}
WORDS = {"limit", "needs", "refused"}


class Directives:
    def __init__(self, path):
        self.values = {word: [] for word in LISTS}
        self.values.update({word: "" for word in WORDS})
        with open(path, encoding="utf-8") as file:
            for line in file:
                if not line.startswith("//"):
                    break
                text = line[2:].strip()
                if text.startswith("@"):
                    self.take(path, text[1:])
        unknown = [run for run in self.values["runs"] if run not in RUNS]
        if unknown:
            raise ValueError(f"{path}: @runs knows no {unknown[0]}, only {' '.join(RUNS)}")

    def take(self, path, text):
        word, _, rest = text.partition(" ")
        if word in LISTS:
            self.values[word] += shlex.split(rest)
        elif word in WORDS:
            self.values[word] = rest.strip()
        else:
            raise ValueError(f"{path}: unknown directive @{word}")

    def __getattr__(self, name):
        return self.values[name]

    def seconds(self):
        return float(self.limit or 30)

    def run_names(self):
        if self.refused:
            return ("plain", "0", "refused")
        return tuple(self.runs) or RUNS

    def variables(self):
        return dict(item.split("=", 1) for item in self.environment)
