"""The worker: what runs on a node. Standard library only; knows no master. Read next: main.py."""
