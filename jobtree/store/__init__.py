"""The tree on disk: its database, its directory, and the lease of who may write it."""
