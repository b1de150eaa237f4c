"""Adapters for schedulers that are driven by their commands. Read next: adapter.py, dialect.py."""
