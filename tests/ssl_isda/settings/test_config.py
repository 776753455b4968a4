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
    FLAG_ONLY,
    GROUPS,
    RUN_SETTINGS,
    WHERE_AND_HOW,
    Resolved,
    RunConfig,
    differing_settings,
    experiment_settings,
)
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.yaml_files import LARGEST_FILE, scalar, written

ROOT = Path(__file__).parents[3]
CONFIGS, METHODS = ROOT / "configs", ROOT / "methods"


def run(*arguments: str, methods_dir: Path = METHODS, configs_dir: Path = CONFIGS) -> Resolved:
    where = {"methods": methods_dir, "configs": configs_dir}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ssl_isda.settings.resolve.folder", where.__getitem__)
        return resolve(arguments)


def refusal(*arguments: str, **where: Path) -> str:
    with pytest.raises(UsageError) as caught:
        run(*arguments, **where)
    line = str(caught.value)
    assert line.isprintable()
    return line


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


# ---- strict YAML

BAD_FILES = {
    "lables: 4000": ["my.yaml:1", "'lables'", "did you mean 'labels'"],
    "isda: true\nlearning-rate: 0.1": ["my.yaml:2", "did you mean 'learning_rate'"],
    "labels: true": ["my.yaml:1: labels must be an integer", "got true"],
    "labels: '4000'": ["my.yaml:1: labels must be an integer", "got '4000'"],
    "labels: 4000.0": ["labels must be an integer", "got 4000.0"],
    "labels: 1_000": ["labels must be an integer", "got '1_000'"],
    "labels: " + "9" * 5000: ["labels must be an integer", "..."],
    'wandb_project: "\\ud800"': ["wandb_project must be text of UTF-8"],
    "labels: [4000]": ["labels must be an integer", "got a list"],
    "labels: {a: 1}": ["labels must be an integer", "got a mapping"],
    "labels: 2001-01-01": ["labels must be an integer", "'2001-01-01'"],
    "epochs: 6:40": ["epochs must be an integer", "'6:40'"],
    "isda: yes": ["isda must be true or false", "got 'yes'"],
    "isda: on": ["isda must be true or false", "got 'on'"],
    "isda: 1": ["isda must be true or false", "got 1"],
    "isda:": ["isda must be true or false", "got nothing"],
    "width: 0": ["width must be greater than 0", "got 0"],
    "width: .nan": ["width must be a finite number", "got .nan"],
    "width: -.inf": ["width must be a finite number", "got -.inf"],
    "width: 1e999": ["width must be a finite number"],
    "width: '1'": ["width must be a number", "got '1'"],
    "covariance: diag": ["'diagonal'", "got 'diag'", "did you mean"],
    "data_dir: 2024": ["data_dir must be a path", "in quotes"],
    "data_dir: ''": ["data_dir must be a path", "nothing"],
    'data_dir: "a\\0b"': ["data_dir must be a path of UTF-8"],
    "wandb_project: 1.5": ["wandb_project must be text", 'in quotes: "1.5"'],
    "method: 3": ["method must be text"],
    "method: vta": ["my.yaml:1: method", "did you mean 'vat'"],
    "dataset: svnh": ["my.yaml:1: dataset", "did you mean 'svhn'"],
    "fresh: true": ["my.yaml:1: fresh can only be a flag, --fresh"],
    "labels: 1\nisda: true\nlabels: 2": ["my.yaml:3", "'labels' is set twice", "line 1"],
    "methods: {vat: {xi: 1.0, xi: 2.0}}": ["my.yaml:1", "'xi' is set twice"],
    "methods:\n  vat: {}\n  vat: {}": ["my.yaml:3", "'vat' is set twice"],
    "methods:\n  vta: {}": ["my.yaml:2", "'vta'", "did you mean 'vat'"],
    "methods: vat": ["my.yaml:1", "'name: value' lines", "'vat'"],
    "methods: [vat]": ["my.yaml:1", "got a list"],
    "methods:\n  vat: 3": ["my.yaml:2", "got '3'"],
    "methods:\n  vat:\n    epsilom: 3": ["my.yaml:3", "of vat", "did you mean 'epsilon'"],
    "methods:\n  pi_model:\n    epsilon: 3.0": ["my.yaml:3", "of pi_model", "'epsilon'"],
    "methods:\n  mean_teacher:\n    ema_decay: high": ["my.yaml:3: ema_decay must be a number"],
    "methods:\n  vat:\n    dataset: svhn": ["my.yaml:3", "of vat 'dataset'"],
    "epsilon: 3.0": ["my.yaml:1: epsilon belongs under 'methods:', 'vat:'"],
    "": ["my.yaml is empty"],
    "# nothing\n": ["my.yaml is empty"],
    "- labels": ["my.yaml:1", "got a list"],
    "labels": ["my.yaml:1", "'name: value' lines", "'labels'"],
    "1: 2": ["my.yaml:1", "'1'"],
    "? [a]\n: 1": ["my.yaml:1", "a key is one word, got a list"],
    "labels: 1\n---\nlabels: 2": ["my.yaml:2", "not valid YAML"],
    "labels: 1\n  isda: true": ["my.yaml:2", "not valid YAML"],
    "labels:\t\t'x": ["my.yaml:", "not valid YAML"],
    "a: *b": ["my.yaml:1", "not valid YAML", "alias"],
    "labels: 1\nisda: \x07": ["my.yaml:2", "not valid YAML", "#x07"],
    "labels: !!python/object/apply:os.system ['touch HIT']": ["my.yaml:1", "tags", "python"],
    "!!python/name:os.system labels: 1": ["my.yaml:1", "tags"],
    "labels: !!float 1": ["my.yaml:1", "tags"],
    "labels: " + "[" * 20_000: ["my.yaml", "nested too deep"],
    "labels: 1\n#" + "x" * LARGEST_FILE: ["my.yaml", "64 KB"],
    "a: &a [x,x]\nb: &b [*a,*a]\nlabels: *b": ["my.yaml:1", "'a'"],
    "labels: &a [x,x]\nsteps: &b [*a,*a]": ["my.yaml:1: labels", "got a list"],
    "labels: &a [*a]": ["my.yaml:1: labels", "got a list"],
    "<<: {labels: 1}": ["my.yaml:1", "'<<'"],
}


@pytest.mark.fault(26)
@pytest.mark.parametrize("content", BAD_FILES, ids=lambda content: repr(content[:40]))
def test_fault_26_a_bad_file_is_refused_in_one_line(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(content, "utf-8")
    line = refusal("--config=my.yaml", *([] if "method:" in content else ["--method=vat"]))
    assert all(words in line for words in BAD_FILES[content]), line
    assert len(line) < 250
    assert not Path("HIT").exists()


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"labels: 1\n# caf\xe9", "my.yaml:2: byte 0xe9 is not UTF-8"),
        ("labels: 1".encode("utf-16"), "my.yaml:1: byte 0xff is not UTF-8"),
        (b"\x80\x04\x95pickle", "my.yaml:1: byte 0x80 is not UTF-8"),
    ],
)
def test_fault_26_a_file_of_other_bytes_is_refused(
    content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_bytes(content)
    assert words in refusal("--method=vat", "--config=my.yaml")


@pytest.mark.fault(26)
def test_fault_26_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("labels: 1")
    line = refusal("--method=vat", f"--config={tmp_path / 'mine.yml'}")
    assert "no such file" in line and "did you mean 'mine.yaml'" in line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("learning_rate: 1e-3", {"learning_rate": 1e-3}),
        ("learning_rate: 1", {"learning_rate": 1.0}),
        ("labels: 010", {"labels": 10}),
        ("labels: null", {"labels": None}),
        ("labels: ~", {"labels": None}),
        ("labels: &n 7\nsteps: *n", {"labels": 7, "steps": 7}),
        ("\ufefflabels: 7\r\nisda: true\r\n", {"labels": 7, "isda": True}),
        ("runs_dir: off", {"runs_dir": Path("off")}),
        ("data_dir: '2024'", {"data_dir": Path("2024")}),
        ("methods: {vat:, pi_model: {width: 0.5}}", {"width": 1.0}),
        ("methods:\n  vat: {width: 0.5}\nwidth: 2.0", {"width": 0.5}),
        ("methods:", {}),
    ],
)
def test_words_mean_what_they_seem_to(content: str, expected: dict, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes(content.encode())
    config = run("--method=vat", f"--config={file}").config
    assert {name: getattr(config, name) for name in expected} == expected


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


def test_the_resolved_file_says_where_each_value_came_from(tmp_path: Path) -> None:
    mine = tmp_path / "my\nown.yaml"
    mine.write_text("labels: 500\ndataset: svhn\n")
    lines = run("--method=vat", "--width=1e-3", f"--config={mine}").to_yaml().splitlines()
    assert "width: 0.001  # from flag" in lines
    assert "preprocessing: scale  # from configs/svhn.yaml" in lines
    assert "    epsilon: 3.5  # from configs/svhn.yaml" in lines
    assert "epochs: 400  # default" in lines
    assert any(line.startswith("labels: 500  # from ") and "my\\nown" in line for line in lines)


def test_fresh_is_not_recorded() -> None:
    resolved = run("--method=vat", "--fresh")
    assert resolved.config.fresh
    assert {"fresh"} == FLAG_ONLY and "fresh" not in resolved.to_yaml()


# ---- what must agree on resume


@pytest.mark.fault(14)
def test_fault_14_differing_settings_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(run("--method=vat", "--labels=4000").to_yaml())
    now = run("--method=vat", "--labels=1000", "--isda", "--epsilon=2", "--split=my split.json")
    assert differing_settings(file, now) == [
        "isda: false there, true now",
        "labels: 4000 there, 1000 now",
        'split: null there, "my split.json" now',
        "epsilon: 8.0 there, 2.0 now",
    ]


@pytest.mark.fault(14)
def test_fault_14_another_method_is_another_experiment(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(run("--method=vat").to_yaml())
    assert "method: 'vat' there, pi_model now" in differing_settings(file, run("--method=pi_model"))


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


def test_a_file_from_before_a_setting_existed_still_agrees(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    lines = run("--method=vat", "--isda").to_yaml().splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("covariance")))
    assert differing_settings(file, run("--method=vat", "--isda")) == []
    now = run("--method=vat", "--isda", "--covariance=shared")
    assert differing_settings(file, now) == ["covariance: not set there, shared now"]


# ---- the files that come with the project


@pytest.mark.parametrize("method", sorted(read_methods(METHODS)))
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn", "digits", "folder"])
def test_every_method_has_settings_on_every_data_set(dataset: str, method: str) -> None:
    by_flag = run(f"--dataset={dataset}", f"--method={method}")
    by_file = run(f"--config={CONFIGS / dataset}.yaml", f"--method={method}")
    assert by_flag.config == by_file.config
    assert by_flag.method_options == by_file.method_options


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn", "digits", "folder"])
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


def test_a_grid_file_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "cifar10.yaml").write_text("dataset: cifar10\n")
    (tmp_path / "table6.yaml").write_text("grid: [1, 2]\n")
    line = refusal("--method=vat", "--dataset=table6", configs_dir=tmp_path)
    assert line.endswith("(known: cifar10)")


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
    shutil.rmtree(methods, ignore_errors=True)
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
    resolved = run(
        *("--method=mine", "--temperature", "-2", "--no-warm", "--rounds=4", "--name", "none"),
        methods_dir=methods_dir,
    )
    assert resolved.method_options == {
        "temperature": -2.0,
        "warm": False,
        "rounds": 4,
        "target": "soft",
        "name": None,
    }
    line = refusal("--method=mine", "--target=sofd", methods_dir=methods_dir)
    assert "--target must be 'hard' or 'soft', got 'sofd'; did you mean 'soft'?" in line
    line = refusal("--method=vat", "--no-warm", methods_dir=methods_dir)
    assert line == "--no-warm is an option of mine, not of vat"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("temperature: float = 0.5", "temperature: float = 1 / 2", "methods/mine.py:10: temp"),
        ("temperature: float = 0.5", "temperature: float", "a plain default"),
        ("temperature: float = 0.5", "temperature: list[int] = 0", "needs a type of float"),
        ("temperature: float = 0.5", "temperature: float = 'x'", "must be a number, got 'x'"),
        (
            "float = 0.5",
            "Annotated[float, Interval(gt=1)] = 0.5",
            "must be greater than 1, got 0.5",
        ),
        ("float = 0.5", "Annotated[float, Interval(1)] = 0.5", "needs a type of float"),
        ("float = 0.5", "Annotated[float, Interval(above=1)] = 0.5", "needs a type of float"),
        ("float = 0.5", "Annotated[float, 'positive'] = 0.5", "needs a type of float"),
        ("temperature", "labels", "labels is a setting of every run"),
        ("temperature", "epsilon", ""),
        ("warm: bool = True", "epsilon: bool = True", "epsilon is a bool in only one of vat and"),
        ("class Config:", "class Config", "mine.py:7: not valid Python"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    methods_dir = project(tmp_path, METHOD.replace(old, new))
    if words:
        assert words in refusal("--method=vat", methods_dir=methods_dir)
    else:
        assert run("--method=mine", "--epsilon=1", methods_dir=methods_dir)


@pytest.mark.parametrize(
    ("method", "flag", "values"),
    [
        ("vat", "--epsilon", ["-1", "0"]),
        ("vat", "--xi", ["0"]),
        ("vat", "--num-power-iterations", ["-1"]),
        ("mean_teacher", "--ema-decay", ["-0.1", "1"]),
        ("temporal_ensembling", "--ensemble-momentum", ["1"]),
        ("pi_model", "--ramp-up-fraction", ["-0.1", "1.1"]),
        ("pi_model", "--consistency-weight", ["-1"]),
        ("pi_model", "--input-noise", ["-0.1"]),
    ],
)
def test_an_option_out_of_range_is_refused(method: str, flag: str, values: list[str]) -> None:
    for value in values:
        line = refusal(f"--method={method}", f"{flag}={value}")
        assert line.startswith(f"{flag} must be ") and line.endswith(f"got '{value}'")


def test_a_missing_method_file_is_named(tmp_path: Path) -> None:
    methods_dir = project(tmp_path)
    (methods_dir / "mine.py").unlink()
    assert "mine.py: cannot be read" in refusal("--method=vat", methods_dir=methods_dir)
