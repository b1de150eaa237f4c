"""A inmemory scheduler in a world of its own, and what drives an adapter through it."""

from __future__ import annotations

import pytest

from tests.unit.commandline.inmemory import Drive, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def drive(world: World) -> Drive:
    return Drive(world)
