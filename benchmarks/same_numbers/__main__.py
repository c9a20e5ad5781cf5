"""The command; see `compare`."""

import sys

from benchmarks.same_numbers.compare import main

sys.exit(main())
