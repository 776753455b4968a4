"""Flags, their precedence over files, and help; ``refusals.yaml`` has every usage error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssl_isda.api import flags
from ssl_isda.base.errors import UsageError
from ssl_isda.settings.components import read_components
from ssl_isda.settings.config import GROUPS, Resolved, RunConfig
from ssl_isda.settings.resolve import answer, resolve
from ssl_isda.settings.yaml_files import written

COMMANDS = {"export": "RUN", "report": "RUNS"}


def run(*arguments: str) -> Resolved:
    return resolve(arguments, commands=COMMANDS)


@pytest.mark.fault(26)
@pytest.mark.parametrize("word", ["a\nb", "\x1b[31m", "\udcff", "x" * 100_000, "\u2028"])
@pytest.mark.parametrize("form", ["{}", "--{}", "--labels={}", "--method={}", "--config={}.yaml"])
def test_fault_26_a_strange_word_does_not_break_the_line(form: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        run("--method=vat" if "--method" not in form else "--isda", form.format(word))
    assert str(caught.value).isprintable()


def test_flags_take_their_values_in_both_forms_and_may_be_repeated() -> None:
    spaced = run("--method", "vat", "--labels", "-1000", "--epsilon", "1.5", "--isda")
    joined = run("--isda", "--labels=-1000", "--epsilon=1.5", "--method=vat", "--isda")
    assert spaced == joined
    assert (spaced.config.labels, spaced.config.isda) == (-1000, True)
    assert spaced.values["epsilon"] == 1.5


def test_switches_turn_off_and_none_unsets(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("isda: true\nlabels: 1000\nsteps: 5\nmethods: {vat: {xi: 0.1}}\n")
    words = ["--method=vat", f"--config={file}", "--no-isda", "--labels=none", "--xi", "none"]
    resolved = run(*words)
    assert (resolved.config.isda, resolved.config.labels) == (False, None)
    assert resolved.config.steps == 5 and resolved.values["xi"] is None


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", ".001", "+1e-3"])
def test_numbers_may_be_written_as_people_do(text: str) -> None:
    assert run("--method", "vat", "--learning-rate", text).config.learning_rate == 1e-3


@pytest.mark.parametrize("form", ["--seeds 2 0 1", "--seeds=2,0,1", "--seeds 2,0, 1"])
def test_seeds_are_several_runs(form: str) -> None:
    resolved = run(*form.split(), "--method", "vat")
    assert resolved.seeds == (2, 0, 1)
    assert (resolved.config.seed, resolved.sources["seed"]) == (2, "flag")
    last = resolved.for_seed(1)
    assert (last.config.seed, last.seeds) == (1, (1,))
    assert last.config.model_copy(update={"seed": 2}) == resolved.config
    assert [run("--method=vat", *one).seeds for one in ([], ["--seed=7"])] == [(0,), (7,)]


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "path", ["-dir", "--dir", "my images", "bilder/Ümläute 画像", "a=b", "none", "4000", "x" * 5000]
)
def test_fault_27_any_path_can_be_given(path: str, tmp_path: Path, monkeypatch) -> None:
    resolved = run("--method=vat", f"--data-dir={path}", f"--split=./{path}")
    assert resolved.config.data_dir == Path(path)
    assert resolved.config.split == Path(path)
    monkeypatch.chdir(tmp_path)
    Path("-my copy ü.yaml").write_text(resolved.to_yaml(), "utf-8")
    copy = run("--config=-my copy ü.yaml")
    assert copy.config == resolved.config and copy.sources["labels"] == "-my copy ü.yaml"


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


def as_file(top: dict[str, object], part: dict[str, object]) -> str:
    lines = [f"{name}: {written(value)}" for name, value in top.items()]
    lines += ["methods:", "  pi_model: {width: 7}", "  vat:"]
    return "\n".join(lines + [f"    {name}: {written(value)}" for name, value in part.items()])


@given(
    layers=st.fixed_dictionaries(
        {layer: st.fixed_dictionaries({}, optional=VALUES) for layer in LAYERS}
    )
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_flags_win_over_files_which_win_over_the_data_set(layers, tmp_path: Path) -> None:
    for layer in ("file", "data set"):  # options stand in the method's part only
        for name in OPTIONS:
            layers[layer].pop(name, None)
    mine = tmp_path / "my.yaml"
    mine.write_text(as_file(layers["file"], layers["file, method"]))
    dataset = tmp_path / "digits.yaml"
    dataset.write_text(
        "dataset: digits\n" + as_file(layers["data set"], layers["data set, method"])
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_isda.settings.resolve.folder", lambda _: tmp_path)
        resolved = run(
            "--method=vat", "--dataset=digits", f"--config={mine}", *flags(layers["flag"])
        )

    values = resolved.values
    files = {"flag": "flag", "file": str(mine), "data set": f"{tmp_path.name}/digits.yaml"}
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
    given = [run("--method=vat", f"--config={mine}", *more).config for more in ([], ["--epochs=5"])]
    assert [(config.steps, config.epochs) for config in given] == [(7, 3), (None, 5)]


@pytest.mark.parametrize(
    ("flag", "found"),
    [
        ("labels=none", (None, None)),
        ("labels=20", (20, None)),
        ("labels-per-class=none", (None, None)),
    ],
)
def test_of_two_numbers_of_labels_the_nearer_counts(flag, found, tmp_path: Path) -> None:
    mine = tmp_path / "my.yaml"
    mine.write_text("labels_per_class: 4\n")
    config = run("--method=vat", f"--config={mine}", f"--{flag}").config
    assert (config.labels, config.labels_per_class) == found


def test_of_two_warm_ups_the_nearer_counts(tmp_path: Path) -> None:
    mine = tmp_path / "my.yaml"
    mine.write_text("warmup_steps: 7\n")
    config = run("--method=vat", f"--config={mine}", "--warmup-epochs=2").config
    assert (config.warmup_steps, config.warmup_epochs) == (None, 2.0)


def test_the_policy_of_a_frozen_backbone_is_one_of_features_unless_somebody_says_otherwise() -> (
    None
):
    frozen = ("--method=pi_model", "--dataset=digits", "--freeze=backbone")
    resolved, other = run(*frozen, "--noise-std=0.1"), run(*frozen, "--policy=vector_dropout")
    assert (resolved.config.policy, resolved.sources["policy"]) == ("vector_noise", "default")
    assert resolved.values["noise_std"] == 0.1 and resolved.unusual == ()
    assert other.config.policy == "vector_dropout" and other.unusual == ("vector_dropout",)


# ---- help


def help_text(*arguments: str) -> str:
    words = ["--help", *arguments]
    text = answer(words, commands=COMMANDS)
    assert text is not None
    return text


def test_help_shows_every_setting_and_every_method_s_options() -> None:
    text = help_text()
    for name in (*RunConfig.model_fields, "lambda_0", "width", "momentum"):
        flag = name.replace("_", "-")
        assert f"--{flag} " in text or f"--[no-]{flag} " in text, name
    assert all(f"\n{title}:\n" in text for title in GROUPS)
    for method, options in read_components().parts["method"].items():
        text = help_text("--method", method)
        assert text == help_text(f"--method={method}") and f"Options of {method}:" in text
        assert all(option.description for option in options.values())
        for flag in (option.flag for option in options.values()):
            assert flag in text or flag.replace("--", "--[no-]", 1) in text, flag


def test_help_answers_a_command_line_that_is_wrong() -> None:
    assert help_text("--bogus", "--method") == help_text("--method", "vta") == help_text()
    assert answer(["--method", "vat"]) is None
