"""Flags, their precedence over files, and every usage error: one line, at once, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssl_isda.base.errors import UsageError
from ssl_isda.settings.components import read_methods
from ssl_isda.settings.config import GROUPS, RunConfig
from ssl_isda.settings.resolve import answer, resolve

ROOT = Path(__file__).parents[3]
CONFIGS, METHODS = ROOT / "configs", ROOT / "methods"
COMMANDS = {"export": "RUN", "report": "RUNS"}

CHILD = """
import sys
from pathlib import Path
from ssl_isda.settings.resolve import answer, resolve
from ssl_isda.base.errors import UsageError
code = 0
try:
    print(answer(sys.argv[1:]) or resolve(sys.argv[1:]).to_yaml())
except UsageError as error:
    print(error, file=sys.stderr)
    code = error.exit_code
heavy = {"torch", "numpy", "torchvision", "ssl_isda.methods", "ssl_isda.datasets"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


def run(*arguments: str, configs_dir: Path = CONFIGS, methods_dir: Path = METHODS):
    where = {"methods": methods_dir, "configs": configs_dir}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ssl_isda.settings.resolve.folder", where.__getitem__)
        return resolve(arguments, commands=COMMANDS)


def refusal(*arguments: str, **where: Path) -> str:
    """The one line that refuses ``arguments``."""
    with pytest.raises(UsageError) as caught:
        run(*arguments, **where)
    line = str(caught.value)
    assert caught.value.exit_code == 2
    assert line and line.isprintable() and len(line) < 300
    return line


def child(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        **{"capture_output": True, "text": True, "env": environment, "timeout": 60, **options},
    )


VAT = "--method vat "
BAD_FLAGS = {
    "": ["--method is missing", "vat", "pi_model"],
    "--method": ["--method needs a value"],
    "--method=": ["--method must be a name", "''"],
    "--method vta": ["--method", "'vta'", "did you mean 'vat'", "supervised"],
    "--method VAT": ["'VAT'", "known:"],
    VAT + "--dataset cifar": ["--dataset", "'cifar'", "did you mean 'cifar10'", "svhn"],
    VAT + "--dataset ../configs/svhn": ["--dataset", "known:"],
    VAT + "--lables 4000": ["'--lables'", "did you mean '--labels'"],
    VAT + "--learning_rate 1": ["did you mean '--learning-rate'"],
    VAT + "--label 4000": ["'--label'", "did you mean '--labels'"],
    VAT + "-l 4000": ["unknown flag '-l'"],
    VAT + "--no-labels": ["unknown flag '--no-labels'"],
    VAT + "--no-seeds": ["unknown flag '--no-seeds'"],
    VAT + "--labels": ["--labels needs a value"],
    VAT + "--labels --isda": ["--labels needs a value"],
    VAT + "--labels=": ["--labels must be an integer", "''"],
    VAT + "--labels true": ["--labels must be an integer", "'true'"],
    VAT + "--labels many": ["--labels must be an integer", "'many'"],
    VAT + "--labels 4000.0": ["--labels must be an integer", "'4000.0'"],
    VAT + "--labels 4e3": ["--labels must be an integer", "'4e3'"],
    VAT + "--labels 1_000": ["--labels must be an integer", "'1_000'"],
    VAT + "--labels ٣": ["--labels must be an integer"],
    VAT + "--labels " + "9" * 5000: ["--labels must be an integer", "..."],
    VAT + "--seed -1": ["--seed must be greater than or equal to 0", "'-1'"],
    VAT + "--epochs 0": ["--epochs must be greater than or equal to 1", "'0'"],
    VAT + "--steps 0": ["--steps must be greater than or equal to 1", "'0'"],
    VAT + "--width 0": ["--width must be greater than 0", "'0'"],
    VAT + "--width -.5": ["--width must be greater than 0", "'-.5'"],
    VAT + "--width nan": ["--width must be a finite number", "'nan'"],
    VAT + "--width -inf": ["--width must be a finite number", "'-inf'"],
    VAT + "--width 1e999": ["--width must be a finite number"],
    VAT + "--width true": ["--width must be a number", "'true'"],
    VAT + "--width none": ["--width must be a number", "'none'"],
    VAT + "--momentum 1": ["--momentum must be less than 1"],
    VAT + "--epsilon inf": ["--epsilon must be a finite number"],
    VAT + "--epsilon big": ["--epsilon must be a number", "'big'"],
    VAT + "--num-power-iterations 1.5": ["--num-power-iterations must be an integer"],
    VAT + "--preprocessing zac": ["'zca'", "'normalize'", "got 'zac'", "did you mean 'zca'"],
    VAT + "--precision 16": ["--precision must be 'auto', 'fp32' or 'bf16'", "got '16'"],
    VAT + "--data-dir=": ["--data-dir must be a path", "nothing"],
    VAT + "--data-dir -dir": ["--data-dir needs a value", "--data-dir=-..."],
    VAT + "--isda yes": ["--isda stands alone", "--no-isda"],
    VAT + "--isda=true": ["--isda stands alone", "--no-isda"],
    VAT + "--no-isda=1": ["--no-isda stands alone"],
    VAT + "--isda --no-isda": ["given twice", "--isda, --no-isda"],
    VAT + "--labels 1000 --labels=4000": ["given twice", "'1000'", "'4000'"],
    VAT + "--method pi_model": ["given twice", "'vat'", "'pi_model'"],
    VAT + "--config a.yaml --config b.yaml": ["given twice", "'a.yaml'", "'b.yaml'"],
    VAT + "--config": ["--config needs a value"],
    VAT + "--config=": ["--config must be a file"],
    VAT + "--config absent.yaml": ["absent.yaml: no such file"],
    VAT + "--config .": [". is a folder"],
    VAT + "--seeds": ["--seeds needs values"],
    VAT + "--seeds 1 x": ["--seeds must be an integer", "'x'"],
    VAT + "--seeds 1 -2": ["--seeds must be greater than or equal to 0", "'-2'"],
    VAT + "--seeds 1 1": ["--seeds names a seed twice"],
    VAT + "--seeds 1 --seeds 2": ["--seeds is given twice"],
    VAT + "--seeds 1 --seed 2": ["--seed and --seeds"],
    VAT + "4000": ["'4000' belongs to no flag"],
    VAT + "--": ["unknown flag '--'"],
    "train --method vat": ["unknown command 'train'", "export, report", "without a command"],
    "exprot RUN": ["unknown command 'exprot'", "did you mean 'export'"],
    VAT + "--augmentation explicit": ["augmentation explicit needs augmentation_samples"],
    VAT + "--augmentation-samples 5": [
        "augmentation_samples goes with augmentation explicit alone"
    ],
    VAT + "--augmentation explicit --augmentation-samples 0": [
        "--augmentation-samples must be",
        "'0'",
    ],
    VAT + "--augmentation explicit --augmentation-samples 5 --consistency second_order": [
        "consistency second_order is a closed form",
        "augmentation explicit uses none",
    ],
    VAT + "--covariance learned": ["covariance learned needs uncertainty_weight"],
    VAT + "--covariance learned --uncertainty-weight -1": ["--uncertainty-weight must be", "'-1'"],
    VAT + "--uncertainty-weight 1": ["uncertainty_weight goes with covariance learned alone"],
    VAT + "--lambda-schedule cosine": ["--lambda-schedule must be 'linear' or 'constant'"],
    VAT + "--consistency lower_bound": ["--consistency must be", "did you mean 'upper_bound'"],
    "--method pi_model --epsilon 8": ["--epsilon is an option of vat, not of pi_model"],
    "--method supervised --ema-decay 0.9": ["--ema-decay is an option of mean_teacher"],
}


@pytest.mark.fault(26)
@pytest.mark.parametrize("arguments", BAD_FLAGS)
def test_fault_26_a_bad_flag_is_refused_in_one_line(arguments: str) -> None:
    line = refusal(*arguments.split())
    assert all(words in line for words in BAD_FLAGS[arguments]), line


@pytest.mark.fault(26)
@pytest.mark.parametrize("word", ["a\nb", "\x1b[31m", "\udcff", "x" * 100_000, "\u2028"])
@pytest.mark.parametrize("form", ["{}", "--{}", "--labels={}", "--method={}", "--config={}.yaml"])
def test_fault_26_a_strange_word_does_not_break_the_line(form: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        run("--method=vat" if "--method" not in form else "--isda", form.format(word))
    assert str(caught.value).isprintable()


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--help", "--method", "vat"], 0),
        (["--version"], 0),
        (["--method", "vat", "--print-config"], 0),
        (["--method", "vta"], 2),
        (["--method", "vat", "--width", "nan"], 2),
        (["--method", "vat", "--config", "absent.yaml"], 2),
    ],
)
def test_fault_26_answers_need_no_torch(arguments: list[str], code: int, tmp_path: Path) -> None:
    result = child(*arguments, cwd=tmp_path)  # fails if it imports torch
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == (1 if code else 0), result.stderr


def test_flags_take_their_values_in_both_forms() -> None:
    spaced = run("--method", "vat", "--labels", "-1000", "--epsilon", "1.5", "--isda")
    joined = run("--isda", "--labels=-1000", "--epsilon=1.5", "--method=vat")
    assert spaced == joined
    assert (spaced.config.labels, spaced.config.isda) == (-1000, True)
    assert spaced.method_options["epsilon"] == 1.5


def test_a_flag_may_be_repeated_with_the_same_value() -> None:
    assert run("--method", "vat", "--method=vat", "--isda", "--isda").config.isda


def test_switches_turn_off_and_none_unsets(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("isda: true\nlabels: 1000\nsteps: 5\nmethods: {vat: {xi: 0.1}}\n")
    words = ["--method=vat", f"--config={file}", "--no-isda", "--labels=none", "--xi", "none"]
    resolved = run(*words)
    assert (resolved.config.isda, resolved.config.labels) == (False, None)
    assert resolved.config.steps == 5 and resolved.method_options["xi"] is None


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", ".001", "+1e-3"])
def test_numbers_may_be_written_as_people_do(text: str) -> None:
    assert run("--method", "vat", "--learning-rate", text).config.learning_rate == 1e-3


@pytest.mark.parametrize(
    "form", [["--seeds", "2", "0", "1"], ["--seeds=2,0,1"], ["--seeds", "2,0,", "1"]]
)
def test_seeds_are_several_runs(form: list[str]) -> None:
    resolved = run(*form, "--method", "vat")
    assert resolved.seeds == (2, 0, 1)
    assert (resolved.config.seed, resolved.sources["seed"]) == (2, "flag")
    last = resolved.for_seed(1)
    assert (last.config.seed, last.seeds) == (1, (1,))
    assert last.config.model_copy(update={"seed": 2}) == resolved.config


def test_one_seed_is_one_run() -> None:
    assert run("--method", "vat").seeds == (0,)
    assert run("--method", "vat", "--seed", "7").seeds == (7,)


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "path", ["-dir", "--dir", "my images", "bilder/Ümläute 画像", "a=b", "none", "4000", "x" * 5000]
)
def test_fault_27_any_path_can_be_given(path: str, tmp_path: Path) -> None:
    resolved = run("--method=vat", f"--data-dir={path}", f"--split=./{path}")
    assert resolved.config.data_dir == Path(path)
    assert resolved.config.split == Path(path)
    file = tmp_path / "my copy ü.yaml"
    file.write_text(resolved.to_yaml(), "utf-8")
    assert run("--config", str(file)).config == resolved.config


@pytest.mark.fault(27)
def test_fault_27_a_config_file_may_start_with_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-my config.yaml").write_text("method: vat\nlabels: 7\n")
    resolved = run("--config=-my config.yaml")
    assert resolved.config.labels == 7
    assert resolved.sources["labels"] == "-my config.yaml"


# ---- precedence

VALUES = {
    "labels": st.integers(1, 10**6),
    "isda": st.booleans(),
    "width": st.floats(0.01, 10),
    "preprocessing": st.sampled_from(["zca", "standardize", "scale", "normalize"]),
    "runs_dir": st.sampled_from(["a", "b c", "-d"]),
    "epsilon": st.floats(1e-9, 1e9),
    "xi": st.none() | st.floats(1e-300, 1e300),
}
OPTIONS = {"epsilon", "xi"}
LAYERS = ("flag", "file, method", "file", "data set, method", "data set")


def as_flag(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag}={'none' if value is None else value}"


def as_file(top: dict[str, object], part: dict[str, object]) -> str:
    def word(value: object) -> str:
        words = {None: "null", True: "true", False: "false"}
        plain = value is None or isinstance(value, bool)
        return words[value] if plain else f"'{value}'" if isinstance(value, str) else repr(value)

    lines = [f"{name}: {word(value)}" for name, value in top.items()]
    lines += ["methods:", "  pi_model: {width: 7}", "  vat:"]
    return "\n".join(lines + [f"    {name}: {word(value)}" for name, value in part.items()])


@given(
    layers=st.fixed_dictionaries(
        {layer: st.fixed_dictionaries({}, optional=VALUES) for layer in LAYERS}
    )
)
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_flags_win_over_files_which_win_over_the_data_set(layers, tmp_path: Path) -> None:
    for layer in ("file", "data set"):  # options stand in the method's part only
        for name in OPTIONS:
            layers[layer].pop(name, None)
    mine = tmp_path / "my.yaml"
    mine.write_text(as_file(layers["file"], layers["file, method"]))
    dataset = tmp_path / "toy.yaml"
    dataset.write_text("dataset: toy\n" + as_file(layers["data set"], layers["data set, method"]))
    flags = [as_flag(name, value) for name, value in layers["flag"].items()]

    resolved = run(
        *("--method=vat", "--dataset=toy", f"--config={mine}", *flags), configs_dir=tmp_path
    )

    values = {**dict(resolved.config), **resolved.method_options}
    files = {"flag": "flag", "file": str(mine), "data set": f"{tmp_path.name}/toy.yaml"}
    for name in VALUES:
        winner = next((layer for layer in LAYERS if name in layers[layer]), None)
        if winner is None:
            assert resolved.sources[name] == "default"
            continue
        assert str(values[name]) == str(layers[winner][name])
        assert resolved.sources[name] == files[winner.partition(",")[0]]


def test_of_two_lengths_the_nearer_counts(tmp_path: Path) -> None:
    mine = tmp_path / "my.yaml"
    mine.write_text("steps: 7\nepochs: 3\n")
    given = [
        run("--method=vat", f"--config={mine}", *flags).config for flags in ([], ["--epochs=5"])
    ]
    assert [(config.steps, config.epochs) for config in given] == [(7, 3), (None, 5)]


def test_settings_of_isda_want_isda(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--lambda-0 is a setting of ISDA: add --isda$"):
        run("--method=vat", "--lambda-0=0.5")
    mine = tmp_path / "my.yaml"
    mine.write_text("lambda_0: 0.25\n")  # a file may serve runs with ISDA and without
    assert run("--method=vat", f"--config={mine}").config.lambda_0 == 0.25


def test_a_config_file_may_name_method_and_data_set() -> None:
    resolved = run("--config", str(CONFIGS / "svhn.yaml"), "--method", "vat")
    assert resolved.config.dataset == "svhn"
    assert resolved.config.preprocessing == "scale"
    assert resolved.method_options["epsilon"] == 3.5
    other = run("--config", str(CONFIGS / "svhn.yaml"), "--method", "mean_teacher")
    assert other.config.preprocessing == "standardize"


# ---- help


def help_text(*arguments: str) -> str:
    text = answer(["--help", *arguments], commands=COMMANDS)
    assert text is not None
    return text


def test_help_shows_every_setting_and_fits_the_screen() -> None:
    text = help_text()
    assert all(len(line) <= 100 for line in text.splitlines())
    for name in RunConfig.model_fields:
        flag = name.replace("_", "-")
        assert f"--{flag} " in text or f"--[no-]{flag} " in text, name
    assert all(f"\n{title}:\n" in text for title in GROUPS)
    assert "cifar100" in text and "temporal_ensembling" in text and "export RUN" in text
    assert "--epsilon" not in text


def test_help_on_a_method_shows_its_options() -> None:
    for method, options in read_methods(METHODS).items():
        for words in (["--method", method], [f"--method={method}"]):
            text = help_text(*words)
            assert f"Options of {method}:" in text
            assert all(option.flag in text and option.description for option in options.values())


def test_help_answers_a_command_line_that_is_wrong() -> None:
    assert help_text("--bogus", "--method") == help_text()
    assert help_text("--method", "vta") == help_text()


def test_answers_are_given_only_when_asked_for() -> None:
    assert answer(["--method", "vat"]) is None
    assert str(answer(["--version"])).startswith("ssl-isda ")
    shown = answer(["--method", "vat", "--print-config"])
    assert shown == run("--method", "vat").to_yaml()
