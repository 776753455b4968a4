"""Settings: their declaration, strict YAML, the methods' options, and the resolved file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import ssl_isda
from ssl_isda import plugins
from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.settings.components import FOLDERS, read_components
from ssl_isda.settings.config import (
    GROUPS,
    RUN_SETTINGS,
    WHERE_AND_HOW,
    Resolved,
    RunConfig,
    differing_settings,
    experiment_settings,
)
from ssl_isda.settings.places import folder
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.yaml_files import PARTS, read_settings, scalar, written

CONFIGS = folder("configs")
METHODS = sorted(read_components().parts["method"])
DATASETS = ("cifar10", "cifar100", "svhn", "digits", "folder")


def run(*arguments: str) -> Resolved:
    return resolve(arguments)


def refusal(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        run(*arguments)
    return str(caught.value)


# ---- declaration


def test_every_setting_stands_in_one_group_and_says_what_it_means() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted({*RunConfig.model_fields, *vars(IsdaConfig())})
    assert all(setting.description.endswith(".") for setting in RUN_SETTINGS.values())


def test_a_config_is_typed_and_frozen() -> None:
    config = RunConfig(method="vat", data_dir="data")
    assert config.data_dir == Path("data")
    with pytest.raises(ValidationError):
        config.labels = 2
    for wrong in ({"labels": True}, {"batch_size": 0}, {"lables": 3}, {"flip": 1}):
        with pytest.raises(ValidationError):
            RunConfig(method="vat", **wrong)


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_parts_are_the_registered_ones(kind: str) -> None:
    registry = getattr(ssl_isda, PARTS[kind].upper())
    plugins.load()
    parts = read_components().parts[kind]
    assert set(parts) == set(registry)
    for name, options in parts.items():
        config = registry.config(name)()
        assert {n: option.default for n, option in options.items()} == vars(config)
        assert all(o.description.endswith(".") for o in options.values() if o.place)


def test_runs_share_the_parts_until_there_are_others(tmp_path: Path) -> None:
    """What is registered or written meanwhile counts for the next command of the process."""
    before = read_components()
    assert read_components() is before
    ssl_isda.METHODS.register("later")(type("Later", (), {}))
    assert "later" in read_components().parts["method"] and "later" not in before.parts["method"]
    for default in (1, 2):
        flag = plugin(tmp_path, METHOD.replace("rounds: int = -3", f"rounds: int = {default}"))
        assert run(flag, "--method=mine").options["method", "mine"]["rounds"] == default


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
    values = run("--method=vat", f"--config={file}").values
    assert {name: values[name] for name in WORDS[content]} == WORDS[content]


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
    method=st.sampled_from(METHODS),
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
    assert again.values == first.values
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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_method_has_settings_on_every_data_set(dataset: str, method: str) -> None:
    by_flag = run(f"--dataset={dataset}", f"--method={method}")
    by_file = run(f"--config={CONFIGS / dataset}.yaml", f"--method={method}")
    assert by_flag.values == by_file.values


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_file_opens_with_the_table_and_a_command_and_repeats_no_default(dataset: str) -> None:
    text = (CONFIGS / f"{dataset}.yaml").read_text("utf-8")
    assert text.startswith("# ") and "Table 6" in text and "\n#   python run.py" in text
    command = next(line for line in text.splitlines() if line.startswith("#   python run.py"))
    assert run(*command.split()[3:]).config.dataset == dataset
    written_there = read_settings(CONFIGS / f"{dataset}.yaml", dataset)
    for method in METHODS:
        resolved = run(f"--dataset={dataset}", f"--method={method}")
        options = read_components().of_run({k: resolved.values[k] for k in PARTS})
        defaults = dict(RUN_SETTINGS) | {n: o for part in options.values() for n, o in part.items()}
        for name, value in resolved.values.items():
            if resolved.sources[name].endswith(".yaml") and name != "dataset":
                above = written_there.settings.get(name)
                of_method = written_there.parts.get(("method", method), {})
                overrides = above and name in of_method
                assert value != (above.value if overrides else defaults[name].default), name


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
    name: Literal["cutout"] | None = None
    marks: tuple[float, ...] = (0.5,)


@METHODS.register("mine")
class Mine:
    pass
'''


def plugin(folder: Path, source: str = METHOD, name: str = "mine") -> str:
    """The flag that adds a file of one's own."""
    (folder / f"{name}.py").write_text(source)
    return f"--plugin={folder / name}.py"


def test_the_old_name_of_a_setting_is_read(tmp_path: Path) -> None:
    """Runs of it go on: their config.yaml differs in nothing."""
    file = tmp_path / "config.yaml"
    file.write_text("method: vat\nview: cutout\n")
    resolved = run(f"--config={file}")
    assert resolved.config.policy == run("--method=vat", "--view=cutout").config.policy == "cutout"
    file.write_text(resolved.to_yaml().replace("policy: cutout", "view: cutout"))
    assert differing_settings(file, resolved) == []
    differing = differing_settings(file, run("--method=vat", "--policy", "weak"))
    assert differing == ["policy: 'cutout' there, weak now"]
    file.write_text("method: vat\nview: cutout\npolicy: weak\n")
    assert refusal(f"--config={file}").endswith(":2: view is another name of policy, set there too")
    line = refusal("--method=vat", "--view=cutout", "--policy=weak")
    assert line == "--policy is given twice: --view 'cutout', --policy 'weak'"


def test_a_part_is_added_by_one_file(tmp_path: Path, monkeypatch) -> None:
    mine = plugin(tmp_path)
    words = "--method=mine --temperature -2 --no-warm --rounds=4 --name none --marks 1,2 3"
    words += " --cutout-size 4"  # of an augmentation that the file names
    resolved = run(mine, *words.split())
    expected = {"temperature": -2.0, "warm": False, "rounds": 4, "target": "soft", "name": None}
    assert resolved.options["method", "mine"] == expected | {"marks": (1.0, 2.0, 3.0)}
    assert resolved.options["policy", "cutout"] == {"cutout_size": 4}
    file = tmp_path / "config.yaml"
    file.write_text(resolved.to_yaml())
    assert run(mine, f"--config={file}").values == resolved.values
    assert f"add --plugin {tmp_path}/mine.py" in refusal(f"--config={file}")
    assert f"add --plugin {tmp_path}/mine.py" in refusal(
        plugin(tmp_path, "", "x"), f"--config={file}"
    )
    line = refusal(mine, "--method=mine", "--target=sofd")
    assert line == "--target must be 'hard' or 'soft', got 'sofd'; did you mean 'soft'?"
    assert (
        refusal(mine, "--method=mine", "--marks", "1", "x") == "--marks must be a number, got 'x'"
    )
    line = refusal(mine, "--method=vat", "--no-warm")
    assert line == "--no-warm is an option of mine, not of vat"
    assert "unknown method 'mine'" in refusal("--method=mine")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert "'pack.age' cannot be imported" in refusal("--plugin=pack.age", "--method=vat")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--cutout-size 1", "--cutout-size is an option of cutout, not of weak"),
        ("--width 1 --model mlp", "--width is an option of cnn13 and others, not of mlp"),
        ("--hidden 9 --model resnet20", "--hidden is an option of mlp, not of resnet20"),
        ("--beta-1 0.5", "--beta-1 is an option of adamw, not of sgd"),
        ("--smoothing 0.5", "--smoothing is an option of label_smoothing, not of cross_entropy"),
        ("--svhn-extra", "--svhn-extra is an option of svhn, not of cifar10"),
        ("--decay 0.5", "--decay is an option of multistep, not of cosine"),
    ],
)
def test_an_option_of_another_part_is_refused(flags: str, line: str) -> None:
    assert refusal("--method=vat", *flags.split()) == line


MOVED = "model: cnn13\nwidth: 0.5\nmomentum: 0.8\nweight_decay: 0.01\nsvhn_extra: true\nimage_size: null"


@pytest.mark.parametrize("flags", ["", "--dataset=svhn", "--model=resnet20 --optimizer=adamw"])
def test_settings_of_version_0_1_belong_to_the_parts_they_moved_to(
    flags: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(MOVED)
    values = run("--method=vat", f"--config={file}", *flags.split()).values
    if "resnet" in flags:
        assert (values["width"], values["weight_decay"]) == (
            1,
            0.01,
        )  # ResNet's and AdamW's defaults
        assert values["beta_1"] == 0.9
    else:
        assert (values["width"], values["momentum"], values["weight_decay"]) == (0.5, 0.8, 0.01)
    assert values.get("svhn_extra") == (True if "svhn" in flags else None)


def test_other_parts_have_options_of_the_names_that_moved_too(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "model: resnet20\noptimizer: adamw\nwidth: 0.9\nmodels: {resnet20: {width: 0.5}}\n"
        "optimizers: {adamw: {weight_decay: 0.3}}\n"
    )
    values = run("--method=vat", f"--config={file}").values
    assert (values["width"], values["weight_decay"]) == (0.5, 0.3)


def test_two_chosen_parts_do_not_share_an_option(tmp_path: Path) -> None:
    mine = plugin(tmp_path, METHOD.replace("temperature", "width"))
    line = refusal(mine, "--method=mine")
    assert "width is an option of" in line and "mine.py" in line and "models/cnn13.py" in line
    assert run(mine, "--method=mine", "--model=mlp", "--width=3").values["width"] == 3.0
    like_vat = plugin(tmp_path, METHOD.replace("temperature", "epsilon"))
    assert run(like_vat, "--method=mine", "--epsilon=1").values["epsilon"] == 1.0


FLOAT = "float = 0.5"
WRONG_OPTIONS = {
    (FLOAT, "float = 1 / 2"): "mine.py:10: temp",
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
    ('register("mine")', 'register("vat")'): "vat is registered in methods/vat.py",
}


@pytest.mark.parametrize(("old", "new"), WRONG_OPTIONS)
def test_an_option_that_cannot_be_is_refused(old: str, new: str, tmp_path: Path) -> None:
    mine = plugin(tmp_path, METHOD.replace(old, new))
    assert WRONG_OPTIONS[old, new] in refusal(mine, "--method=vat")


def test_parts_that_python_registered_are_found() -> None:
    from ssl_isda.models import MODELS

    @dataclass(frozen=True)
    class Options:
        depth: Annotated[int, Interval(ge=1)] = 2

    MODELS.register("of_a_notebook", Options)(object)
    words = ("--method=vat", "--model=of_a_notebook", "--depth")
    assert run(*words, "3").options["model", "of_a_notebook"] == {"depth": 3}
    assert "greater than or equal to 1" in refusal(*words, "0")


def test_shipped_settings_are_found_by_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "digits.yaml", "configs/digits.yaml"):
        assert run("--method=vat", f"--config={name}").values["width"] == 0.25
    (tmp_path / "digits.yaml").write_text("labels: 7")
    assert run("--method=vat", "--config=digits.yaml").config.labels == 7
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "digits.yaml").write_text("labels: 7")
    assert run("--method=vat", "--dataset=digits").config.labels == 20  # not of somebody's folder
