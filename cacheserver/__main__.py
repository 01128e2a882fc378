"""`python -m cacheserver`: the command line, where its script is not on the PATH."""

from __future__ import annotations

import sys

from cacheserver.cli import main

if __name__ == "__main__":  # and not in the processes that `audit` and `simulate` start
    sys.exit(main())
