"""What tests of whole runs are given: a shell to type into, a workflow to write.

Owns fixtures that more than one module uses; must not check anything.
Read next: shells.py, flows.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.flows import Workflow
from tests.integration.shells import Shell


@pytest.fixture
def jobtree(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.end()


@pytest.fixture
def flow(tmp_path: Path) -> Workflow:
    return Workflow(tmp_path)
