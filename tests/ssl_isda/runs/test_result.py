"""Which errors are reported, and what they were made by."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ssl_isda.runs.result import across_seeds, commit_of, describe, summarize


def history(errors: list[float], validation: list[float] | None = None) -> list[dict[str, float]]:
    epochs = [{"epoch": k + 1, "step": 7 * (k + 1), "test_error": e} for k, e in enumerate(errors)]
    for epoch, error in zip(epochs, validation or [], strict=bool(validation)):
        epoch["validation_error"] = error
    return epochs


@pytest.mark.parametrize(
    ("num_epochs", "averaged"),
    [(1, 1), (3, 1), (7, 1), (8, 2), (39, 9), (40, 10), (41, 10), (400, 10)],
)
def test_the_mean_of_the_last_10_epochs_or_the_last_quarter(num_epochs: int, averaged: int) -> None:
    errors = [float(k * k) for k in range(num_epochs)]
    result = summarize(history(errors))
    assert result["error"] == pytest.approx(sum(errors[-averaged:]) / averaged)
    assert result["averaged_epochs"] == averaged
    assert result["last_epoch_error"] == errors[-1]
    assert (result["epochs"], result["steps"]) == (num_epochs, 7 * num_epochs)


def test_the_best_epoch_on_test_is_nowhere() -> None:
    result = summarize(history([50.0, 1.0, 40.0, 30.0]))
    assert 1.0 not in {value for name, value in result.items() if name.endswith("error")}
    assert not any(name.startswith("selected") for name in result)


def test_validation_selects_its_own_best_epoch() -> None:
    result = summarize(history([50.0, 10.0, 20.0, 30.0], [9.0, 7.0, 5.0, 6.0]))
    assert result["selected_epoch"] == 3
    assert result["selected_error"] == 20.0
    assert result["selected_validation_error"] == 5.0
    assert result["error"] == 30.0 and result["validation_error"] == 6.0


def test_a_tie_goes_to_the_earlier_epoch() -> None:
    assert summarize(history([4.0, 3.0], [5.0, 5.0]))["selected_epoch"] == 1


def test_a_result_in_words() -> None:
    plain = summarize(history([50.0, 10.0, 20.0, 30.0]))
    assert describe(plain) == ("test error 30.00 % (mean of the last 1 epoch), last epoch 30.00 %")
    scores = {"balanced_error": 31.0, "macro_f1": 70.0, "calibration_error": None}
    assert describe(plain | scores) == (
        "test error 30.00 % (mean of the last 1 epoch), last epoch 30.00 % "
        "(balanced error 31.00 %, macro F1 70.00 %)"
    )
    with_validation = summarize(history([8.0] * 8, [9.0, 7.0] * 4))
    assert describe(with_validation) == (
        "test error 8.00 % (mean of the last 2 epochs), last epoch 8.00 %, "
        "8.00 % at epoch 2 selected by validation (7.00 %)"
    )


def test_seeds_have_a_mean_and_the_deviation_of_a_sample() -> None:
    assert across_seeds([{"error": value} for value in (1.0, 2.0, 3.0)]) == (
        "test error 2.00 ± 1.00 % (mean ± standard deviation of 3 seeds)"
    )


def test_the_commit_says_whether_files_differ_from_it(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "--message", "m")
    commit = git("rev-parse", "HEAD")
    assert commit_of(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert commit_of(tmp_path) == f"{commit}-dirty"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(tmp_path) is None
