"""`python -m seelevel`: the command line, as launchers start it."""

from seelevel.cli import main

main()
