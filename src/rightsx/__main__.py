"""`python -m rightsx` is `rightsx`."""

import sys

from rightsx.cli import main

if __name__ == "__main__":
    sys.exit(main())
