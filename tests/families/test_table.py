"""docs/families.md says what the tiny models show."""

from pathlib import Path

import pytest

from tests.families.table import cells
from tests.families.zoo import FAMILIES, UNBUILDABLE

PAGE = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
LINES = ([cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("|"))
ROWS = {line[0]: line for line in LINES}


@pytest.mark.unit
def test_the_page_has_every_family_and_no_empty_cell():
    assert set(FAMILIES) == ROWS.keys() - {"family", "---"}
    assert all(all(row) for row in ROWS.values())
    assert all(f"**{name}**" in PAGE for name in UNBUILDABLE)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_of_the_page_is_what_the_tiny_model_shows(name):
    assert ROWS[name] == cells(name)
