"""Settings: their declaration, strict YAML, the methods' options, and the resolved file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ssl_isda.base.errors import UsageError
from ssl_isda.settings.components import read_methods
from ssl_isda.settings.config import (
    GROUPS,
    RUN_SETTINGS,
    WHERE_AND_HOW,
    Resolved,
    RunConfig,
    differing_settings,
    experiment_settings,
)
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.yaml_files import scalar, written

ROOT = Path(__file__).parents[3]
CONFIGS, METHODS = ROOT / "configs", ROOT / "methods"
DATASETS = ("cifar10", "cifar100", "svhn", "digits", "folder")


def run(*arguments: str, methods_dir: Path = METHODS) -> Resolved:
    where = {"methods": methods_dir, "configs": CONFIGS}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ssl_isda.settings.resolve.folder", where.__getitem__)
        return resolve(arguments)


def refusal(*arguments: str, methods_dir: Path) -> str:
    with pytest.raises(UsageError) as caught:
        run(*arguments, methods_dir=methods_dir)
    return str(caught.value)


# ---- declaration


def test_every_setting_stands_in_one_group_and_says_what_it_means() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(RunConfig.model_fields)
    assert all(setting.description.endswith(".") for setting in RUN_SETTINGS.values())


def test_a_config_is_typed_and_frozen() -> None:
    config = RunConfig(method="vat", data_dir="data")
    assert config.data_dir == Path("data")
    with pytest.raises(ValidationError):
        config.width = 2.0
    for wrong in ({"labels": True}, {"width": 0.0}, {"lables": 3}, {"flip": 1}):
        with pytest.raises(ValidationError):
            RunConfig(method="vat", **wrong)


def test_the_models_are_the_registered_ones() -> None:
    from ssl_isda.models import MODELS

    assert set(RUN_SETTINGS["model"].choices) == set(MODELS)


# ---- YAML

WORDS = {
    "learning_rate: 1e-3": {"learning_rate": 1e-3},
    "learning_rate: 1": {"learning_rate": 1.0},
    "labels: 010": {"labels": 10},
    "labels: null": {"labels": None},
    "labels: ~": {"labels": None},
    "labels: &n 7\nsteps: *n": {"labels": 7, "steps": 7},
    "\ufefflabels: 7\r\nisda: true\r\n": {"labels": 7, "isda": True},
    "runs_dir: off": {"runs_dir": Path("off")},
    "data_dir: '2024'": {"data_dir": Path("2024")},
    "methods: {vat:, pi_model: {width: 0.5}}": {"width": 1.0},
    "methods:\n  vat: {width: 0.5}\nwidth: 2.0": {"width": 0.5},
    "methods:": {},
    "lambda_0: 0.25": {"lambda_0": 0.25},  # a file may serve runs with ISDA and without
}


@pytest.mark.parametrize("content", WORDS)
def test_words_mean_what_they_seem_to(content: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes(content.encode())
    config = run("--method=vat", f"--config={file}").config
    assert {name: getattr(config, name) for name in WORDS[content]} == WORDS[content]


@given(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_a_written_value_reads_as_itself(value: object) -> None:
    back = scalar(written(value))
    assert back == value and type(back) is type(value)


# ---- the resolved file

PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(
    data_dir=PATHS,
    project=PATHS,
    method=st.sampled_from(sorted(read_methods(METHODS))),
    width=st.floats(1e-300, 1e300),
    steps=st.none() | st.integers(1, 10**17),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_resolved_file_gives_the_same_values_again(
    data_dir: str, project: str, method: str, width: float, steps: int | None, tmp_path: Path
) -> None:
    flags = [f"--data-dir={data_dir}", f"--wandb-project={project}", f"--width={width!r}"]
    first = run(f"--method={method}", f"--steps={steps or 'none'}", "--isda", *flags)
    file = tmp_path / "config.yaml"
    file.write_text(first.to_yaml(), "utf-8")
    again = run(f"--config={file}")
    assert again.config == first.config
    assert again.method_options == first.method_options
    assert differing_settings(file, first) == []


def test_a_source_of_two_lines_does_not_break_the_resolved_file(tmp_path: Path) -> None:
    mine = tmp_path / "my\nown.yaml"
    mine.write_text("labels: 500\n")
    lines = run("--method=vat", f"--config={mine}").to_yaml().splitlines()
    assert any(line.startswith("labels: 500  # from ") and "my\\nown" in line for line in lines)


# ---- what must agree on resume

VAT = "--method=vat --isda "
DIFFERENCES = {
    (VAT + "--labels=4000", "--method=vat --labels=1000 --epsilon=2 --split=./s.json"): [
        "isda: true there, false now",
        "labels: 4000 there, 1000 now",
        "split: null there, s.json now",
        "epsilon: 8.0 there, 2.0 now",
    ],
    (VAT, "--method=pi_model --isda"): ["method: 'vat' there, pi_model now"],
    (VAT + "without covariance", VAT): [],  # of an older version
    (VAT + "without covariance", VAT + "--covariance=shared"): [
        "covariance: not set there, shared now"
    ],
}


@pytest.mark.fault(14)
@pytest.mark.parametrize(("there", "now"), DIFFERENCES)
def test_fault_14_differing_settings_are_listed(there: str, now: str, tmp_path: Path) -> None:
    flags, _, left_out = there.partition("without ")
    lines = run(*flags.split()).to_yaml().splitlines(keepends=True)
    file = tmp_path / "config.yaml"
    file.write_text("".join(line for line in lines if not left_out or left_out not in line))
    assert differing_settings(file, run(*now.split())) == DIFFERENCES[there, now]


@pytest.mark.fault(36)
def test_fault_36_where_and_how_may_differ(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(run("--method=vat").to_yaml())
    now = run(
        *("--method=vat", "--device=cpu", "--precision=fp32", "--threads=3", "--wandb=disabled"),
        *("--runs-dir=elsewhere", "--data-dir=there", "--checkpoint-minutes=0"),
    )
    assert differing_settings(file, now) == []
    assert not set(GROUPS[WHERE_AND_HOW]) & set(experiment_settings(now))


# ---- the files that come with the project


@pytest.mark.parametrize("method", sorted(read_methods(METHODS)))
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_method_has_settings_on_every_data_set(dataset: str, method: str) -> None:
    by_flag = run(f"--dataset={dataset}", f"--method={method}")
    by_file = run(f"--config={CONFIGS / dataset}.yaml", f"--method={method}")
    assert by_flag.config == by_file.config
    assert by_flag.method_options == by_file.method_options


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_file_opens_with_the_table_and_a_command_and_repeats_no_default(dataset: str) -> None:
    text = (CONFIGS / f"{dataset}.yaml").read_text("utf-8")
    assert text.startswith("# ") and "Table 6" in text and "\n#   python run.py" in text
    command = next(line for line in text.splitlines() if line.startswith("#   python run.py"))
    assert run(*command.split()[3:]).config.dataset == dataset
    top = yaml.safe_load(text)
    for method, options in read_methods(METHODS).items():
        resolved = run(f"--dataset={dataset}", f"--method={method}")
        values = {**dict(resolved.config), **resolved.method_options}
        for name, setting in {**RUN_SETTINGS, **options}.items():
            if resolved.sources[name].endswith(".yaml") and name != "dataset":
                below = (
                    top[name] if values[name] != top.get(name, values[name]) else setting.default
                )
                assert values[name] != below, name


# ---- options of methods

METHOD = '''
import torch_that_does_not_exist
from dataclasses import dataclass
from typing import Literal

@dataclass(frozen=True)
class Config:
    """Options."""

    temperature: float = 0.5
    """T: temperature,
    in nats."""
    warm: bool = True
    rounds: int = -3
    target: Literal["hard", "soft"] = "soft"
    """Kind of target."""
    name: str | None = None
'''


def project(folder: Path, source: str = METHOD) -> Path:
    """A copy of the methods with one more: its file and a name in the import line."""
    methods = folder / "methods"
    shutil.copytree(METHODS, methods, ignore=shutil.ignore_patterns("__pycache__"))
    (methods / "mine.py").write_text(source)
    with (methods / "__init__.py").open("a") as package:
        package.write("\nfrom . import mine\n")
    return methods


def test_a_method_is_added_by_one_file_and_one_import(tmp_path: Path) -> None:
    methods_dir = project(tmp_path)
    options = read_methods(methods_dir)["mine"]
    assert options["temperature"].description == "T: temperature, in nats."
    assert options["warm"].description == ""
    words = "--method=mine --temperature -2 --no-warm --rounds=4 --name none"
    resolved = run(*words.split(), methods_dir=methods_dir)
    expected = {"temperature": -2.0, "warm": False, "rounds": 4, "target": "soft", "name": None}
    assert resolved.method_options == expected
    line = refusal("--method=mine", "--target=sofd", methods_dir=methods_dir)
    assert line == "--target must be 'hard' or 'soft', got 'sofd'; did you mean 'soft'?"
    line = refusal("--method=vat", "--no-warm", methods_dir=methods_dir)
    assert line == "--no-warm is an option of mine, not of vat"
    (methods_dir / "mine.py").unlink()
    assert "mine.py: cannot be read" in refusal("--method=vat", methods_dir=methods_dir)


FLOAT = "float = 0.5"
WRONG_OPTIONS = {
    (FLOAT, "float = 1 / 2"): "methods/mine.py:10: temp",
    (FLOAT, "float"): "a plain default",
    (FLOAT, "list[int] = 0"): "needs a type of float",
    (FLOAT, "float = 'x'"): "must be a number, got 'x'",
    (FLOAT, "Annotated[float, Interval(gt=1)] = 0.5"): "must be greater than 1, got 0.5",
    (FLOAT, "Annotated[float, Interval(1)] = 0.5"): "needs a type of float",
    (FLOAT, "Annotated[float, Interval(above=1)] = 0.5"): "needs a type of float",
    (FLOAT, "Annotated[float, 'positive'] = 0.5"): "needs a type of float",
    ("temperature", "labels"): "labels is a setting of every run",
    ("warm: bool = True", "epsilon: bool = True"): "epsilon is a bool in only one of vat and",
    ("class Config:", "class Config"): "mine.py:7: not valid Python",
}


@pytest.mark.parametrize(("old", "new"), WRONG_OPTIONS)
def test_an_option_that_cannot_be_is_refused(old: str, new: str, tmp_path: Path) -> None:
    methods_dir = project(tmp_path, METHOD.replace(old, new))
    assert WRONG_OPTIONS[old, new] in refusal("--method=vat", methods_dir=methods_dir)


def test_two_methods_may_have_an_option_of_one_name_and_kind(tmp_path: Path) -> None:
    methods_dir = project(tmp_path, METHOD.replace("temperature", "epsilon"))
    assert run("--method=mine", "--epsilon=1", methods_dir=methods_dir)
