"""The command; see `run`."""

from benchmarks.mutants.run import main

main()
