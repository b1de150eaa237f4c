"""Starts a worker: `python -I -S .../worker/start.py ORDER_PATH INDEX`.

With `--step` alone it is the process of one isolated step, which a worker starts.
Owns nothing but the import path, which -I and -S leave without this package; must not import
anything before that. Read next: main.py.
"""

import gc
import os
import sys

if __name__ == "__main__":
    gc.disable()  # until the first step: what is imported is no garbage
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.append(os.path.dirname(package))  # the last: most of what comes is Python's own

    if sys.argv[1:] == ["--step"]:
        from jobtree.worker.isolated import main as run_one_step

        run_one_step()
    from jobtree.worker.main import main

    main(sys.argv[1:])
