"""`python -m axion.bench` is `axion bench`: this machine's figures, beside baselines in this Python."""

import sys

from ._program import main

if __name__ == "__main__":
    sys.argv.insert(1, "bench")
    sys.exit(main())
