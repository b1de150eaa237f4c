"""The DRMAA library, kept in a process of its own. Read next: client.py, server.py."""
