"""Run by startup.py: a tree of N jobs, one batch job each, one at a time. python probe.py DIR N.

Prints the CPU that each worker had used at its first Target's first line, and the time from the
end of each Target to the submission of the next.
"""

import json
import os
import sys
import time

from jobtree import Stack, Target


class Probe(Target):
    """Needs memory that no other does, so that nothing is packed or run in a chain with it."""

    def __init__(self, number, notes):
        super().__init__(memory=(10 + number) * 2**20)
        self.notes = notes

    def run(self):
        cpu_s = time.process_time()
        with open(self.notes, "a") as notes:
            notes.write(f"{1e3 * cpu_s} {time.time()}\n")


class Root(Target):
    def __init__(self, n, notes):
        super().__init__(memory=2**20)
        self.n, self.notes = n, notes

    def run(self):
        for number in range(self.n):
            self.addChildTarget(Probe(number, self.notes))


def main():
    from batchsystems.singlemachine.adapter import SingleMachine

    directory, n = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    submitted = []
    real = SingleMachine.issueJobs

    def issue_jobs(self, specs):
        submitted.append(time.time())
        return real(self, specs)

    SingleMachine.issueJobs = issue_jobs
    options = Stack.getDefaultOptions()
    options.jobTree, options.logLevel, options.maxJobs = directory, "ERROR", 1
    assert Stack(Root(n, f"{directory}.notes")).startJobTree(options) == 0
    with open(f"{directory}.notes") as notes:
        cpu_ms, ended = zip(*(map(float, line.split()) for line in notes), strict=True)
    reactions = []
    for end in ended:
        after = [at for at in submitted if at > end]
        if after:
            reactions.append(1e3 * (min(after) - end))
    print(json.dumps({"worker_cpu_ms": cpu_ms, "reaction_ms": reactions}))


if __name__ == "__main__":
    main()
