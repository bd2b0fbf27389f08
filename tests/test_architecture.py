"""The import rule and the promises of the layout, read from the sources."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "seelevel"
STAGES = {"generate", "check", "feedback", "align", "evaluate", "report"}
GROUND = {
    "errors",
    "opening",
    "facts",
    "progress",
    "run_log",
    "registry",
    "notes",
    "ladder",
    "levels",
    "fingerprints",
    "store",
    "templates",
    "thoughts",
    "sandbox",
    "deadline",
    "json_text",
    "yaml_text",
    "images",
    "image_store",
    "engine",
}
CORE = GROUND | {"formats", "language", "models", "judge", "scorers", "training"}
TOP = {
    "complaints",
    "recipe",
    "naming",
    "preflight",
    "stages",
    "pipeline",
    "forecast",
    "launch",
    "export",
    "chat",
    "compare",
    "harness",
    "view",
    "cli",
}
KNOW_THE_WORLD = {"naming", "pipeline", "cli", "world"}
LINES_PER_FILE, LINES_PER_FUNCTION = 350, 60


@cache
def modules():
    """Path by module name."""
    names = {p: ".".join(p.relative_to(SOURCE.parent).with_suffix("").parts) for p in SOURCE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(module):
    """The modules of the package that a module imports anywhere, lazily or by a "module:function" string."""
    targets = set()
    for node in ast.walk(tree(modules()[module])):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                targets.add(inner if inner in modules() else node.module)
        elif isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"seelevel(\.\w+)+:\w+", str(node.value)):
            targets.add(node.value.split(":")[0])
    return frozenset(targets & modules().keys() - {module, "seelevel"})


def area(module):
    return module.split(".")[1] if "." in module else ""


@cache
def imports():
    """(module, area of a module that it imports) over all modules, without imports inside an area."""
    pairs = ((module, area(target)) for module in modules() for target in imported(module))
    return sorted({(module, to) for module, to in pairs if to != area(module)})


def levels(graph):
    """Level 0 imports nothing of the graph, level n + 1 imports level n. A circle raises ValueError with its names."""
    level, path = {}, []

    def climb(name):
        if name in path:
            raise ValueError(" → ".join([*path[path.index(name) :], name]))
        if name not in level:
            path.append(name)
            level[name] = 1 + max((climb(below) for below in sorted(graph.get(name, ()))), default=-1)
            path.pop()
        return level[name]

    for name in graph:
        climb(name)
    return level


def test_files_import_each_other_without_circles():
    levels({module: imported(module) for module in modules()})


def test_areas_import_each_other_without_circles():
    graph = {area(module): set() for module in modules() if module != "seelevel"}
    for module, to in imports():
        graph.setdefault(area(module), set()).add(to)
    graph.pop("", None)
    by_level = levels(graph)
    print()
    for number in range(max(by_level.values()) + 1):
        print(number, " ".join(sorted(name for name, level in by_level.items() if level == number)))


def test_a_circle_is_found_and_named():
    with pytest.raises(ValueError, match="a → b → a"):
        levels({"a": {"b"}, "b": {"a"}})


def test_every_module_stands_in_a_known_area():
    assert {area(module) for module in modules()} - {"", "__main__"} == STAGES | CORE | TOP | {"world"}


def test_the_ground_imports_only_the_ground():
    assert [(m, to) for m, to in imports() if area(m) in GROUND and to not in GROUND] == []


def test_core_imports_only_core():
    assert [(m, to) for m, to in imports() if area(m) in CORE and to not in CORE] == []


def test_stages_import_core_and_never_another_stage():
    assert [(m, to) for m, to in imports() if area(m) in STAGES and to not in CORE] == []


def test_the_world_imports_only_core():
    assert [(m, to) for m, to in imports() if area(m) == "world" and to not in CORE] == []


def test_only_the_top_knows_the_world():
    assert [(m, to) for m, to in imports() if to == "world" and area(m) not in KNOW_THE_WORLD] == []


def test_objectives_import_no_packer():
    wrong = [
        (module, target)
        for module in modules()
        if module.startswith("seelevel.training.objectives")
        for target in imported(module)
        if not target.startswith(
            ("seelevel.training.objectives", *(f"seelevel.{name}" for name in CORE - {"training"}))
        )
    ]
    assert wrong == []


def test_no_module_of_core_or_a_stage_speaks_of_the_world_by_name():
    wrong = [m for m, path in modules().items() if area(m) in STAGES | CORE and '"world:' in path.read_text()]
    assert wrong == []


def test_no_file_and_no_function_is_long():
    files = {str(p): p.read_text().count("\n") for p in modules().values()}
    functions = {
        f"{path.relative_to(SOURCE)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in modules().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: lines for name, lines in files.items() if lines > LINES_PER_FILE} == {}
    assert {name: lines for name, lines in functions.items() if lines > LINES_PER_FUNCTION} == {}


@pytest.mark.parametrize(
    "module",
    [
        "seelevel",
        "seelevel.cli",
        "seelevel.recipe",
        "seelevel.pipeline",
        "seelevel.evaluate",
        "seelevel.report.page",
    ],
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


def test_the_quick_tests_touch_every_area():
    """`make quick` runs the tests of tests/quick.txt: an area has a test file or a file that imports it."""
    names = {line.partition("::")[0] for line in (ROOT / "tests" / "quick.txt").read_text().split()}
    used = {part.removeprefix("test_").removesuffix(".py") for name in names for part in name.split("/")[1:2]}
    for name in names:
        for node in ast.walk(tree(ROOT / name)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seelevel"):
                used |= {area(node.module)} if "." in node.module else {alias.name for alias in node.names}
    assert sorted({area(module) for module in modules()} - {"", "__main__"} - used) == []
