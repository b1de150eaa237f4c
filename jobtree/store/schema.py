"""The tables of tree.db, and their version.

Owns the SQL that makes a tree; must not run any. Read next: store.py.
"""

from __future__ import annotations

APPLICATION_ID = 0x6A747265
"""Marks the file as a job tree ("jtre")."""

VERSION = 1
"""A tree of a higher version is refused; of a lower one is migrated step by step."""

TABLES = """
create table meta (key text primary key, value) without rowid;

create table jobs (
    id integer primary key,
    parent integer not null,
    colour integer not null,
    attempt integer not null,
    step integer not null,
    child_count integer not null,
    black_child_count integer not null,
    retries integer not null,
    rescues integer not null,
    memory_bytes integer not null,
    time_s real not null,
    isolate integer not null,
    has_directory integer not null,
    stack text not null
);
create index jobs_by_colour on jobs (colour, id);

create table issues (
    submission text not null,
    task integer not null,
    state integer not null,
    native text not null,
    batch_system text not null,
    submitted real not null,
    granted text not null,
    pack text not null,
    killed_for text not null,
    primary key (submission, task)
) without rowid;

create table moves (
    job integer primary key,
    attempt integer not null,
    issue text not null,
    line text not null
);

create table bundles (name text primary key, references_left integer not null) without rowid;

create table history (
    seq integer primary key,
    at real not null,
    job integer not null,
    step integer not null,
    attempt integer not null,
    label text not null,
    event text not null,
    issue text not null,
    estimate_s real,
    wall_s real,
    cpu_s real,
    memory_bytes integer,
    waited_s real,
    log_offset integer,
    log_length integer,
    why text,
    detail text
);
create index history_by_job on history (job, seq);

create table classes (
    label text primary key,
    done integer not null,
    wall_s real not null
) without rowid;
"""
