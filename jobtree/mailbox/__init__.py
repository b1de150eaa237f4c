"""What master and workers tell each other, through files on the shared file system.

Owns every rule about shared files; must not know colours or schedulers.
Read next: layout.py (which files there are), then orders, claims, results in that order.
"""

PROTOCOL = 1
"""Version of the orders and results: a worker of another one refuses."""
