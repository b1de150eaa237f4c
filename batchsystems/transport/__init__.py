"""Where a scheduler's commands are run: on this machine. Read next: local.py."""
