"""Any scheduler with a DRMAA library. Read next: dialect.py."""
