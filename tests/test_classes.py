"""Classes of different sizes through the real command: long tails, fractions, drawn test parts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_isda.data.images.image_data import DATASETS, ImageData
from ssl_isda.runs.grid_expansion import expand
from ssl_isda.runs.grid_file import read_grid
from ssl_isda.settings.components import read_components
from tests.commands import FAST, MLP, answer
from tests.ssl_isda.data.conftest import save_image

QUICK = [*MLP, "--wandb", "disabled", "--method", "supervised", "--isda", "--steps", "20"]
TAIL = [250, 149, 89, 53, 32, 19, 11, 6, 4, 2]


def printed(*words: str, folder: Path) -> str:
    code, out, err = answer([*words], folder)
    assert (code, err) == (0, "")
    return out


def kept(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


@pytest.fixture
def cifar10(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Generated images of its size in its place, 250 a class; their labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(2_500) % 10

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        images = rng.integers(0, 156, (count, 3, 32, 32), np.uint8)
        images[:, 0] += (labels[:count] * 11).astype(np.uint8)[:, None, None]
        return images, labels[:count]

    data = ImageData.from_arrays("cifar10", [*"abcdefghij"], part(2_500), part(300))
    monkeypatch.setitem(DATASETS._entries, "cifar10", lambda config, folder: data)
    return labels


def test_a_long_tailed_cifar10_trains_and_tells_its_balanced_error(
    tmp_path: Path, cifar10: np.ndarray
) -> None:
    words = ["--dataset", "cifar10", "--preprocessing", "scale", "--imbalance", "100", *QUICK]
    words += ["--label-fraction", "0.5", "--unlabeled-batch-size", "64"]
    said = printed(*words, folder=tmp_path)
    assert "on cifar10: 305 labels of 615 images, 10 classes" in said
    run = tmp_path / "runs/cifar10-50%-imbalance100/supervised+isda-mlp/seed0"
    split, result = kept(run, "split.json"), kept(run, "result.json")
    assert Counter(cifar10[split["pool"]].tolist()) == dict(enumerate(TAIL))
    assert set(split["labeled"]) < set(split["pool"]) and len(split["labeled"]) == 305
    errors = [*result["class_errors"].values()]
    assert result["balanced_error"] == pytest.approx(np.mean(errors))
    assert errors[-1] > errors[0] and 0 <= result["calibration_error"] <= 100
    beside = (
        f"(balanced error {result['balanced_error']:.2f} %, macro F1 {result['macro_f1']:.2f} %, "
    )
    assert beside in said
    metrics = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert not {"test_balanced_error", "balanced_error"} & metrics.keys()
    assert said.endswith(printed(*words, folder=tmp_path))
    printed("report", "runs", folder=tmp_path)
    for name in ("report.md", "report.html"):
        text = (tmp_path / "report" / name).read_text()
        assert "50 % of the labels, imbalance 100" in text and "alanced error" in text


def test_a_number_for_each_class_gives_the_bits_of_the_number_in_all(tmp_path: Path) -> None:
    words = [*FAST, "--method", "supervised", "--steps", "4"]
    files = ("split.json", "metrics.jsonl")
    found = []
    for amount, place in (("--labels 30", "30"), ("--labels-per-class 3", "3each")):
        printed(*words, *amount.split(), folder=tmp_path)
        run = tmp_path / f"runs/digits-{place}/supervised-mlp/seed0"
        found.append([(run / name).read_bytes() for name in files])
    assert found[0] == found[1]


def test_a_drawn_test_part_is_that_of_every_seed_and_kept(tmp_path: Path) -> None:
    """From labels in a table; of a class of one image nothing is drawn, and it has no error."""
    rows = ["file,label"]
    for number, label in enumerate(["cat"] * 8 + ["dog"] * 6 + ["emu"]):
        save_image(tmp_path / f"own/images/{number}.png", number)
        rows.append(f"images/{number}.png,{label}")
    (tmp_path / "own" / "labels.csv").write_text("\n".join(rows))
    words = ["--dataset", "folder", "--data-dir", "own", "--image-size", "8", *QUICK]
    words += ["--test-fraction", "0.5", "--batch-size", "4", "--unlabeled-batch-size", "4"]
    printed(*words, "--seeds", "0", "1", folder=tmp_path)
    runs = [tmp_path / f"runs/own-all-test50%/supervised+isda-mlp/seed{k}" for k in (0, 1)]
    tests = [kept(run, "split.json")["test"] for run in runs]
    assert tests[0] == tests[1] and len(tests[0]) == 7
    result = kept(runs[0], "result.json")
    assert result["class_errors"]["emu"] is None and len(result["class_errors"]) == 3
    known = [result["class_errors"][name] for name in ("cat", "dog")]
    assert result["balanced_error"] == pytest.approx(np.mean(known))
    words[words.index("0.5")] = "0.25"
    code, _, err = answer([*words, "--split", str(runs[0] / "split.json")], tmp_path)
    assert code == 2 and "drawn from other images (digest" in err


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ("label_fraction: [0.05, 0.1]", {"digits-5%", "digits-10%"}),
        (
            "labels_per_class: [3], imbalance: [2, 4.5]",
            {"digits-3each-imbalance2", "digits-3each-imbalance4.5"},
        ),
        (
            "labels: [20], imbalance: [4], imbalance_unlabeled: [2]",
            {"digits-20-imbalance4-unlabeled2"},
        ),
    ],
)
def test_a_grid_varies_amounts(tmp_path: Path, words: str, places: set[str]) -> None:
    (tmp_path / "grid.yaml").write_text(
        f"settings: {{dataset: digits, method: supervised}}\nruns:\n  - {{{words}}}\n"
    )
    runs = expand(read_grid(tmp_path / "grid.yaml", read_components(None)), {})
    assert {run.path.parts[1] for run in runs} == places


def test_a_search_holds_out_of_a_fraction(tmp_path: Path) -> None:
    words = ["search", "--dataset", "digits", "--method", "supervised", "--label-fraction", "0.05"]
    lines = printed(*words, "--print-commands", folder=tmp_path).splitlines()
    assert len(lines) == 5 and all("--label-fraction 0.05" in line for line in lines)
