"""Images that changed under a run: nothing goes on with others, and no number joins two test sets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ssl_isda
from ssl_isda.base.errors import UsageError
from ssl_isda.results.features import load_features
from ssl_isda.settings.resolve import resolve
from tests.commands import answer
from tests.synthetic_runs import write_run

SETTINGS: dict[str, Any] = {
    "method": "supervised",
    "model": "linear",
    "steps": 2,
    "batch_size": 4,
    "threads": 1,
    "wandb": "disabled",
    "quiet": True,
}
PLUGIN = """
import numpy as np
from ssl_isda.data.images.image_data import DATASETS, ImageData

@DATASETS.register("file_of_mine")
def file_of_mine(config, data_dir):
    kept = np.load(data_dir / "mine.npz")
    return ImageData.from_arrays("mine", "ab", (kept["x"], kept["y"]), (kept["t"], kept["y"]))
"""
BOTH = r"\(digest (2:[0-9a-f]{64}) there, (2:[0-9a-f]{64}) now\)"


def pixels(seed: int, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), np.uint8)


LABELS = np.arange(12) % 2


def write_folder(root: Path, test_seed: int) -> None:
    """Bitmaps: the same names and sizes, whatever the pixels."""
    for part, images in (("train", pixels(0)), ("test", pixels(test_seed))):
        for place, image in enumerate(images):
            file = root / part / "ab"[place % 2] / f"{place}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)


def of_folder(**options: Any) -> Callable[..., ssl_isda.Run]:
    def train(place: Path, test_seed: int) -> ssl_isda.Run:
        write_folder(place / "photos", test_seed)
        return trained(place, dataset="folder", data_dir=place / "photos", image_size=8, **options)

    return train


def of_arrays(place: Path, test_seed: int) -> ssl_isda.Run:
    return trained(place, data=(pixels(0), LABELS), test_data=(pixels(test_seed), LABELS))


def of_a_plugin(place: Path, test_seed: int) -> ssl_isda.Run:
    (place / "plugin.py").write_text(PLUGIN)
    np.savez(place / "mine.npz", x=pixels(0), y=LABELS, t=pixels(test_seed))
    plugin = {"dataset": "file_of_mine", "plugin": str(place / "plugin.py")}
    return trained(place, data_dir=place, labels=4, **plugin)


def of_digits(place: Path, test_seed: int) -> ssl_isda.Run:
    """As if scikit-learn came with another test image."""
    from sklearn import datasets

    raw = datasets.load_digits()
    raw.images[0, :test_seed] = 5
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datasets, "load_digits", lambda: raw)
        return trained(place, dataset="digits", labels=20, batch_size=20)


def trained(place: Path, **settings: Any) -> ssl_isda.Run:
    return ssl_isda.train(**{**SETTINGS, "runs_dir": place / "runs", **settings})


KINDS: dict[str, Callable[[Path, int], ssl_isda.Run]] = {
    "folder": of_folder(),
    "streamed folder": of_folder(streaming=True),
    "arrays": of_arrays,
    "plugin": of_a_plugin,
    "digits": of_digits,
}


@pytest.mark.fault(43)
@pytest.mark.fault(44)
@pytest.mark.parametrize("kind", KINDS)
def test_fault_43_no_run_goes_on_with_other_test_images(kind: str, tmp_path: Path) -> None:
    train = KINDS[kind]
    run = train(tmp_path, 1)
    if kind != "digits":  # whose content is known by its name
        with pytest.raises(UsageError, match=f"holds a run on other images than .* {BOTH}"):
            train(tmp_path, 2)
    (run.path / "result.json").rename(tmp_path / "kept")  # as if it had been stopped
    kept = (run.path / "metrics.jsonl").read_bytes()
    with pytest.raises(UsageError, match=f"began with other images than .* {BOTH}") as caught:
        train(tmp_path, 2)
    there, now = re.findall("2:[0-9a-f]{64}", str(caught.value))
    assert there == run.result["data_digest"] != now
    assert not (run.path / "result.json").exists()
    assert (run.path / "metrics.jsonl").read_bytes() == kept
    assert train(tmp_path, 1).error == run.error


@pytest.mark.fault(43)
def test_fault_43_no_run_is_evaluated_on_other_images(tmp_path: Path) -> None:
    run = KINDS["folder"](tmp_path, 1)
    few = ["--points", "6", "--perplexity", "2", "--wandb", "disabled"]
    assert answer(["export", str(run.path), *few], tmp_path).code == 0
    before = (run.path / "features.npz").read_bytes()
    assert load_features(run.path / "features.npz").data_digest == run.result["data_digest"]
    write_folder(tmp_path / "photos", 2)
    for command in (["export", *few[:4]], ["analyze", "tightness"]):
        code, _, line = answer([*command, str(run.path)], tmp_path)
        assert code == 2 and re.search(f"was made on other images than .* {BOTH}", line)
    assert (run.path / "features.npz").read_bytes() == before
    (run.path / "preparation.npz").unlink()  # a run of version 0.1 reads its images to predict
    with pytest.raises(UsageError, match=f"was made on other images than .* {BOTH}"):
        ssl_isda.load(run.path)


@pytest.mark.fault(44)
def test_fault_44_a_digest_of_names_and_sizes_is_compared_with_its_like(tmp_path: Path) -> None:
    """Of a result of version 0.1: the same names and sizes are its images, others are not."""
    train = KINDS["folder"]
    run = train(tmp_path, 1)
    from ssl_isda.data.facts import data_digests

    _, old = data_digests("folder", tmp_path / "photos")
    text = (run.path / "result.json").read_text()
    (run.path / "result.json").write_text(text.replace(run.result["data_digest"], old))
    assert train(tmp_path, 1).error == run.error
    Image.new("RGB", (9, 9)).save(tmp_path / "photos/test/a/more.bmp")
    with pytest.raises(UsageError, match=rf"\(digest {old} there, [0-9a-f]{{64}} now\)"):
        train(tmp_path, 1)


@pytest.mark.fault(43)
def test_fault_43_a_page_at_wandb_can_group_by_the_digest(tmp_path: Path, monkeypatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "ssl_isda.runs.wandb_view.open_view", lambda mode, **given: shown.append(given["config"])
    )
    run = KINDS["arrays"](tmp_path, 1)
    assert [config["data_digest"] for config in shown] == [run.result["data_digest"]]


# ---- readers that join runs

A, B, OLD = "2:" + "a" * 64, "2:" + "b" * 64, "c" * 64


def write_mixed(runs: Path) -> None:
    """Without ISDA seed 2, and with ISDA seed 1, on other images; seed 0 as version 0.1 left it."""
    for flags, digests in (([], [OLD, A, B]), (["--isda"], [OLD, B, A])):
        for seed, digest in enumerate(digests):
            errors = [10.0 + 40 * (digest == B)]
            words = ("--dataset", "digits", *flags, "--seed", str(seed))
            write_run(runs, *words, errors=errors, data_digest=digest)


ODD = [
    "runs/digits-20/vat/seed2: made on other images than most runs of digits, 20 labels "
    f"(digest {B}, of most {A})",
    "runs/digits-20/vat+isda/seed1: made on other images than most runs of digits, 20 labels "
    f"(digest {B}, of most {A})",
]


@pytest.mark.fault(43)
def test_fault_43_a_report_keeps_test_sets_apart(tmp_path: Path) -> None:
    write_mixed(tmp_path / "runs")
    code, out, _ = answer(["report", "runs", "--out", "out"], tmp_path)
    assert code == 0 and sorted(out.splitlines()[1:]) == sorted(f"warning: {line}" for line in ODD)
    text = (tmp_path / "out/report.md").read_text()
    assert "| VAT | 10.00 ± 0.00 (n = 2)<br>" in text and f"(digest {B}, of most {A})" in text
    assert r"digits \[digest 2:bbbbbbbbbb\], 20 labels" in text
    assert "| 50.00 (n = 1)<br>" in text and "n = 3" not in text
    assert B in (tmp_path / "out/report.html").read_text()


@pytest.mark.fault(43)
def test_fault_43_a_pair_is_of_one_test_set(tmp_path: Path) -> None:
    write_mixed(tmp_path / "runs")
    code, out, _ = answer(["analyze", "comparison", "runs"], tmp_path)
    assert code == 0 and "| +0.00 (n = 1) |" in out
    assert out.count("(n = 1)") == 3 and out.count(f"(digest {B}, of most {A})") == 2
    assert r"\[digest 2:bbbbbbbbbb\], 20 labels, VAT + ISDA: seeds 1, 2 in no pair" in out
    _, out, _ = answer(["analyze", "comparison", "runs", "--out", "out"], tmp_path)
    assert out.count(f"(digest {B}, of most {A})") == 2


@pytest.mark.fault(43)
def test_fault_43_a_kept_copy_is_not_replaced_by_a_run_on_other_images(tmp_path: Path) -> None:
    for place, digest in (("one", A), ("two", B), ("three", OLD)):
        write_run(tmp_path / place, "--dataset", "digits", data_digest=digest)
    said = [
        answer(["analyze", "collect", p, "--out", "kept"], tmp_path).out for p in ("one", "two")
    ]
    assert f"(digest {A} there, {B} here)" in said[1] and "kept: 0 runs" in said[1]
    assert A in (tmp_path / "kept/digits-20/vat/seed0/result.json").read_text()
    assert "kept: 1 run" in answer(["analyze", "collect", "three", "--out", "kept"], tmp_path).out


@pytest.mark.fault(43)
def test_fault_43_a_grid_averages_one_test_set(tmp_path: Path, monkeypatch) -> None:
    from ssl_isda.commands.grid.progress import Progress
    from ssl_isda.runs.grid_expansion import GridRun

    monkeypatch.chdir(tmp_path)
    write_mixed(Path("runs"))
    words = [["--dataset=digits", "--method=vat", f"--seed={seed}"] for seed in range(3)]
    runs = [GridRun(resolve(each)) for each in words]
    lines = Progress(runs).summary(runs).splitlines()
    assert lines[1:] == [
        "  runs/digits-20/vat  10.00 ± 0.00 (n = 2)",
        "kept apart: runs/digits-20/vat/seed2: test error 50.00 % on other images "
        f"(digest {B}, of most of its cell {A})",
    ]


@pytest.mark.fault(43)
def test_fault_43_a_search_compares_errors_on_the_same_images() -> None:
    from ssl_isda.commands.search import Tried, choice

    tried = [Tried({"lambda_0": strength}, (9.0,), digest) for strength, digest in ((1, A), (2, A))]
    assert choice(tried) is tried[0]
    with pytest.raises(UsageError, match=f"digest {B}, of most {A}"):
        choice([*tried, Tried({"lambda_0": 3}, (8.0,), B)])
