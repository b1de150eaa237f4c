"""Grid Engine, by its commands. Read next: dialect.py."""
