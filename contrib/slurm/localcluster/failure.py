"""The one error that a user of local-cluster sees.

Owns nothing else; must not import the rest. Read next: main.py, which prints it.
"""


class Failure(Exception):
    """Something the user must know: what, why, and how to go on. Printed without a traceback."""
