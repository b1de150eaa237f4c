"""The workloads for parsl: python parsl_peer.py WORKLOAD N htex|thread. Nothing is checkpointed."""

import sys

import parsl
from parsl import bash_app, python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.providers import LocalProvider

workload, n, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]


@python_app
def noop(*after):
    return 0


@bash_app
def true(*after):
    return "true"


def executor():
    if kind == "thread":
        return ThreadPoolExecutor(label="t", max_threads=2)
    return HighThroughputExecutor(
        label="h",
        max_workers_per_node=2,
        cores_per_worker=1,
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        encrypted=False,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )


def submit():
    app = true if workload == "commands" else noop
    found = []
    for i in range(n):
        if not i or workload in ("targets", "commands"):
            found.append(app())
        else:
            found.append(app(found[(i - 1) // 2 if workload == "tree" else i - 1]))
    return found


if __name__ == "__main__":
    parsl.load(Config(executors=[executor()], run_dir="runinfo", strategy="none"))
    for future in submit():
        future.result()
    parsl.dfk().cleanup()
