"""Grid Engine's configuration, as text: what is set, and why.

Owns every line of it; must not start, read or write anything. README.md says which of these an
administrator should and should not copy. Read next: cell.py, which hands them over.
"""

from __future__ import annotations

from collections.abc import Mapping

from localcell.settings import GPUS, QUEUE, SHORT, SHORT_S, Places, Settings


def _table(values: Mapping[str, object]) -> str:
    return "".join(f"{key:<24} {value}\n" for key, value in values.items())


def bootstrap(settings: Settings, places: Places, binaries: str) -> str:
    """Return what daemons and clients read first.

    Started by root, the daemons stay root ("none") but for what a job's user does. Started by
    an ordinary user, they must be told that this user is the administrator.
    """
    return _table(
        {
            "admin_user": "none" if settings.root else settings.user,
            "default_domain": "none",
            "ignore_fqdn": "true",
            "spooling_method": "berkeleydb",
            "spooling_lib": "libspoolb",
            "spooling_params": places / "spool" / "db",
            "binary_path": binaries,
            "qmaster_spool_dir": places / "spool" / "qmaster",
            "security_mode": "none",
            "listener_threads": "2",
            "worker_threads": "2",
            "scheduler_threads": "1",
        }
    )


def hosts(settings: Settings, *, master: bool) -> str:
    """Return /etc/hosts for the machines of the cell.

    The master, on this machine, also gets connections from where its name leads ordinarily.
    """
    lines = ["127.0.0.1 localhost", f"{settings.master_address} {settings.machine}"]
    if master and not settings.address.startswith("127.0.0.1"):
        lines.append(f"{settings.address} {settings.alias or settings.machine}")
    lines += [f"{settings.host_address(host)} {host}" for host in settings.host_names]
    return "\n".join(lines) + "\n"


def global_configuration(settings: Settings, places: Places) -> str:
    """Return the global configuration, sge_conf(5), with the user's own lines in it."""
    values: dict[str, object] = {
        "execd_spool_dir": places / "spool" / "execd",
        "mailer": "/bin/true",
        "xterm": "/usr/bin/xterm",
        "load_sensor": "none",
        "prolog": "none",
        "epilog": "none",
        "shell_start_mode": "unix_behavior",
        "login_shells": "bash,sh,ksh,csh,tcsh",
        "min_uid": "0",  # root may submit
        "min_gid": "0",
        "user_lists": "none",
        "xuser_lists": "none",
        "projects": "none",
        "xprojects": "none",
        "enforce_project": "false",
        "enforce_user": "auto",
        "load_report_time": "00:00:02",
        "max_unheard": "00:00:15",
        "reschedule_unknown": "00:00:00",
        "loglevel": "log_info",
        "administrator_mail": "none",
        "set_token_cmd": "none",
        "pag_cmd": "none",
        "token_extend_time": "none",
        "shepherd_cmd": "none",
        "qmaster_params": "ENABLE_FORCED_QDEL=true",
        "execd_params": "ENABLE_ADDGRP_KILL=true",
        "reporting_params": "accounting=true reporting=false flush_time=00:00:01 "
        "accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00",
        "finished_jobs": "100",
        "gid_range": f"{settings.gids[0]}-{settings.gids[-1]}",
        "qlogin_command": "builtin",
        "qlogin_daemon": "builtin",
        "rlogin_command": "builtin",
        "rlogin_daemon": "builtin",
        "rsh_command": "builtin",
        "rsh_daemon": "builtin",
        "max_aj_instances": "2000",
        "max_aj_tasks": "75000",
        "max_u_jobs": "0",
        "max_jobs": "0",
        "auto_user_oticket": "0",
        "auto_user_fshare": "0",
        "auto_user_default_project": "none",
        "auto_user_delete_time": "86400",
        "delegated_file_staging": "false",
        "reprioritize": "0",
        "jsv_url": "none",
        "jsv_allowed_mod": "ac,h,i,e,o,j,M,N,p,w",
    }
    for line in settings.conf:
        key, _, value = line.partition("=")
        values[key] = value
    return "conf_version             0\n" + _table(values)


def changed(text: str, key: str, value: str) -> str:
    """Return a configuration, as qconf prints it, with one line set."""
    joined = text.replace("\\\n", " ")
    kept = [
        line
        for line in joined.splitlines()
        if line and not line.startswith("#") and line.split()[0] != key
    ]
    return "\n".join([*kept, f"{key} {value}"]) + "\n"


def scheduler(text: str) -> str:
    """Return the scheduler's configuration, made from its default as qconf prints it.

    It looks at once. Jobs that ask for no queue go to the first by number, and there to the host
    with the most free slots: all hosts share this machine's load.
    """
    for key, value in {
        "schedule_interval": "0:0:1",
        "flush_submit_sec": "1",
        "flush_finish_sec": "1",
        "queue_sort_method": "seqno",
        "job_load_adjustments": "NONE",
        "load_adjustment_decay_time": "0:0:0",
        "load_formula": "slots",
        "schedd_job_info": "true",
    }.items():
        text = changed(text, key, value)
    return text


def complexes() -> Mapping[str, str]:
    """Return the definitions that differ from Grid Engine's own, by name.

    h_vmem: a consumable's default is applied to jobs that do not ask. With the default 0 each
    of those would be killed at once.
    """
    return {
        "h_vmem": _complex("h_vmem", "h_vmem", "MEMORY", "1G"),
        "mem_free": _complex("mem_free", "mf", "MEMORY", "0"),
        "m_mem_free": _complex("m_mem_free", "mfree", "MEMORY", "0"),
        "gpu": _complex("gpu", "gpu", "INT", "0"),
    }


def _complex(name: str, shortcut: str, kind: str, default: str) -> str:
    return _table(
        {
            "name": name,
            "shortcut": shortcut,
            "type": kind,
            "relop": "<=",
            "requestable": "YES",
            "consumable": "YES",
            "default": default,
            "urgency": "0",
        }
    )


def environments() -> Mapping[str, str]:
    """Return the parallel environments: smp on one host, mpi over several."""
    rules = {"smp": "$pe_slots", "mpi": "$fill_up"}
    return {
        name: _table(
            {
                "pe_name": name,
                "slots": "9999",
                "user_lists": "NONE",
                "xuser_lists": "NONE",
                "start_proc_args": "NONE",
                "stop_proc_args": "NONE",
                "allocation_rule": rule,
                "control_slaves": "TRUE",
                "job_is_first_task": "TRUE",
                "urgency_slots": "min",
                "accounting_summary": "TRUE",
                "qsort_args": "NONE",
            }
        )
        for name, rule in rules.items()
    }


def execution_host(settings: Settings, host: str) -> str:
    """Return an execution host: what it has to give, which this machine need not have."""
    memory = f"{settings.memory_mib}M"
    return _table(
        {
            "hostname": host,
            "load_scaling": "NONE",
            "complex_values": f"slots={settings.slots},h_vmem={memory},mem_free={memory},"
            f"m_mem_free={memory},gpu={GPUS}",
            "user_lists": "NONE",
            "xuser_lists": "NONE",
            "projects": "NONE",
            "xprojects": "NONE",
            "usage_scaling": "NONE",
            "report_variables": "NONE",
        }
    )


def host_group(settings: Settings) -> str:
    """Return the group of all execution hosts."""
    return _table({"group_name": "@allhosts", "hostlist": " ".join(settings.host_names)})


def queues(settings: Settings, places: Places, text: str) -> Mapping[str, str]:
    """Return the queues, made from the default one as qconf prints it.

    load_thresholds: a busy machine would put every queue into alarm. A job without a queue goes
    to the one with the lower number; once that is full, so are the hosts.
    """
    common = {
        "hostlist": "@allhosts",
        "load_thresholds": "NONE",
        "slots": settings.slots,
        "pe_list": "smp mpi",
        "shell": "/bin/sh",
        "shell_start_mode": "unix_behavior",
        "notify": "00:00:05",
        "tmpdir": places.scratch,
    }
    own: Mapping[str, Mapping[str, object]] = {
        QUEUE: {"seq_no": "0"},
        SHORT: {"seq_no": "10", "h_rt": f"00:{SHORT_S // 60:02}:00"},
    }
    found = {}
    for name, values in own.items():
        made = text
        for key, value in {"qname": name, **common, **values}.items():
            made = changed(made, key, str(value))
        found[name] = made
    return found
