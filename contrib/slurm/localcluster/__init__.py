"""A real Slurm of several nodes on one machine. Read next: main.py."""
