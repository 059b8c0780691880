"""`python -m seewhy` is the `seewhy` command."""

import sys

from seewhy.cli import main

if __name__ == "__main__":
    sys.exit(main())
