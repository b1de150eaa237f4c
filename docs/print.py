# ruff: noqa: INP001 - a script, not a package
"""Prints the pages of the documentation that are made from the code.

Owns docs/options.md, transitions.md, errors.md and site.md, and the JSON Schema of site files; run
by `make docs`. A test fails when one is not what this prints. Read next: jobtree/options.py,
jobtree/core/, jobtree/cli/explain.py, batchsystems/site/fields.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from batchsystems import sitefiles  # noqa: E402 - the path comes first
from jobtree import options  # noqa: E402 - the path comes first
from jobtree.cli import explain  # noqa: E402
from jobtree.core import issue_states, job_states  # noqa: E402
from jobtree.core.job import Colour  # noqa: E402

MADE = "<!-- Printed from the code by `make docs`: do not edit. -->\n"


def row(*cells: str) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def options_page() -> str:
    """Return docs/options.md."""
    lines = [
        "# Options",
        "",
        MADE,
        "A workflow's script takes them (`Stack.addJobTreeOptions(parser)`), and so do `jobtree",
        "run` and `jobtree restart`. Sizes are bytes, or `512M`, `1.5 GiB` (powers of 1024); times",
        "are seconds, or `90m`, `1h30m`, `2-00:00:00`.",
        "",
        "A restart keeps what the tree was last run with; what is given then wins, and is kept for",
        "the next one. Those marked * are not kept.",
    ]
    group = ""
    for option in options.OPTIONS:
        if option.group != group:
            group = option.group
            lines += ["", f"## {group.capitalize()}", "", row("option", "default", "meaning")]
            lines.append(row("---", "---", "---"))
        name = f"`--{option.name}{' ' + option.metavar if option.metavar else ''}`"
        mark = "" if option.kept else " *"
        lines.append(row(name + mark, options.shown_default(option) or "-", option.help))
    return "\n".join(lines) + "\n"


def transitions_page() -> str:
    """Return docs/transitions.md."""
    lines = [
        "# Transitions",
        "",
        MADE,
        "Two machines decide all that becomes of a tree. Both are pure tables: no clock, no file,",
        "no scheduler.",
        "",
        "## Jobs: colours",
        "",
        "From `jobtree/core/job_states.py`. An event that is not listed is impossible: a bug. A",
        "restart refills the budgets of every unfinished job, and makes red ones white.",
        "",
        row("colour", "meaning"),
        row("---", "---"),
    ]
    meanings = _meanings("jobtree/core/job.py", "Colour")
    lines += [row(colour.name.lower(), meanings[colour.name]) for colour in Colour]
    lines += ["", row("event", "meaning"), row("---", "---")]
    lines += [row(event.__name__, _first_line(event)) for event in job_states.EVENTS]
    for colour, rules in job_states.TABLE.items():
        if rules:
            lines += ["", f"### A {colour.name.lower()} job", "", row("event", "becomes")]
            lines.append(row("---", "---"))
            lines += [row(event.__name__, phrase) for event, (phrase, _) in rules.items()]
    lines += [
        "",
        "## Batch jobs: issues",
        "",
        "From `jobtree/core/issue_states.py`. An issue is one batch job, or one task of an array.",
        "News that is not listed changes nothing.",
        "",
        row("state", "meaning"),
        row("---", "---"),
    ]
    for kind, title in (
        (issue_states.State, ""),
        (issue_states.News, "news"),
        (issue_states.Action, "action"),
    ):
        if title:
            lines += ["", row(title, "meaning"), row("---", "---")]
        meanings = _meanings("jobtree/core/issue_states.py", kind.__name__)
        lines += [row(_word(member.name), meanings[member.name]) for member in kind]
    for state, changes in issue_states.TABLE.items():
        if not changes:
            continue
        lines += ["", f"### An issue that is {_word(state.name)}", ""]
        lines += [row("news", "becomes", "and the master"), row("---", "---", "---")]
        for news, change in changes.items():
            becomes = "stays" if change.state == state else _word(change.state.name)
            actions = ", ".join(_word(action.name) for action in change.actions) or "-"
            lines.append(row(_word(news.name), becomes, actions))
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Return docs/errors.md."""
    lines = [
        "# Error codes",
        "",
        MADE,
        "Codes are stable. `jobtree --explain JT301` prints the same. Errors come without a",
        "traceback; `--logLevel DEBUG` adds it.",
    ]
    for start, title, status in explain.FAMILIES:
        lines += ["", f"## {start.ljust(5, 'x')}: {title}", "", f"Exit status {status}."]
        for code, (meaning, remedy) in sorted(explain.CODES.items()):
            if code.startswith(start):
                lines += ["", f"### {code}", "", meaning, "", f"*What to do:* {remedy}"]
    return "\n".join(lines) + "\n"


def _word(name: str) -> str:
    return name.lower().replace("_", " ")


def _first_line(thing: type) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _meanings(path: str, name: str) -> dict[str, str]:
    """Return the strings that stand below the members of an enumeration."""
    import ast

    module = ast.parse((HERE.parent / path).read_text())
    body = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == name).body
    found: dict[str, str] = {}
    for first, second in pairwise(body):
        if isinstance(first, ast.Assign) and isinstance(second, ast.Expr):
            target, text = first.targets[0], second.value
            if isinstance(target, ast.Name) and isinstance(text, ast.Constant):
                found[target.id] = " ".join(str(text.value).split())
    return found


SITE_HEAD = f"""# The site file

{MADE}
A site file describes a cluster to jobTree. `jobtree site init` writes one from what the cluster
reveals; ready ones, to be copied and adapted, are in [site-config](../site-config/README.md). None
is needed: what no file sets has a default.

It is TOML, and begins with `schema = 1`. Times are seconds, or `90s`, `2h`, `1-12:00:00`; sizes
are bytes, or `512M`, `4GB` (powers of 1024).

## Where it is looked for

1. the file that `--site FILE` names; a restart remembers it, and reads it afresh
2. the file that `$JOBTREE_SITE` names
3. `$XDG_CONFIG_HOME/jobtree/site.toml`, or else `~/.config/jobtree/site.toml`
4. `/etc/jobtree/site.toml`

All of them are read, and the first to set a key wins, key by key. Options of the command line win
over all files. `jobtree site show` prints each value with the file and line that it comes from;
`jobtree site check` tells all that is wrong, and asks no batch system; `jobtree site doctor` runs
canary jobs.

## Locks

A file may lock keys, and whole sections. Files before it in the order above may then not set them,
nor may options that say something else:

```toml
[locked]
keys = ["pacing", "limits.max_jobs"]
```

A key that is locked and set nowhere has its default. Locks keep users from doing harm unawares;
they are no protection against those who mean to, which the batch system's own limits are.

## Editors

`site-config/schema.json` (or `jobtree site show --schema --json`) is a JSON Schema; with
`#:schema PATH` as a file's first line, editors with a TOML language server complete and check keys.

## Keys
"""

SITE_TAIL = """
### A batch system of your own

A table of its name: its keys go, unchecked, to the adapter's class as arguments, or to its
`from_site()` ([batch systems](batch-systems.md)).
"""


def site_page() -> str:
    """Return docs/site.md."""
    lines: list[str] = []
    section = None
    for key, about in sitefiles.schema().keys.items():
        table, _, name = key.rpartition(".") if "[]" not in key else key.partition(".")
        if table != section:
            section = table
            lines += ["", f"### [{table}]", "", about.section, ""] if table else [""]
            lines += [row("key", "value", "default", "meaning"), row("---", "---", "---", "---")]
        default = {"none": "-", "required": "required"}.get(about.written, f"`{about.written}`")
        lines.append(row(f"`{name}`", about.kind, default, about.meaning))
    return SITE_HEAD + "\n".join(lines) + "\n" + SITE_TAIL


def site_schema() -> str:
    """Return site-config/schema.json."""
    return json.dumps(sitefiles.schema().json_schema(), indent=1) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "options.md": options_page,
    "transitions.md": transitions_page,
    "errors.md": errors_page,
    "site.md": site_page,
    "../site-config/schema.json": site_schema,
}


def main() -> None:
    """Print every page that is not fresh."""
    for name, page in PAGES.items():
        text = page()
        path = HERE / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"printed docs/{name}")  # noqa: T201 - its work


if __name__ == "__main__":
    main()
