"""How a run is told to people: the log, the block of progress, the status file.

Must not change anything of a tree. Read next: progress.py.
"""
