"""Steps of a plan as the real worker runs them: Targets, and commands with a JOB_FILE.

Owns the acting of what trees.py plans; must not judge it. Read next: test_worker_differential.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from jobtree import Target
from jobtree.core.job import Command, CommandKind, Requirements
from jobtree.mailbox import claims
from tests.simulation.trees import Step
from tests.simulation.worker import SIGNALS

NO_CLAIM = "no claim"
"""Stands among the words of fences for: the claim is removed."""

FENCE_SEEN_S = 0.12
"""The worker need not look at its fence more often than every 0.1 s."""


class Plan(NamedTuple):
    """What there is to act. home: for files of commands; fences: raised by the steps named."""

    steps: dict[int, Step]
    tree: str
    issue: str
    home: str
    fences: dict[int, str]

    def command(self, number: int) -> Command:
        """Return the shell command that acts a step, and write the file it grows the tree with."""
        step, text = self.steps[number], f": step {number}"
        if step.fails:
            text += f"; kill -{signal_of(step)} $$" if step.crashes else "; exit 1"
        elif grows(step):
            path = f"{self.home}/{number}.xml"
            children = "".join(f"<child {self._attributes(child)}/>" for child in step.children)
            follow_on = self._attributes(step.follow_on) if step.follow_on else ""
            Path(path).write_text(f"<job {follow_on}><children>{children}</children></job>")
            text += f"; cp {path} JOB_FILE"
        kind = CommandKind.PROTOCOL if "JOB_FILE" in text else CommandKind.SHELL
        needs = Requirements(step.asks_bytes, None, None, step.estimate_s)
        return Command(kind, "sh", text, needs)

    def _attributes(self, number: int) -> str:
        """Return the attributes by which a JOB_FILE asks for a command."""
        command = self.command(number)
        asked = {"memory": command.requirements.memory_bytes, "time": command.requirements.time_s}
        words = {"command": command.text} | {name: v for name, v in asked.items() if v is not None}
        if command.kind == CommandKind.SHELL:
            words["plain"] = "1"
        return " ".join(f"{name}={quoteattr(str(value))}" for name, value in words.items())


def grows(step: Step) -> bool:
    """Tell whether other steps come of this one."""
    return bool(step.children or step.follow_on)


def signal_of(step: Step) -> int:
    """Return the signal by which a step takes its process down."""
    return SIGNALS[step.number % len(SIGNALS)]


class Acted(Target):
    """A Target that does what the plan says of its step."""

    def __init__(self, plan: Plan, number: int) -> None:
        step = plan.steps[number]
        super().__init__(time=step.estimate_s, memory=step.asks_bytes)
        self.plan, self.number = plan, number

    def run(self) -> None:
        step = self.plan.steps[self.number]
        self._raise_fence()
        if step.directory:
            self.getGlobalTempDir()
        if step.publishes:
            made = Path(self.getAttemptDir()) / "made"
            made.touch()
            self.publish(made, f"{self.plan.home}/output {step.number}")
        if step.fails and step.crashes:
            os.kill(os.getpid(), signal_of(step))
        if step.fails:
            raise ValueError("it was to fail")
        for child in step.children:
            if self.plan.steps[child].is_target:
                self.addChildTarget(Acted(self.plan, child))
            else:
                command = self.plan.command(child)
                self.addChildCommand(command.text, step_time(command), command.requirements[0])
        if step.follow_on:
            self.setFollowOnTarget(Acted(self.plan, step.follow_on))

    def _raise_fence(self) -> None:
        """Have the master do meanwhile what it is to do during this step."""
        word = self.plan.fences.get(self.number)
        if word == NO_CLAIM:
            claims.remove_claim(self.plan.tree, self.plan.issue)
        elif word is not None:
            claims.write_fence(self.plan.tree, self.plan.issue, word)
        if word is not None:
            time.sleep(FENCE_SEEN_S)


def step_time(command: Command) -> float | None:
    """Return the time that a command asks for."""
    return command.requirements.time_s
