"""The workloads for luigi: one output file a task. python luigi_peer.py WORKLOAD N WORKERS."""

import os
import subprocess
import sys

import luigi

workload, n, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.setrecursionlimit(10_000)


def parents(i):
    if not i or workload in ("targets", "commands"):
        return []
    return [(i - 1) // 2] if workload == "tree" else [i - 1]


class Task(luigi.Task):
    i = luigi.IntParameter()

    def requires(self):
        return [Task(parent) for parent in parents(self.i)]

    def output(self):
        return luigi.LocalTarget(f"o/{self.i}")

    def run(self):
        if workload == "commands":
            subprocess.run("true", shell=True, check=True)
        with self.output().open("w"):
            pass


class All(luigi.WrapperTask):
    def requires(self):
        return [Task(i) for i in range(n)]


if __name__ == "__main__":
    os.makedirs("o", exist_ok=True)
    done = luigi.build([All()], local_scheduler=True, workers=workers, log_level="ERROR")
    sys.exit(0 if done and len(os.listdir("o")) == n else 1)
