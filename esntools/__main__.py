"""``python -m esntools`` is the command line."""

import sys

from esntools.cli import main

if __name__ == "__main__":
    sys.exit(main())
