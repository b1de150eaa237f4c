"""A DRMAA session in a process of its own, and the way to that process.

line.py and library.py are the parent's side; broker.py, session.py and book.py run in the process.
Must not know what a job asks for. Read next: line.py.
"""
