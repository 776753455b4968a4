"""What may import what, and what files are called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ssl_isda", "methods", "datasets")

MATHEMATICS = {"base", "parallel", "models", "tasks", "optim", "losses", "isda", "data"}
OF_RUNS = {"runs.checkpoint", "runs.memory", "runs.metrics", "runs.tracking"}
"""What of a run's folder the training knows."""

MAY_IMPORT: dict[str, set[str]] = {
    "old_names": set(),
    "base": set(),
    "parallel": {"base"},
    "models": {"base", "parallel"},
    "tasks": {"base", "parallel", "models"},
    "optim": {"base", "models"},
    "isda": {"base", "parallel", "models", "tasks", "old_names"},
    "losses": {"base", "parallel", "models", "optim", "tasks", "old_names"},
    "data": {"base", "parallel"},
    "settings": {"base", "isda.config"},
    "runs": {"base", "parallel", "settings"},
    "results": {"base", "settings", "runs"},
    "training": MATHEMATICS | OF_RUNS,
    "generators": {"base", "data", "runs.checkpoint"},
    "methods": {"training", "losses", "base", "data", "parallel"},
    "datasets": {"base", "data"},
    "plugins": {"base", "data", "methods", "datasets"},
    "assembly": MATHEMATICS | {"settings", "runs", "results", "training", "plugins", "generators"},
    "commands": MATHEMATICS
    | {"settings", "runs", "results", "training", "plugins", "generators", "assembly"},
    "api": {"base", "data", "settings", "runs", "training", "assembly", "commands.train"},
    "estimator": {
        *("base", "data", "settings", "runs", "assembly", "api"),
        *("commands.train_one",),
    },
    "cli": {"base", "parallel", "settings", "commands"},
    "__main__": {"cli"},
}
"""The floors: folders, and the loose files of the package, with what each may import of the others."""

COMPUTED = {"__init__", "cli", "old_names", "plugins", "settings"}
"""Where imports stand that no reader can see: public names, commands, old names, a user's plugin."""

CORE = {*MATHEMATICS, "training", "generators", "old_names"}
"""Floors that run with torch and numpy alone, as far as their files are imported."""

WITHOUT_TORCH = {"settings", "results", "cli", "api", "old_names", "__init__"}
"""Floors that answer without torch."""


def floor_of(path: Path) -> str:
    """``losses`` for ``ssl_isda/losses/focal.py``, ``cli`` for ``ssl_isda/cli.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "ssl_isda" else parts[0]


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def module_of(path: Path) -> list[str]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return list(parts if parts[0] == "ssl_isda" else ("ssl_isda", *parts))


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """The full name of every module below ``tree``, by statement or by text, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = module_of(path)[: -node.level] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and "import" in ast.unparse(node.func):
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)
            else:
                yield f"computed: {ast.unparse(node)}"


def at_the_top(path: Path) -> set[str]:
    """What importing a file imports at once: nothing in functions, nothing for type checkers alone."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if is_function or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            node.body = []  # type: ignore[attr-defined]
    return set(imported(path, tree))


def imports(path: Path) -> set[str]:
    return set(imported(path, ast.parse(path.read_text("utf-8"))))


def is_allowed(name: str, floor: str) -> bool:
    """Whether a file of this floor may import the module ``name``, one of ours or not."""
    words = name.split(".")
    if words[0] != "ssl_isda":
        return words[0] not in {"methods", "datasets", "run", "tests"}
    if words[1:] in ([], ["__version__"]) or words[1] == floor:
        return True
    allowed = MAY_IMPORT[floor]
    return words[1] in allowed or ".".join(words[1:3]) in allowed


def test_the_walk_sees_every_kind_of_import() -> None:
    text = """
import a.b
from c.d import e
from . import sibling
from ..losses import focal
def f():
    import g
    importlib.import_module("h.i")
    __import__("j")
    importlib.import_module(k + "l")
if TYPE_CHECKING:
    from m import n
"""
    path = ROOT / "ssl_isda" / "training" / "new.py"
    found = set(imported(path, ast.parse(text)))
    computed = "computed: importlib.import_module(k + 'l')"
    ours = {"ssl_isda.training.sibling", "ssl_isda.losses.focal"}
    assert found == {"a.b", "c.d.e", *ours, "g", "h.i", "j", computed, "m.n"}
    assert not is_allowed("ssl_isda.methods.vat", "training")
    assert not is_allowed("ssl_isda.runs.result", "training")
    assert is_allowed("ssl_isda.runs.tracking.Tracker", "training")


def test_the_floors_have_no_circle() -> None:
    floors = {a: {b.split(".")[0] for b in below} for a, below in MAY_IMPORT.items()}
    TopologicalSorter(floors).prepare()
    assert {floor_of(path) for path in sources(*PACKAGES)} - {"__init__"} <= floors.keys()


@pytest.mark.parametrize("floor", MAY_IMPORT)
def test_imports_run_down_the_floors(floor: str) -> None:
    for path in sources(*PACKAGES):
        if floor_of(path) == floor:
            refused = {name for name in imports(path) if not is_allowed(name, floor)}
            assert not refused, path


def test_imports_that_are_computed_stand_in_named_files() -> None:
    found = {
        floor_of(path)
        for path in sources(*PACKAGES)
        for name in imports(path)
        if name.startswith("computed")
    }
    assert found <= COMPUTED
    from ssl_isda import cli

    assert all(each.module.startswith("ssl_isda.commands.") for each in cli.COMMANDS.values())


@pytest.mark.parametrize("kind", ["methods", "datasets", "ssl_isda.commands"])
def test_neither_methods_nor_data_sets_nor_commands_know_each_other(kind: str) -> None:
    """A command may start trainings: all know ``train``."""
    start = kind if kind.startswith("ssl_isda") else f"ssl_isda.{kind}"
    depth = len(start.split("."))
    for path in sources(kind.replace(".", "/")):
        mine = module_of(path)[depth]
        others = {name.split(".")[depth] for name in imports(path) if name.startswith(f"{start}.")}
        parts = {"train_one", "shared_data"} if mine == "train" else set()
        known = {mine, "train", *parts}
        assert mine == "__init__" or others <= known, path


def test_the_core_imports_torch_numpy_and_the_standard_library() -> None:
    allowed = {*sys.stdlib_module_names, "torch", "numpy", "ssl_isda"}
    core = [path for path in sources("ssl_isda", "methods") if floor_of(path) in CORE | {"methods"}]
    runs = [ROOT / f"ssl_isda/{each.replace('.', '/')}.py" for each in OF_RUNS]
    for path in [*core, *runs]:
        if path.name == "shapes.py":
            continue  # it asks whether jaxtyping is there
        assert {name.split(".")[0] for name in at_the_top(path)} <= allowed, path


def test_what_answers_at_once_imports_no_torch() -> None:
    for path in sources("ssl_isda"):
        if floor_of(path) in WITHOUT_TORCH:
            assert "torch" not in {name.split(".")[0] for name in at_the_top(path)}, path


@pytest.mark.parametrize("command", ["report", "grid"])
def test_reports_and_grids_never_import_torch(command: str) -> None:
    assert sources(f"ssl_isda/commands/{command}")
    for path in sources(f"ssl_isda/commands/{command}"):
        assert "torch" not in {name.split(".")[0] for name in imports(path)}, path


def test_loose_files_are_a_handful_that_the_package_names() -> None:
    tree = ast.parse((ROOT / "ssl_isda/__init__.py").read_text("utf-8"))
    loose = {path.stem for path in (ROOT / "ssl_isda").glob("*.py")} - {"__init__", "__main__"}
    text = ast.get_docstring(tree) or ""
    assert len(loose) == 4 and all(f"``{name}``" in text for name in loose)
    assert len((ROOT / "run.py").read_text("utf-8").splitlines()) <= 40


def test_each_folder_says_what_lives_there_and_what_it_may_import() -> None:
    folders = {path.parent for path in sources(*PACKAGES)} - {ROOT / "ssl_isda"}
    for folder in folders:
        init = folder / "__init__.py"
        text = ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""
        is_floor = folder.parent in (ROOT, ROOT / "ssl_isda")
        assert len(text.split()) > 8 and ("import" in text or not is_floor), init


def test_a_method_is_called_like_its_file_and_is_imported() -> None:
    from ssl_isda import methods
    from ssl_isda.training.method import METHODS

    files = {path.stem for path in sources("methods")} - {"__init__"}
    shipped = {n for n in METHODS if METHODS[n].__module__ == f"ssl_isda.methods.{n}"}
    assert shipped == files == set(methods.__all__)


def test_file_names_say_what_is_inside() -> None:
    vague = {"util", "utils", "helper", "helpers", "misc", "common", "tools", "lib"}
    paths = [*sources(*PACKAGES, "tests"), *(ROOT / name for name in PACKAGES)]
    assert not [path for path in paths if set(path.stem.split("_")) & vague]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows which files are ours")
def test_the_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {name.split("/")[0] for name in listed}
    assert (
        {"ssl_isda", "run.py", "README.md"}
        <= top
        <= {
            *("ssl_isda", "methods", "datasets", "run.py", "configs", "tests", "README.md", "docs"),
            *("pyproject.toml", "Makefile", "CHANGELOG.md", "LICENSE", ".ci", ".gitignore"),
            *("CITATION.cff", "MANIFEST.in", "mkdocs.yml"),
        }
    )


EXTRAS = (
    *("pydantic", "torchvision", "sklearn", "wandb", "yaml", "filelock", "PIL", "tqdm", "scipy"),
    *("jaxtyping", "beartype", "matplotlib", "jinja2", "pooch", "rich"),
)
WITHOUT_EXTRAS = f"""
import sys
for name in {[*EXTRAS, "torch._dynamo"]!r}:  # the compiler takes longer to load than a first epoch
    sys.modules[name] = None
import importlib
for module in sys.argv[2:]:
    importlib.import_module(module)

from pathlib import Path
import torch
from ssl_isda import methods
from ssl_isda.data.batch import Batch
from ssl_isda.models import CNN13
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.training.objective import Objective
from ssl_isda.training.method import METHODS
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.trainer import Trainer, TrainerConfig

torch.set_num_threads(1)
torch.manual_seed(0)
images, labels = torch.randn(8, 1, 16, 16), torch.arange(8) % 2

class Data:
    def batch(self, step):
        views, labeled = (
            tuple(torch.randn(8, 1, 16, 16) for _ in each)
            for each in (regularizer.views, regularizer.labeled_views)
        )
        return Batch(images, labels, views, torch.arange(8), labeled)

for name in methods.__all__:
    student = CNN13(2, width=0.05, in_channels=1)
    config = getattr(methods, name).Config()
    regularizer = METHODS[name](config, student=student, num_images=8, num_classes=2)
    objective = Objective(regularizer, IsdaConfig(), 2, student.head.in_features)
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    evaluations = {{"test": lambda: [(images, labels)]}}
    before = [p.detach().clone() for p in student.parameters()]
    trainer = Trainer(student, objective, Data(), evaluations, TrainerConfig(2, 1, 16), Tracker(folder))
    trainer.run()
    assert not all(map(torch.equal, before, student.parameters())), name
    print(name)
"""


@pytest.mark.slow
def test_the_core_trains_every_method_without_any_extra(tmp_path: Path) -> None:
    paths = [path for path in sources("ssl_isda") if floor_of(path) in CORE - {"data"}]
    core = [".".join(module_of(path)).removesuffix(".__init__") for path in paths]
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, str(tmp_path), *core],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    from ssl_isda import methods

    assert [line for line in child.stdout.splitlines() if " " not in line] == methods.__all__
