"""A worker's own exit statuses, by which it speaks of itself and never of a step. Pure.

Owns the numbers; what the master makes of them is not its business. Read next: rescue.py.
"""

PUBLISHED = 0
"""All results are published, whatever the steps returned."""

WORKER_FAILED = 70
"""A failure of its own or of its node."""

NOT_OURS = 75
"""It lost its claim to a twin, or was withdrawn or fenced off."""
