"""Crash points need strace: skipped in one line without it, required where live tests are."""

from __future__ import annotations

import os

import pytest

from tests.crash import tracing


@pytest.fixture(scope="session")
def strace() -> str:
    found = tracing.strace()
    if found is None:
        why = "strace is not there, or may not trace: apt-get install strace"
        if os.environ.get("JOBTREE_LIVE") == "required":
            pytest.fail(f"JOBTREE_LIVE=required, but {why}")
        pytest.skip(why)
    return found
