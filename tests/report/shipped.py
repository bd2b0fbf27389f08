"""The scorers of the package, as the report takes them."""

from seelevel.scorers import SCORERS, find_scorers

SHIPPED = find_scorers(SCORERS)
