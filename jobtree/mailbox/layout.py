"""Which files a tree has, and what each is called.

Owns names and paths; touches no file. Read next: files.py.

    <tree>/
      jobtree.json               marks the directory as a tree; its id and version
      tree.db                    the tree itself (../store/store.py); only the lease holder opens it
      leases/EPOCH               who holds the tree (../store/lease.py)
      environment.json           environment, directory, umask, script of the master
      environment.sh             the environment as lines of shell, for worker.setup to begin with
      status.json                what `status` shows, renewed by the master
      control/                   requests of other commands, and the answers
      orders/SUBMISSION          what the tasks of one submission are to do
      claims/ISSUE               taken by the one worker that may run the issue; its heartbeat
      fences/ISSUE               tells that worker to stop
      results/ISSUE              what happened, line by line
      bundles/ISSUE              the pickled children it made
      logs/ISSUE                 what its steps printed
      logs/SUBMISSION.out        what came before any worker could take over
      logs/failed/JOB.STEP.ATTEMPT   what one failed step printed
      directories/N/JOB/         a job's global temp and attempt directories
      batch/                     the batch system adapter's own files
"""

from __future__ import annotations

MARKER = "jobtree.json"
DATABASE = "tree.db"
ENVIRONMENT = "environment.json"
SETUP_ENVIRONMENT = "environment.sh"
STATUS = "status.json"

LEASES, CONTROL, BATCH = "leases", "control", "batch"
ORDERS, CLAIMS, FENCES = "orders", "claims", "fences"
RESULTS, BUNDLES, LOGS, DIRECTORIES = "results", "bundles", "logs", "directories"
FAILED_LOGS = "logs/failed"

SUBDIRECTORIES = (
    *(LEASES, CONTROL, BATCH, ORDERS, CLAIMS, FENCES),
    *(RESULTS, BUNDLES, LOGS, FAILED_LOGS, DIRECTORIES),
)

TRUSTED = (
    *(MARKER, ENVIRONMENT, SETUP_ENVIRONMENT, STATUS),
    *(name for name in SUBDIRECTORIES if "/" not in name),
)
"""What lies in a tree and must be its owner's alone; the databases too."""

JOBS_PER_DIRECTORY = 1000


def issue_name(submission: str, index: int) -> str:
    """Return the name of one task of a submission, by which its files are called."""
    return f"{submission}.{index}"


def order_path(tree: str, submission: str) -> str:
    """Return where the order of a submission lies."""
    return f"{tree}/{ORDERS}/{submission}"


def claim_path(tree: str, issue: str) -> str:
    """Return where the claim of an issue lies."""
    return f"{tree}/{CLAIMS}/{issue}"


def fence_path(tree: str, issue: str) -> str:
    """Return where the fence of an issue lies."""
    return f"{tree}/{FENCES}/{issue}"


def result_path(tree: str, issue: str) -> str:
    """Return where the results of an issue lie."""
    return f"{tree}/{RESULTS}/{issue}"


def bundle_path(tree: str, bundle: str) -> str:
    """Return where a bundle of pickled Targets lies; it is called by the issue that made it."""
    return f"{tree}/{BUNDLES}/{bundle}"


def log_path(tree: str, issue: str) -> str:
    """Return where the steps of an issue print."""
    return f"{tree}/{LOGS}/{issue}"


def output_path(tree: str, submission: str) -> str:
    """Return where a submission's tasks print before their workers take over."""
    return f"{tree}/{LOGS}/{submission}.out"


def failed_log_path(tree: str, job: int, step: int, attempt: int) -> str:
    """Return where the output of one failed step is kept."""
    return f"{tree}/{FAILED_LOGS}/{job}.{step}.{attempt}"


def job_directory(tree: str, job: int) -> str:
    """Return the directory that lives and dies with a job."""
    return f"{tree}/{DIRECTORIES}/{job // JOBS_PER_DIRECTORY}/{job}"


def global_directory(tree: str, job: int, depth: int) -> str:
    """Return the global temp directory of a job at one depth of its stack."""
    return f"{job_directory(tree, job)}/{depth}"


def attempt_directory(tree: str, job: int, attempt: int) -> str:
    """Return the directory private to one attempt at a job."""
    return f"{job_directory(tree, job)}/attempt-{attempt}"
