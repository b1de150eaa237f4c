"""What every test may lean on: no process left behind, and an honest word on live tests.

Must not import product code. Read next: CONTRIBUTING.md, "Tests".
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

LIVE_DIR = Path(__file__).parent / "live"
GRACE_S = 20.0


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


# ---- stray processes ---------------------------------------------------------------------


def _ancestors() -> set[int]:
    """Return this process and those it descends from."""
    family, pid = set(), os.getpid()
    while pid > 0:
        family.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
    return family


def _mentioning(path: Path) -> dict[int, str]:
    """Return pid -> command line of each process whose arguments, environment or cwd name path."""
    needle, found = os.fsencode(path), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):  # it ended meanwhile, or is not ours to look at
            cmdline = (entry / "cmdline").read_bytes()
            cwd = os.fsencode((entry / "cwd").readlink())
            if needle in cmdline + b"\0" + (entry / "environ").read_bytes() + b"\0" + cwd:
                found[int(entry.name)] = cmdline.replace(b"\0", b" ").decode(errors="replace")
    return found


@pytest.fixture
def no_stray_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if a process that mentions its tmp_path outlives it, and end that process.

    A variable of the environment makes each process mention it that inherits the test's own.
    """
    monkeypatch.setenv("JOBTREE_TEST_TMP_PATH", str(tmp_path))
    ours = _ancestors()
    yield
    deadline = time.monotonic() + GRACE_S
    while True:
        stray = {pid: line for pid, line in _mentioning(tmp_path).items() if pid not in ours}
        if not stray or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for pid in stray:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    lines = "".join(f"\n  {pid}: {line}" for pid, line in stray.items())
    assert not stray, f"processes outlived the test by {GRACE_S:g} s (killed now):{lines}"
