"""What each error code means, and what to do about it.

Owns the one table of codes, from which docs/errors.md is printed; a test compares it with the
codes in use. Read next: ../errors.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobtree.cli.arguments import guess
from jobtree.errors import UsageError

FAMILIES = (
    ("JT0", "Faults of jobTree itself", "70"),
    ("JT10", "Usage", "2"),
    ("JT11", "Sizes, times and counts", "2"),
    ("JT12", "The site file", "3"),
    ("JT2", "The batch system", "4"),
    ("JT3", "The tree on disk", "5"),
    ("JT4", "The workflow: its Targets, its script, its commands", "1"),
)
"""First characters of a code, what it is about, and the exit status that goes with it."""

TABLE = """
JT000: jobTree met something it did not expect: a fault of its own.
    Report it with the traceback. The tree is safe: `jobtree restart DIR` goes on.
JT100: The command line cannot be understood: an argument is missing, or one too many.
    `jobtree VERB --help` shows what a verb takes.
JT102: An option's value cannot be read, or is out of its range.
    The message shows the accepted forms; docs/options.md lists every option.
JT103: It is not clear which tree is meant: none was named and none is here, or two were named.
    Name one: --jobTree DIR for a new one, `-J DIR` or DIR for one that exists.
JT104: There is no such verb, or no such option.
    Mind the spelling: options keep their capitals (--retryCount). A workflow script is run by
    Python, not by jobtree.
JT105: `clean` found no terminal on which to ask, and --yes was not given.
    Add --yes if you are sure. Nothing was deleted.
JT106: The file given with --logFile cannot be written.
    Name a file in a directory that exists and that you can write.
JT107: The tree has nothing to tell about what was asked: no such job, or no such attempt.
    `jobtree status DIR` names the jobs that failed; the first job of a tree is 1.
JT108: `logs` wants the number of a job.
    `jobtree logs 17 DIR`; numbers stand in the log and in `jobtree status`.
JT109: `site init` found a file where it was to write one, and replaces none unasked.
    Name another file with --output, or add --force. Nothing was written.
JT110: A size cannot be read.
    Write bytes, or a number with K, M, G, T or P (powers of 1024): 512M, 1.5 GiB.
JT111: A time cannot be read.
    Write seconds, or 90m, 1h30m, 2d, 01:30:00, 2-00:00:00 (days first).
JT112: A count of processors or devices cannot be read.
    Write a whole number.
JT113: The command given to `run` does not contain the word JOB_FILE: nothing was run, and no tree
was made.
    Put it where the command expects the path of its JOB_FILE (docs/jobfile.md), or behind a # if
    it adds no jobs.
JT120: A site file cannot be read: it is not there, or may not be read, or is no plain file.
    The message tells who named it: --site, $JOBTREE_SITE, or one of the usual places.
JT121: A site file is no TOML.
    Mend the line that is shown: texts stand in quotes, tables begin with [name].
JT122: A site file has a key that jobTree does not know.
    Mind the spelling, and the table it stands in; `jobtree site show --schema` lists all.
JT123: A value in a site file is not of its kind, or out of its range, or goes not together with
another.
    The message shows the line and what may stand there; docs/site.md lists every key.
JT124: An administrator has locked a key of the site file: no earlier file, and no option, may set
it.
    Leave it out, and the administrator's value holds; or ask for another value.
JT125: A site file does not say `schema = 1`, or is written for a newer jobTree.
    Write `schema = 1` at its beginning, or use the jobTree it was written for.
JT126: Every user may write a site file. It names programs that are run as you.
    After making sure nobody has altered it: chmod o-w FILE.
JT127: `site doctor` cannot write the directory in which it keeps the files of its canaries.
    Name another with --directory: one that you may write, on the file system nodes share.
JT200: The batch system cannot do what was asked of it.
    The message tells more. Nothing that was committed is lost.
JT201: There is no batch system of that name.
    The message lists those that are known; an installed package may offer more.
JT202: The batch system's adapter cannot be loaded.
    Reinstall the package that offers it; the message says what Python missed.
JT203: The batch system's adapter does not take the options it was given.
    See the help of its class.
JT210: The scheduler gave no complete answer. That says nothing about any job.
    Nothing: jobTree asks again and waits, jobs go on. If it lasts, tell the cluster's
    administrators.
JT220: A job asks for more than any machine of this batch system has.
    Lower what it asks for, or choose another batch system; then restart the tree.
JT250: A file of defaults makes a scheduler's commands do or show what no option undoes.
    Remove that line from the file, or comment it out while trees run; docs/defaults.md tells which
    defaults count, and why.
JT230: The batch system drmaa needs the Python package of that name.
    pip install 'jobtree[drmaa]', with the Python that runs jobTree.
JT231: No DRMAA library was found.
    Install one (Debian: gridengine-drmaa1.0; for Slurm: slurm-drmaa), or name its file:
    drmaa.library in a site file, or $DRMAA_LIBRARY_PATH.
JT232: The DRMAA library cannot be loaded: it is none, or for another machine, or a library that it
needs is missing.
    The message says which. Name one for this machine: drmaa.library in a site file.
JT233: The DRMAA library, or one that it needs, finds no room for its thread-local data, though
jobTree has made some (GLIBC_TUNABLES, LD_PRELOAD).
    `patchelf --remove-needed libjemalloc.so.2` on a copy of the library, and name the copy:
    drmaa.library in a site file.
JT234: Grid Engine's DRMAA library does not know where its cell is.
    Source the cell's settings.sh, or set drmaa.sge_root in a site file.
JT268: A job was given to a batch system that had been closed: nobody would submit it.
    Make another instance; its adopt() takes back the jobs of the one that was closed.
JT300: The tree on disk cannot be used.
    The message tells more. All that was committed is safe.
JT301: `run` was given a directory that is a job tree already.
    Go on with it (`jobtree restart DIR`), delete it (`jobtree clean DIR`), or use another name.
    `run` never takes up an old tree with a new command.
JT302: Another master holds the tree. Two would undo each other's work.
    Watch it (`jobtree status DIR`) or stop it (`jobtree kill DIR`). If it was elsewhere (on
    another host, in a container) and is dead, restarting takes over after watching it for a
    minute.
JT303: The tree cannot be taken: the file system made no hard link.
    Put the tree on a file system with hard links (NFS, Lustre, GPFS, ext4, xfs have them).
JT304: Another master has taken the tree while this one was stopped or cut off; this one has ended
and changes nothing more.
    Nothing: the other one goes on. `jobtree status DIR` watches it.
JT305: The directory is not a job tree: it has no jobtree.json.
    Give the directory that --jobTree named.
JT306: --jobTree names something that exists and is not a job tree.
    Name a new directory, or an empty one. jobTree never mixes its files with others.
JT307: The tree cannot be made.
    Name a directory that you can write, with space left, that all nodes see.
JT308: `clean` was asked to delete a tree whose master lives.
    Stop it first: `jobtree kill DIR`. Nothing was deleted.
JT309: The path of the tree is longer than its database can be opened by: SQLite takes paths of at
most 512 bytes.
    Give a shorter one with --jobTree. A tree that exists may be moved: mv, then restart.
JT310: The tree's database is damaged. Nothing was changed: going on could lose or repeat finished
work.
    Restore it from a backup, or run the tree afresh in another directory.
JT311: The tree was written by a newer jobTree.
    Use that version, or run the tree afresh in another directory.
JT312: The tree cannot be written.
    Make the directory writable by you, then restart the tree.
JT313: The disk is full, or your quota is used up.
    Free some space, then restart the tree. All that was committed is safe.
JT314: The file system failed to read or write the tree's database.
    See that it works (an NFS server may be restarting), then restart the tree.
JT315: The database of a lost master keeps changing: that master is not lost.
    Stop the other master, then restart the tree.
JT316: An order to workers cannot be written.
    Free some space, or see that the file system works; then restart the tree.
JT317: The master that seems to live did not answer in time.
    It may be busy or stopped (Ctrl-Z): ask again. If its host or container is gone, `jobtree
    restart DIR` elsewhere takes over after watching its lease for a minute.
JT318: The file system refused something.
    The message names the file: see that it is there, yours, and that there is space.
JT319: `clean` could not delete everything.
    The message says where the rest is; nothing uses it any more. Often a job left files of another
    user, or one is still open over NFS.
JT330: A file or directory of the tree belongs to, or can be written by, another user. What it
holds is executed, so it is not trusted.
    Use a tree of your own. After making sure nobody has altered it: chmod -R go-w DIR.
JT331: A pickled Target is not what was written.
    The file was altered or damaged: run the tree afresh in another directory.
JT332: The saved environment of a tree is not what was written.
    The file was altered or damaged, as by a loss of power. Start the workflow's script again with
    the same --jobTree: it writes a new one, and the tree goes on.
JT354: A worker began on a node, and not even the tree's directory was to be seen there.
    Mount its file system on that node. Until then jobtree leaves the node out once two batch jobs
    in a row could not begin there; `jobtree nodes DIR --clear` takes it back at once.
JT400: Something in the workflow itself is wrong.
    The message tells more.
JT401: A Target cannot be pickled; the message names the attribute.
    Keep paths and numbers in attributes; open files, connections and locks inside run().
JT402: A worker imported the script, and the script started its workflow again.
    Put the call of startJobTree under `if __name__ == "__main__":`.
JT403: A Target's __init__ does not call Target.__init__.
    Call `super().__init__()` first thing in it.
JT404: A class or function is defined where workers cannot import it: in an interactive session, or
in a script that is no file.
    Put it into a file, and run that.
JT405: A Target was added twice, or to itself.
    Make a new Target for each job.
JT406: A Target was given a second follow-on.
    Set the second one from the first one's run().
JT407: A method was called outside run() that works only inside it.
    Call it in run(): what it tells is known only where and when the step runs.
JT408: Something was added as a Target that is not one.
    Functions go to addChildTargetFn, commands to addChildCommand.
JT409: A function cannot be a Target: it is nested, a lambda or a method, or its arguments are not
a tuple.
    Use a function at the top level of a module or of the script, and args=(value,).
JT410: The workflow's script is gone.
    Put it back where it was, or start the tree's script from where it is now.
JT411: The workflow's script ended, or failed, while a worker imported it.
    Put whatever it does when run under `if __name__ == "__main__":`.
JT412: The workflow's script no longer has a class or function that waiting jobs need.
    Put it back under its old name, then restart the tree.
JT420: A temp directory exists and belongs to someone else.
    Remove it, or name another place with --scratch.
JT421: publish() was asked for a move that cannot be made safely.
    Write the file in getAttemptDir(); give absolute paths, in a directory that exists.
JT460: run(), or a function given as a Target, is a generator or an `async def`: calling it runs
none of its lines.
    Make it an ordinary function: loop over the generator in it, or call asyncio.run() in it.
JT461: A step returned a generator, a coroutine or something else to be awaited: work that nothing
will ever do.
    Do the work before run() returns: loop over it, or give it to asyncio.run().
JT430: What was given as a shell command is not one.
    Give the command as one string, as you would type it.
JT431: The command's JOB_FILE is gone, or no file any more.
    The command must leave it in place, and may only add to it.
JT432: The command's JOB_FILE is too large.
    Let children add children: a few thousand each.
JT433: The command's JOB_FILE is not the XML it should be.
    docs/jobfile.md shows the form. Write it whole: a copy, then a rename.
JT434: A child or follow-on in a JOB_FILE has no command, or a value that cannot be read.
    docs/jobfile.md lists the attributes. Nothing of that file was taken.
JT435: The path of the tree or of a scratch directory has a character that XML, and so a JOB_FILE,
cannot hold: a control character, or bytes that are no text.
    Use directories whose names are plain text: --jobTree, --scratch.
"""
"""Each code with its meaning and, indented, what to do."""


def _read(table: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for entry in re.split(r"\n(?=JT\d{3}: )", table.strip()):
        code, _, text = entry.partition(": ")
        meaning, _, remedy = text.partition("\n    ")
        yield code, (" ".join(meaning.split()), " ".join(remedy.split()))


CODES = dict(_read(TABLE))


def explain(code: str) -> str:
    """Return what a code means and what to do. Raises UsageError (JT100) for an unknown one."""
    wanted = code.strip().upper()
    if wanted.isdecimal():
        wanted = f"JT{wanted}"
    if wanted not in CODES:
        raise UsageError(
            f"there is no error code {code!r}", why=guess(wanted, CODES), fix="docs/errors.md"
        )
    meaning, remedy = CODES[wanted]
    return f"{wanted}: {meaning}\n  {remedy}"
