"""A random tree of directories whose leaves are counted by commands that fail once in ten.

    jobtree run --command "python randomtree.py down TOP JOB_FILE"

`down` grows a child for each directory below, `up` sums what they counted. A command fails after
its work, the JOB_FILE written: nothing of a failed one may count.
"""

from __future__ import annotations

import os
import random
import sys
from shlex import quote
from xml.etree import ElementTree as ET

FAILS = 0.1


def grow(top: str, rng: random.Random, depth: int, most: int) -> int:
    """Make a tree of about `most` directories at most; return how many of them are leaves."""
    places, made, leaves = [(top, depth)], 1, 0
    for place, left in places:  # grows as it goes
        os.mkdir(place)
        children = rng.randint(1, 9) if left and made < most else 0
        made += children
        leaves += not children
        places += [(f"{place}/{number}", left - 1) for number in range(children)]
    return leaves


def down(place: str, job_file: str) -> None:
    below = [entry.path for entry in os.scandir(place) if entry.is_dir()]
    if not below:
        leave(place, 1)
        return
    tree = ET.parse(job_file)
    job = tree.getroot()
    children = job.find("children")
    assert children is not None
    for directory in below:
        ET.SubElement(children, "child", command=command("down", directory))
    job.set("command", command("up", place))
    tree.write(job_file)


def up(place: str) -> None:
    counts = 0
    for entry in os.scandir(place):
        if entry.is_dir():
            with open(f"{entry.path}/count", encoding="ascii") as file:
                counts += int(file.read())
    leave(place, counts)


def leave(place: str, count: int) -> None:
    with open(f"{place}/count.{os.getpid()}", "w", encoding="ascii") as file:
        file.write(f"{count}\n")
    os.replace(file.name, f"{place}/count")


def command(step: str, place: str) -> str:
    words = [sys.executable, os.path.abspath(__file__), step, place]
    return " ".join(quote(word) for word in words) + " JOB_FILE"


if __name__ == "__main__":
    if sys.argv[1] == "down":
        down(sys.argv[2], sys.argv[3])
    else:
        up(sys.argv[2])
    if random.random() < FAILS:
        sys.exit(random.randint(1, 255))
