"""A real Grid Engine of several hosts on one machine. Read next: main.py."""
