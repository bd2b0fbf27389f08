"""The import rule and the promises of the layout, read from the sources."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "seelevel"
STAGES = {"generate", "check", "feedback", "align", "evaluate", "report"}
CORE = {
    "errors",
    "ladder",
    "lookup",
    "store",
    "progress",
    "images",
    "formats",
    "judge",
    "templates",
    "nlf",
    "models",
    "language",
    "training",
}
TOP = {"recipe", "naming", "examine", "stages", "pipeline", "forecast", "chat", "terminal", "scoring", "cli"}
KNOW_THE_WORLD = {"naming", "pipeline", "forecast", "cli", "world"}


def imports():
    """(file, imported seelevel area) for every import anywhere in the sources."""
    for path in SOURCE.rglob("*.py"):
        package = ["seelevel", *path.relative_to(SOURCE).parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                names = [f"{module}.{alias.name}" for alias in node.names] if module == "seelevel" else [module]
            elif isinstance(node, ast.Constant) and re.fullmatch(r"seelevel(\.\w+)+:\w+", str(node.value)):
                names = [node.value.split(":")[0]]
            else:
                continue
            for name in names:
                parts = name.split(".")
                if parts[0] == "seelevel" and len(parts) > 1:
                    yield path.relative_to(SOURCE), parts[1]


def area(path):
    return path.parts[0].removesuffix(".py")


def test_every_module_stands_in_a_known_area():
    areas = {area(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py")} - {"__init__"}
    assert areas <= STAGES | CORE | TOP | {"world"}


def test_stages_import_core_and_never_another_stage():
    wrong = [(str(p), a) for p, a in imports() if area(p) in STAGES and a not in CORE | {area(p), "__version__"}]
    assert wrong == []


def test_core_imports_only_core():
    wrong = [(str(p), a) for p, a in imports() if area(p) in CORE and a not in CORE]
    assert wrong == []


def test_the_world_imports_only_core():
    wrong = [(str(p), a) for p, a in imports() if area(p) == "world" and a not in CORE | {"world"}]
    assert wrong == []


def test_only_the_top_knows_the_world():
    wrong = [(str(p), a) for p, a in imports() if a == "world" and area(p) not in KNOW_THE_WORLD]
    assert wrong == []


def test_no_module_of_core_or_a_stage_speaks_of_the_world_by_name():
    wrong = [
        str(p.relative_to(SOURCE))
        for p in SOURCE.rglob("*.py")
        if area(p.relative_to(SOURCE)) in STAGES | CORE and '"world:' in p.read_text()
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "module", ["seelevel", "seelevel.cli", "seelevel.recipe", "seelevel.pipeline", "seelevel.report"]
)
def test_light_modules_import_no_torch(module):
    code = f"import {module}, sys; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'spacy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_file_is_called_utils():
    assert not [p for p in SOURCE.rglob("*.py") if p.stem in {"utils", "helpers", "common", "misc"}]


def test_every_tracked_weight_is_safetensors():
    suffixes = {p.suffix for p in SOURCE.rglob("*") if p.is_file()}
    assert not suffixes & {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def test_nothing_asks_for_remote_code_by_default():
    assert not [p for p in SOURCE.rglob("*.py") if "trust_remote_code=True" in p.read_text()]
