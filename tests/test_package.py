"""What pip installs is the whole product, whichever way it is built, and it works in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from ssl_isda import old_names
from tests.commands import CELL, ENVIRONMENT, ROOT, SUPERVISED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MOVED_INSIDE = ("configs", "datasets", "methods")
"""Folders of the repository's top that an installed package has inside."""
BUILD = (
    "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
)


def build(kind: str, source: Path, target: Path) -> Path:
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=200)
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a source distribution of a copy of this project."""
    copy, target = (tmp_path_factory.mktemp(name) for name in ("copy", "wheel"))
    unpacked = tmp_path_factory.mktemp("sdist")
    for name in ("ssl_isda", *MOVED_INSIDE):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for path in [*ROOT.glob("*.*"), ROOT / "LICENSE", ROOT / "Makefile"]:
        if path.is_file():
            shutil.copy(path, copy)
    with tarfile.open(build("sdist", copy, tmp_path_factory.mktemp("dist"))) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return build("wheel", source, target)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment that finds the wheel's content, and other packages of the old names before it."""
    folder, others = (tmp_path_factory.mktemp(name) for name in ("site", "others"))
    zipfile.ZipFile(wheel).extractall(folder)
    for name in ("datasets", "methods"):
        (others / f"{name}.py").write_text("raise SystemExit('the other')\n")
    return ENVIRONMENT | {"PYTHONPATH": f"{others}{os.pathsep}{folder}", "PYTHONSAFEPATH": "1"}


def python(*arguments: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=200)


def test_the_list_of_packages_is_complete() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "ssl_isda").rglob("*.py")}
    expected = {".".join(folder.parts) for folder in folders}
    inside = {f"ssl_isda.{name}" for name in MOVED_INSIDE}
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == expected | inside


def test_the_core_needs_torch_and_numpy_alone() -> None:
    project = SETTINGS["project"]
    assert [text.split(">")[0] for text in project["dependencies"]] == ["torch", "numpy"]
    from ssl_isda import __version__

    assert project["version"] == __version__
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_a_source_distribution_gives_a_wheel_with_every_file(wheel: Path) -> None:
    listed = [
        *(ROOT / "ssl_isda").rglob("*"),
        *(path for name in MOVED_INSIDE for path in (ROOT / name).glob("*")),
    ]
    ours = {str(path.relative_to(ROOT)) for path in listed if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    moved = {f"ssl_isda/{name}" if name.startswith(MOVED_INSIDE) else name for name in ours}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == moved
    assert {"ssl_isda/py.typed", "ssl_isda/configs/digits.yaml"} <= packed


@pytest.mark.slow
@pytest.mark.fault(28)
def test_fault_28_what_is_installed_trains_in_an_empty_folder(
    installed: dict[str, str], tmp_path: Path
) -> None:
    """The command, its shipped settings by name, and the Python interface, on one run folder."""
    done = python("-m", "ssl_isda", *SUPERVISED, cwd=tmp_path, env=installed)
    assert (done.returncode, done.stderr) == (0, "")
    text = (
        "import ssl_isda\n"
        f"run = ssl_isda.train({as_keywords(SUPERVISED)}, quiet=True)\n"
        "print(run.path, ssl_isda.__path__)"
    )
    again = python("-c", text, cwd=tmp_path, env=installed)
    site = installed["PYTHONPATH"].split(os.pathsep)[1]
    assert (again.stdout, again.stderr) == (f"{CELL} ['{site}/ssl_isda']\n", "")


@pytest.mark.parametrize(
    "words",
    [
        "--config configs/cifar10_small.yaml --method vat --print-config",
        "--config svhn.yaml --method vat --print-config",
        "grid configs/table6.yaml --print-commands",
    ],
)
def test_shipped_settings_are_found_by_name_from_any_folder(
    words: str, installed: dict[str, str], tmp_path: Path
) -> None:
    shown = python("-m", "ssl_isda", *words.split(), cwd=tmp_path, env=installed)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert len(shown.stdout.splitlines()) > 30


def as_keywords(arguments: list[str]) -> str:
    """The Python for these flags, each with a value."""
    flags = zip(arguments[::2], arguments[1::2], strict=True)
    return ", ".join(f"{flag[2:].replace('-', '_')}={value!r}" for flag, value in flags)


def test_without_the_extra_the_command_says_so(installed: dict[str, str], tmp_path: Path) -> None:
    """The console command calls ``program``; here pydantic, yaml and the others are not there."""
    assert SETTINGS["project"]["scripts"] == {"ssl-isda": "ssl_isda.cli:program"}
    text = (
        "import sys; sys.modules.update(pydantic=None, yaml=None)\n"
        "sys.argv = ['ssl-isda', '--method', 'vat']\n"
        "from ssl_isda.cli import program; sys.exit(program())"
    )
    refused = python("-c", text, cwd=tmp_path, env=installed)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "'pydantic' is missing" in refused.stderr and "[run]" in refused.stderr


@pytest.mark.parametrize("old", old_names.MOVED)
def test_imports_of_the_first_version_still_work(old: str) -> None:
    import_module(f"ssl_isda.{old}")
    for home in old_names.MOVED[old].split():
        import_module(f"ssl_isda.{home}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("checkpoint.load_latest", "runs.checkpoint.load_latest"),
        ("losses.isda_cross_entropy", "isda.propositions.isda_cross_entropy"),
        ("losses.softmax_kl", "losses.consistency.softmax_kl"),
        ("isda.IsdaTerms", "isda.terms.IsdaTerms"),
        ("models.registry.MODELS", "models.contract.MODELS"),
        ("tsne.Panel", "results.scatter.Panel"),
        ("tsne.draw", "results.scatter.draw"),
    ],
)
def test_names_of_the_first_version_are_the_same_objects(old: str, new: str) -> None:
    module, name = f"ssl_isda.{old}".rsplit(".", 1)
    home, known = f"ssl_isda.{new}".rsplit(".", 1)
    with pytest.warns(DeprecationWarning, match=f"{home}.{known} is its name since version 0.2"):
        found = getattr(import_module(module), name)
    assert found is getattr(import_module(home), known)


def test_a_method_of_the_first_version_finds_its_base_class() -> None:
    with pytest.warns(DeprecationWarning):
        from ssl_isda.regularizer import METHODS, Method
    assert all(issubclass(METHODS[name], Method) for name in METHODS)


def test_public_names_are_where_the_table_says() -> None:
    import ssl_isda

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {name: getattr(ssl_isda, name) for name in ssl_isda.__all__}
    assert set(ssl_isda.__all__) <= set(dir(ssl_isda))
    assert {"vat", "mean_teacher"} <= set(ssl_isda.METHODS)
    assert {"digits", "cifar10"} <= set(ssl_isda.DATASETS)
    assert {"weak", "cutout"} <= set(ssl_isda.AUGMENTATIONS)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ssl_isda.trian
