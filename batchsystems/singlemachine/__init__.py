"""The batch system that is this machine alone. Read next: adapter.py."""
