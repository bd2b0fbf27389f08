"""README and docs against the code: links, recipes, tables of keys, error messages, figures."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from seelevel.check.settings import CheckSettings
from seelevel.feedback.settings import FeedbackSettings
from seelevel.generate.method import FinetuneSettings
from seelevel.generate.settings import SETTINGS
from seelevel.models.base import ApiSettings, Sampling
from seelevel.recipe import BaseSettings, DataSettings, Recipe, load_recipe
from seelevel.report.settings import ReportSettings
from seelevel.scorers import SCORERS
from seelevel.scorers.settings import EvaluateSettings
from seelevel.training.settings import AlignSettings, LoraSettings, TrainSettings
from tests.prose import links, pages
from tests.scorers.measured import measures_by_name

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[1]
PAGES = pages()
TABLES: dict[tuple[str, str], type[BaseModel]] = {
    ("runs.md", "key"): Recipe,
    ("runs.md", "key of `data`"): DataSettings,
    ("runs.md", "key of `report`"): ReportSettings,
    ("generate.md", "key of `sampling`"): Sampling,
    ("generate.md", "key of `finetune`"): FinetuneSettings,
    ("check.md", "key"): CheckSettings,
    ("feedback.md", "key"): FeedbackSettings,
    ("servers.md", "key of `api`"): ApiSettings,
    ("training.md", "key of `align`"): AlignSettings,
    ("training.md", "key of `lora`"): LoraSettings,
    ("scoring.md", "key of `evaluate`"): EvaluateSettings,
}
"""Which settings a page's table lists, by the header of its first column."""


def tables(page: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    """(header, rows) of every table of a page, cells stripped."""
    for block in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.M):
        header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        yield header, rows


def table(name: str, first: str) -> list[list[str]]:
    """Rows of the one table of docs/`name` whose first column is headed `first`."""
    [rows] = [rows for header, rows in tables(ROOT / "docs" / name) if header[0] == first]
    return rows


def defaults(settings: type[BaseModel]) -> dict[str, Any]:
    """Default by key, "needed" if there is none. Of settings that extend training's, only the keys that differ."""
    values = {k: "needed" if f.is_required() else f.get_default() for k, f in settings.model_fields.items()}
    if settings is AlignSettings or not issubclass(settings, TrainSettings):
        return values
    training = TrainSettings.model_fields
    return {k: value for k, value in values.items() if k not in training or training[k].default != value}


def default_of(cell: str, default: Any) -> Any:
    """A cell's default, of the type that the code's has."""
    if cell == "needed":
        return cell
    value = yaml.safe_load(cell.strip("`"))
    if isinstance(default, BaseModel):
        return type(default).model_validate(value)
    return tuple(value) if isinstance(default, tuple) else value


@pytest.mark.parametrize(("page", "first"), TABLES)
def test_a_table_of_keys_has_every_key_with_its_default(page: str, first: str) -> None:
    rows = {row[0].strip("`"): row[1] for row in table(page, first)}
    expected = defaults(TABLES[page, first])
    assert {key: default_of(cell, expected.get(key)) for key, cell in rows.items()} == expected


def test_base_has_the_keys_of_finetune_and_a_model() -> None:
    assert defaults(BaseSettings) == {"model": "needed", **defaults(FinetuneSettings)}


@pytest.mark.parametrize("method", SETTINGS)
def test_the_keys_of_each_method_are_listed(method: str) -> None:
    rows = {row[0].strip("`"): row[2] for row in table("generate.md", "key") if method in row[1].split(", ")}
    expected = {key: default for key, default in defaults(SETTINGS[method]).items() if key != "method"}
    assert {key: default_of(cell, expected.get(key)) for key, cell in rows.items()} == expected


def test_the_methods_and_benchmarks_listed_are_those_there_are() -> None:
    assert [row[0].strip("`") for row in table("generate.md", "`method`")] == list(SETTINGS)
    assert {row[0].strip("`") for row in table("scoring.md", "benchmark")} == set(SCORERS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_heading(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in headings(file), target


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_that_code_names_exists() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.yaml"), *(ROOT / "benchmarks").rglob("*.py")]
    named = {(file.name, page) for file in files for page in re.findall(r"\bdocs/[\w-]+\.md", file.read_text("utf-8"))}
    assert named
    assert not [(file, page) for file, page in named if not (ROOT / page).exists()]


def blocks(key: str) -> list[Any]:
    """Every YAML block of the pages, whole recipes (`name`) or parts of one (`part`).

    Those of extending.md name code outside the package: see `tests.test_extending`.
    """
    return [
        pytest.param(block, id=f"{page.name}-{number}")
        for page in PAGES
        if page.name != "extending.md"
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.M | re.S), 1)
        if ("name" in yaml.safe_load(block)) == (key == "name")
    ]


@pytest.mark.parametrize("block", blocks("name"))
def test_every_recipe_is_read(block: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(block, encoding="utf-8")
    load_recipe(str(tmp_path / "recipe.yaml"))


@pytest.mark.parametrize("block", blocks("part"))
def test_every_part_of_a_recipe_is_read(block: str, tmp_path: Path) -> None:
    whole = {**load_recipe("world-quick").model_dump(mode="json"), **yaml.safe_load(block)}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    load_recipe(str(tmp_path / "recipe.yaml"))


def messages() -> list[str]:
    """Every text of the sources, with … for what is filled in."""
    texts = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_every_message_that_a_page_explains_is_one_of_the_code() -> None:
    texts = messages()
    explained = [
        (page.name, row[0].strip("`"))
        for page in PAGES
        for header, rows in tables(page)
        if header[0].startswith("message")
        for row in rows
        if row[0].startswith("`")
    ]
    assert len(explained) > 20
    patterns = {(page, m): re.compile(".*".join(map(re.escape, m.split("…"))), re.S) for page, m in explained}
    assert [key for key, pattern in patterns.items() if not any(map(pattern.search, texts))] == []


def test_every_figure_of_metrics_json_is_explained() -> None:
    figures = [measure.name for measures in measures_by_name().values() for measure in measures]
    keys = [key for row in table("scoring.md", "figure") for key in re.findall(r"`([^`]+)`", row[0])]
    patterns = [re.compile(re.sub(r"<\w+>", r"\\w+", key)) for key in keys]
    assert not [name for name in figures if not any(pattern.fullmatch(name) for pattern in patterns)]
    assert not [p.pattern for p in patterns if not any(p.fullmatch(name) for name in figures)]
