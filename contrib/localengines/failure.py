"""The one error that a user of these programs sees.

Owns nothing else; must not import the rest. Read next: program.py, which prints it.
"""


class Failure(Exception):
    """Something the user must know: what, why, and how to go on. Printed without a traceback."""
