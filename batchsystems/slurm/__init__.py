"""Slurm, by its commands. Read next: dialect.py."""
