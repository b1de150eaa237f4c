"""The tree on disk: database, directory, the lease of who writes it. Read next: store.py."""
