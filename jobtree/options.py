"""The options of every jobTree command line, each defined once.

Owns names, defaults and meanings; starts nothing. Read next: docs/options.md, printed from
here. An option not given on restart keeps the value the tree was last run with.
"""

import argparse
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from batchsystems.errors import SiteError
from batchsystems.site import Site
from batchsystems.site.fields import keys_of
from batchsystems.site.sections import HEARTBEAT_S, TreeSettings
from jobtree.core.job import Requirements
from jobtree.core.rescue import Policy
from jobtree.errors import UsageError
from jobtree.units import format_size, parse_size, parse_time

log = logging.getLogger("jobtree")

UNLIMITED = 2**62
LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")


class Option(NamedTuple):
    """One option of the command line."""

    name: str
    """what is typed, without the dashes"""
    default: Any
    """the value where it is not given, parsed already"""
    parse: Callable[[str], Any]
    """makes the value of what was typed; raises ValueError or UsageError"""
    metavar: str
    """what stands for the value in --help"""
    help: str
    """its meaning"""
    group: str
    """the heading under which --help has it"""
    flag: bool = False
    """it takes no value"""
    kept: bool = True
    """a restart that does not give it keeps the value the tree was last run with"""
    key: str = ""
    """the key of the site file that says what holds where it is not given"""


def _count(text: str, least: int = 0) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError("it must be a whole number") from None
    if value < least:
        raise ValueError(f"it must be at least {least}" if least else "it must not be negative")
    return value


def _positive(text: str) -> int:
    return _count(text, 1)


def _path(text: str) -> str:
    return os.path.abspath(os.path.expanduser(text)) if text else ""


def _level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"it must be one of {', '.join(LOG_LEVELS)}")
    return text.upper()


_TREE = "the tree"
_JOBS = "what jobs get"
_LIMITS = "how much at once"
_RESCUE = "failures and rescue"
_LOGS = "logs and figures"

_SITE = {key.name: key for key in keys_of(TreeSettings)}
_PARSE: Mapping[str, Callable[[str], Any]] = {
    "time": parse_time, "size": parse_size, "text": str,
    "number": _count, "number, at least 1": _positive,
}  # fmt: skip


def _as_site(name: str, key: str, metavar: str, group: str) -> Option:
    """Return the option that is a key of the site file: its default, its values, its meaning."""
    about = _SITE[key]
    unlimited = float(UNLIMITED) if about.kind == "time" else UNLIMITED
    default = unlimited if about.default is None else about.default
    return Option(name, default, _PARSE[about.kind], metavar, about.meaning, group, key=key)


OPTIONS: tuple[Option, ...] = (
    Option("jobTree", None, str, "DIR", "directory of the job tree, on a file system that all "
           "nodes share; an existing tree is continued", _TREE, kept=False),
    Option("batchSystem", "singleMachine", str, "NAME", "where jobs run: singleMachine, "
           "acidTest, or the name of an installed adapter", _TREE, key="batch_system"),
    Option("site", "", _path, "FILE", "a site file that goes before those of $JOBTREE_SITE, of "
           "yourself and of the system (docs/site.md)", _TREE),
    _as_site("defaultMemory", "jobs.default_memory", "SIZE", _JOBS),
    _as_site("defaultCpu", "jobs.default_cpus", "N", _JOBS),
    _as_site("defaultTime", "jobs.default_time", "TIME", _JOBS),
    _as_site("jobTime", "jobs.job_time", "TIME", _JOBS),
    _as_site("scratch", "worker.scratch", "DIR", _JOBS),
    _as_site("maxJobs", "limits.max_jobs", "N", _LIMITS),
    _as_site("maxCpus", "limits.max_cpus", "N", _LIMITS),
    _as_site("maxMemory", "limits.max_memory", "SIZE", _LIMITS),
    _as_site("retryCount", "retry.retry_count", "N", _RESCUE),
    _as_site("rescueCount", "retry.rescue_count", "N", _RESCUE),
    Option("rescueJobsFrequency", 60.0, parse_time, "TIME", "between two looks for missing, "
           "over-long and silent jobs", _RESCUE),
    _as_site("maxJobDuration", "rescue.max_job_duration", "TIME", _RESCUE),
    Option("waitDuration", 0.0, parse_time, "TIME", "least time between two polls of the batch "
           "system", _RESCUE),
    Option("maxLogFileSize", 50120, parse_size, "SIZE", "kept of what one step prints, from its "
           "head and its tail", _LOGS),
    Option("stats", False, bool, "", "print where time and memory went when the run ends", _LOGS,
           flag=True, kept=False),
    Option("logLevel", "INFO", _level, "LEVEL", "CRITICAL, ERROR, WARNING, INFO or DEBUG; "
           "reaches workers and JOB_FILE", _LOGS),
    Option("logFile", "", str, "FILE", "write the master's log there too", _LOGS, kept=False),
)  # fmt: skip

BY_NAME = {option.name: option for option in OPTIONS}


class Settings(NamedTuple):
    """The options as the master uses them, with what the site alone decides."""

    batch_system: str  # --batchSystem, as it was written
    defaults: Requirements  # --defaultMemory, --defaultCpu, --defaultTime
    job_time_s: float  # --jobTime
    scratch: str  # --scratch
    max_jobs: int  # --maxJobs
    max_cpus: int  # --maxCpus
    max_memory_bytes: int  # --maxMemory
    retries: int  # --retryCount
    rescues: int  # --rescueCount
    rescue_s: float  # --rescueJobsFrequency
    longest_step_s: float  # --maxJobDuration
    wait_s: float  # --waitDuration
    max_log_bytes: int  # --maxLogFileSize
    stats: bool  # --stats
    log_level: str  # --logLevel
    policy: Policy = Policy()
    """when waiting is over, and what a rescued attempt gets more of"""
    slots: int = 1000
    """one-cpu issues out at once where the batch system does not tell what it can run"""
    time_margin: float = TreeSettings.time_margin
    least_time_s: float = TreeSettings.least_time_s
    """an issue asks for its jobs' estimates times the margin, and for so much at least"""
    worker_memory_bytes: int = 64 * 2**20
    """what a worker needs beside its step: asked for on top, never granted to the step"""
    python: str = TreeSettings.python
    """the interpreter of workers; "" for this process's own"""
    local_logs: bool = TreeSettings.local_logs
    """a running step prints into scratch, not on the shared file system"""
    heartbeat_s: float = HEARTBEAT_S
    """between two signs of life of a worker"""
    sweep_s: float = TreeSettings.sweep_s
    """between two looks at the workers' results files"""
    swept_at_once: int = 1000
    """so many of those files are looked at, at most, in one such look"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every jobTree option to an argparse parser, in groups.

    What is not given is None, so that a restart can tell it from what is.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        group = groups[option.group]
        if option.flag:
            group.add_argument(
                f"--{option.name}", action="store_true", default=None, help=option.help
            )
        else:
            group.add_argument(
                f"--{option.name}",
                metavar=option.metavar,
                default=None,
                help=f"{option.help}{_in_brackets(option)}",
            )


def default_options() -> argparse.Namespace:
    """Return a namespace in which nothing was given: every default holds."""
    return argparse.Namespace(**{option.name: None for option in OPTIONS})


def given(options: object) -> dict[str, Any]:
    """Return the options that were given, parsed.

    Raises UsageError JT102 for a value that cannot be read, naming the option.
    """
    found = {}
    for option in OPTIONS:
        value = getattr(options, option.name, None)
        if value is None:
            continue
        if isinstance(value, str):
            try:
                value = option.parse(value)
            except UsageError as error:
                raise UsageError(
                    f"--{option.name} {value}: {error.what}", code="JT102", fix=error.fix
                ) from error
            except ValueError as error:
                raise UsageError(
                    f"--{option.name} cannot be {value!r}",
                    code="JT102",
                    why=str(error),
                    fix=f"--{option.name} {option.metavar}: {option.help}",
                ) from error
        found[option.name] = value
    return found


def settings_in_force(
    given_now: Mapping[str, Any], saved: str | None = None, site: Site | None = None
) -> tuple[Settings, str]:
    """Return the settings in force, and what to save of them for the next restart.

    What is given now wins over what was given before, that over the site file, and that over
    the defaults. Raises SiteError JT124 for an option given now that the site has locked; one
    that was given before is dropped.
    """
    site = site or Site()
    kept = {**(json.loads(saved) if saved else {}), **given_now}
    value = {option.name: _value(option, kept, given_now, site) for option in OPTIONS}
    to_save = {name: each for name, each in kept.items() if name in BY_NAME and BY_NAME[name].kept}
    own = site.make(TreeSettings)
    settings = Settings(
        batch_system=value["batchSystem"],
        defaults=Requirements(
            int(value["defaultMemory"]), int(value["defaultCpu"]), 0, float(value["defaultTime"])
        ),
        job_time_s=float(value["jobTime"]),
        scratch=value["scratch"],
        max_jobs=value["maxJobs"],
        max_cpus=value["maxCpus"],
        max_memory_bytes=value["maxMemory"],
        retries=value["retryCount"],
        rescues=value["rescueCount"],
        rescue_s=value["rescueJobsFrequency"],
        longest_step_s=value["maxJobDuration"],
        wait_s=value["waitDuration"],
        max_log_bytes=value["maxLogFileSize"],
        stats=value["stats"],
        log_level=value["logLevel"],
        policy=_policy(own),
        time_margin=own.time_margin,
        least_time_s=own.least_time_s,
        python=own.python,
        local_logs=own.local_logs,
        sweep_s=own.sweep_s,
    )
    return settings, json.dumps(to_save)


def _policy(own: TreeSettings) -> Policy:
    limits = ("longest_step_s", "largest_memory_bytes", "largest_time_s")
    found = {name: getattr(own, name) for name in limits if getattr(own, name) is not None}
    return Policy(silent_s=own.silent_s, publish_s=own.publish_s, **found)


def site_named(given_now: Mapping[str, Any], saved: str | None = None) -> str:
    """Return the site file that --site names, now or else before; "" if it names none."""
    named: str = {**(json.loads(saved) if saved else {}), **given_now}.get("site", "")
    return named


def _value(option: Option, kept: dict[str, Any], now: Mapping[str, Any], site: Site) -> Any:
    """Return what holds for an option; what was given before and is locked now is not kept."""
    default = site.get(option.key, option.default) if option.key else option.default
    value = kept.get(option.name, default)
    by = site.lock_of(option.key) if option.key else None
    if by is None or value == default:
        return value
    if option.name in now:
        raise _locked(option, str(by))
    log.warning("--%s of earlier is dropped: %s locks %s", option.name, by, option.key)
    del kept[option.name]
    return default


def _locked(option: Option, by: str) -> SiteError:
    return SiteError(
        f"--{option.name} cannot be given here: the site locks {option.key}",
        code="JT124",
        where=f"locked by {by}",
        fix="leave the option out; the site's value holds",
    )


def _in_brackets(option: Option) -> str:
    shown = shown_default(option)
    return f" (default: {shown})" if shown else ""


def shown_default(option: Option) -> str:
    """Return an option's default as people read it; "" if there is nothing to say."""
    if option.default is None or option.default is False or option.default == "":
        return ""
    if option.default == UNLIMITED:
        return "no limit"
    if option.parse is parse_size:
        whole = option.default % 2**20 == 0
        return format_size(option.default) if whole else f"{option.default} bytes"
    if option.parse is parse_time:
        return f"{option.default:g} s"
    return str(option.default)
