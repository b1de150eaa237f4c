"""Options: every one is defined once, reaches the settings, and survives a restart."""

from __future__ import annotations

import argparse

import pytest

from jobtree.errors import UsageError
from jobtree.options import (
    BY_NAME,
    OPTIONS,
    UNLIMITED,
    add_options,
    default_options,
    given,
    settings_in_force,
    shown_default,
)

TYPED = {
    "batchSystem": ("acidTest", "acidTest", "batch_system"),
    "site": ("/etc/other.toml", "/etc/other.toml", None),
    "defaultMemory": ("3G", 3 * 2**30, None),
    "defaultCpu": ("2", 2, None),
    "defaultTime": ("90m", 5400.0, None),
    "jobTime": ("2m", 120.0, "job_time_s"),
    "scratch": ("/scratch", "/scratch", "scratch"),
    "maxJobs": ("7", 7, "max_jobs"),
    "maxCpus": ("8", 8, "max_cpus"),
    "maxMemory": ("1G", 2**30, "max_memory_bytes"),
    "retryCount": ("3", 3, "retries"),
    "rescueCount": ("4", 4, "rescues"),
    "rescueJobsFrequency": ("10s", 10.0, "rescue_s"),
    "maxJobDuration": ("1h", 3600.0, "longest_step_s"),
    "waitDuration": ("0.5", 0.5, "wait_s"),
    "maxLogFileSize": ("1M", 2**20, "max_log_bytes"),
    "logLevel": ("debug", "DEBUG", "log_level"),
}


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def test_an_empty_command_line_gives_nothing_and_settles_on_the_defaults():
    assert given(parsed()) == given(default_options()) == {}
    settings, _ = settings_in_force({})
    assert settings.batch_system == "singleMachine"
    assert (settings.retries, settings.max_jobs) == (0, UNLIMITED)
    assert settings.defaults == (2**31, 1, 0, 86400.0)


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_reaches_the_settings_and_the_next_restart(name: str):
    typed, value, field = TYPED[name]
    chosen = given(parsed(f"--{name}", typed))
    assert chosen == {name: value}
    settings, saved = settings_in_force(chosen)
    again, _ = settings_in_force({}, saved)
    assert again == settings
    if field is not None:
        assert getattr(settings, field) == value


def test_every_option_that_takes_a_value_is_tried_above():
    untried = {option.name for option in OPTIONS if not option.flag} - set(TYPED)
    assert untried == {"jobTree", "logFile"}


def test_a_restart_overrides_what_was_saved_and_keeps_the_rest():
    _, saved = settings_in_force({"retryCount": 3, "maxJobs": 5})
    settings, saved = settings_in_force({"retryCount": 0}, saved)
    assert (settings.retries, settings.max_jobs) == (0, 5)
    assert settings_in_force({}, saved)[0].retries == 0


def test_stats_and_places_are_of_one_run_only():
    _, saved = settings_in_force(given(parsed("--stats", "--logFile", "x", "--jobTree", "y")))
    assert "logFile" not in saved
    assert "jobTree" not in saved
    assert not settings_in_force({}, saved)[0].stats


def test_values_set_by_a_script_need_no_text():
    options = default_options()
    options.retryCount, options.defaultMemory = 2, 10**9
    assert given(options) == {"retryCount": 2, "defaultMemory": 10**9}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("retryCount", "many"),
        ("retryCount", "-1"),
        ("maxJobs", "0"),
        ("maxJobs", "1.5"),
        ("defaultMemory", "2X"),
        ("defaultMemory", "-1"),
        ("jobTime", "soon"),
        ("logLevel", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_read_names_the_option_and_the_forms(name: str, typed: str):
    with pytest.raises(UsageError) as caught:
        given(parsed(f"--{name}={typed}"))
    assert caught.value.code == "JT102"
    assert f"--{name}" in caught.value.what
    assert caught.value.why + caught.value.fix


def test_defaults_are_shown_as_people_write_them():
    shown = {name: shown_default(option) for name, option in BY_NAME.items()}
    assert shown["defaultMemory"] == "2.0 GB"
    assert shown["retryCount"] == "0"
    assert shown["maxJobDuration"] == "no limit"
    assert shown["jobTime"] == "30 s"
    assert shown["jobTree"] == shown["stats"] == ""


def test_help_can_be_printed():
    parser = argparse.ArgumentParser()
    add_options(parser)
    text = parser.format_help()
    assert all(f"--{option.name}" in text for option in OPTIONS)
