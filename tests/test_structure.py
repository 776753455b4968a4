"""What may import what, and what files are called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).parents[1]
PACKAGES = ("ssl_isda", "methods", "datasets")
OURS = {*PACKAGES, "run", "tests"}
FLOORS = ("base", "parallel", "models", "optim", "isda", "losses", "training")
CORE = tuple(
    sorted(
        str(path.relative_to(ROOT / "ssl_isda").with_suffix(""))
        for floor in FLOORS
        for path in (ROOT / "ssl_isda" / floor).rglob("*.py")
        if path.stem not in ("__init__", "shapes")
    )
)
EXTRAS = (
    *("pydantic", "torchvision", "sklearn", "wandb", "yaml", "filelock", "PIL", "tqdm", "scipy"),
    *("jaxtyping", "beartype", "matplotlib", "jinja2"),
)


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """The first word of every import below ``tree``, by statement or by text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield package_of(path) if node.level else (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value).split(".")[0]
            else:
                yield f"computed: {ast.unparse(node)}"


def imports(path: Path) -> set[str]:
    return set(imported(path, ast.parse(path.read_text("utf-8"))))


def test_the_walk_sees_every_kind_of_import() -> None:
    text = """
import a.b
from c.d import e
from . import sibling
def f():
    import g
    importlib.import_module("h.i")
    __import__("j")
    importlib.import_module(k + "l")
if TYPE_CHECKING:
    from m import n
"""
    found = set(imported(ROOT / "methods" / "new.py", ast.parse(text)))
    computed = "computed: importlib.import_module(k + 'l')"
    assert found == {"a", "c", "methods", "g", "h", "j", computed, "m"}


@pytest.mark.parametrize(
    ("package", "may_import"),
    [
        ("ssl_isda", {"ssl_isda"}),
        ("methods", {"ssl_isda", "methods"}),
        ("datasets", {"ssl_isda", "datasets"}),
    ],
)
def test_imports_run_one_way(package: str, may_import: set[str]) -> None:
    assert sources(package)
    for path in sources(package):
        assert imports(path) & OURS <= may_import, path


def test_no_import_is_computed_but_the_lazy_public_names() -> None:
    for path in sources(*PACKAGES):
        computed = {name for name in imports(path) if name.startswith("computed")}
        assert not computed or path == ROOT / "ssl_isda/__init__.py" or path.name == "cli.py", path
    import ssl_isda

    homes = set(ssl_isda._HOME.values())
    assert {home.split(".")[0] for home in homes} == {"ssl_isda"}


def test_no_method_imports_another() -> None:
    for path in sources("methods"):
        if path.name != "__init__.py":
            assert "methods" not in imports(path), path


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_torch_numpy_and_the_standard_library(module: str) -> None:
    """At its top level; ``shapes`` may ask whether jaxtyping is there."""
    path = ROOT / "ssl_isda" / f"{module}.py"
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            node.body = []  # type: ignore[assignment]
    allowed = {*sys.stdlib_module_names, "torch", "numpy", "ssl_isda"}
    assert set(imported(path, tree)) <= allowed


@pytest.mark.parametrize("part", ["commands/report", "commands/grid", "settings"])
def test_it_needs_no_torch_and_other_packages_only_where_it_uses_them(part: str) -> None:
    assert sources(f"ssl_isda/{part}")
    for path in sources(f"ssl_isda/{part}"):
        tree = ast.parse(path.read_text("utf-8"))
        at_top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        found = {name for node in at_top for name in imported(path, node)}
        assert found <= {
            *sys.stdlib_module_names,
            "ssl_isda",
            "pydantic",
            "pydantic_core",
            "numpy",
        }, path
        assert "torch" not in imports(path), path


def test_pip_installs_the_reports_template() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shipped = settings["tool"]["setuptools"]["package-data"]["ssl_isda.commands.report"]
    others = [
        path for path in (ROOT / "ssl_isda/commands/report").iterdir() if path.suffix == ".j2"
    ]
    assert shipped == ["*.j2"] and [path.name for path in others] == ["page.html.j2"]


@pytest.mark.parametrize("path", sources("methods"), ids=lambda path: path.stem)
def test_a_method_is_called_like_its_file_and_is_imported(path: Path) -> None:
    from ssl_isda import methods
    from ssl_isda.training.method import METHODS

    registered = {
        name for name in METHODS if METHODS[name].__module__ == f"ssl_isda.methods.{path.stem}"
    }
    if path.stem == "__init__":
        assert sorted(METHODS) == sorted(methods.__all__)
    else:
        assert registered == {path.stem}
        assert path.stem in methods.__all__


def test_pip_installs_ssl_isda_alone() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert settings["tool"]["setuptools"]["packages"]["find"] == {"include": ["ssl_isda*"]}
    assert [path.parent.name for path in ROOT.glob("ssl_isda*/__init__.py")] == ["ssl_isda"]
    for path in sources("ssl_isda"):
        assert (path.parent / "__init__.py").exists(), path
    names = [text.split(">")[0] for text in settings["project"]["dependencies"]]
    assert names == ["torch", "numpy"]


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
        }
    )


WITHOUT_EXTRAS = f"""
import sys
for name in {[*EXTRAS, "torch._dynamo"]!r}:  # the compiler takes longer to load than a first epoch
    sys.modules[name] = None
import importlib
for module in {CORE!r}:
    importlib.import_module("ssl_isda." + module.replace("/", "."))

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
        views = tuple(torch.randn(8, 1, 16, 16) for _ in range(regularizer.num_views))
        return Batch(images, labels, views, torch.arange(8))

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
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    from ssl_isda import methods

    assert [line for line in child.stdout.splitlines() if " " not in line] == methods.__all__
