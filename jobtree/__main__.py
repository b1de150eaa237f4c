"""`python -m jobtree`: the same as the command `jobtree`.

Owns nothing. Read next: cli/main.py.
"""

from __future__ import annotations

import sys

from jobtree.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
