"""What every test may lean on: no process left behind, and an honest word on live tests.

Must not import product code. Read next: CONTRIBUTING.md, "Tests".
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("jobtree", deadline=None)  # machines are busy
hypothesis.settings.load_profile("jobtree")

pytest_plugins = ["batchsystems.conformance.plugin"]

LIVE_DIR = Path(__file__).parent / "live"


# ---- the site ----------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="session")
def _no_site_of_one_s_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the site files of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JOBTREE_SITE", raising=False)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("no-configuration")))
        yield


# ---- live tests --------------------------------------------------------------------------


def live_required() -> bool:
    """Tell whether the caller insists on live tests: JOBTREE_LIVE=required."""
    return os.environ.get("JOBTREE_LIVE") == "required"


def why_not_live() -> str | None:
    """Say what keeps real schedulers from starting here; None if nothing does."""
    if os.geteuid() != 0:
        return "live tests need root, to start real schedulers"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below tests/live as live."""
    for item in items:
        if item.path.is_relative_to(LIVE_DIR):
            item.add_marker(pytest.mark.live)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip live tests that cannot run, from this one place: one line for all of them."""
    if item.get_closest_marker("live") and (reason := why_not_live()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a live test's skip, whoever asked for it, into a failure where it is required."""
    report = yield
    if report.skipped and item.get_closest_marker("live") and live_required():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"JOBTREE_LIVE=required, but: {reason.removeprefix('Skipped: ')}"
    return report
