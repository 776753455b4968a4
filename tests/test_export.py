"""``run.py export`` on real runs, in processes of its own."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from ssl_isda.runs.checkpoint import load, save
from tests.commands import DIGITS, QUICK, names, refusal, run, train

CELLS = {
    "supervised": Path("runs/digits-20/supervised/seed0"),
    "mean_teacher": Path("runs/digits-40/mean_teacher+isda/seed0"),
}
HEADS = {"supervised": "head.weight", "mean_teacher": "teacher.head.weight"}
WRITTEN = {"features.npz", "tsne.npz", "tsne.png", "tsne.svg", "clusters.json"}
FEW = ["--points", "40", "--perplexity", "5"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A supervised run, and one of Mean Teacher + ISDA that holds out labels for validation."""
    folder = tmp_path_factory.mktemp("trained")
    train(*DIGITS, "--method", "supervised", "--steps", "6", cwd=folder)
    flags = ["--method", "mean_teacher", "--isda", "--steps", "6", "--labels", "40", "--validation"]
    train(*DIGITS, *flags, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory) -> tuple[Path, str]:
    """The same, both exported with one command; and what that printed."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("exported") / "here")
    return folder, train("export", *map(str, CELLS.values()), *FEW, cwd=folder)


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained runs, to be changed."""
    return shutil.copytree(trained, tmp_path / "here")


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# ---- what is written


@pytest.mark.slow
def test_nothing_else_is_written_or_changed(trained: Path, exported) -> None:
    folder, _ = exported
    before, after = contents(trained), contents(folder)
    added = {"tsne.png", "tsne.svg"}
    added |= {str(cell / name) for cell in CELLS.values() for name in WRITTEN}
    assert after.keys() == before.keys() | added
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "key"), [("supervised", "student"), ("mean_teacher", "objective")]
)
def test_predictions_have_the_error_of_the_last_epoch_and_logits_are_the_head_on_the_features(
    exported, method: str, key: str
) -> None:
    """Mean Teacher is tested, and so exported, with its teacher."""
    path = exported[0] / CELLS[method]
    found = arrays(path / "features.npz")
    expected = json.loads((path / "result.json").read_text())["last_epoch_error"]
    test = found["part"] == 2
    wrong = found["predictions"][test] != found["labels"][test]
    assert test.sum() == 450 and 100 * wrong.mean() == pytest.approx(expected, abs=1e-12)
    assert (found["logits"].argmax(1) == found["predictions"]).all()
    weights = load(path / "checkpoint.pt")[key]
    (name,) = (name for name in weights if name.endswith(HEADS[method]))
    head, bias = weights[name], weights[name.replace("weight", "bias")]
    expected = torch.from_numpy(found["features"]) @ head.T + bias
    torch.testing.assert_close(torch.from_numpy(found["logits"]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", CELLS)
def test_parts_places_and_labels_are_those_of_the_split_and_the_data(exported, method: str) -> None:
    from ssl_isda.datasets.digits import digits

    path, data = exported[0] / CELLS[method], digits(None, Path())
    found = arrays(path / "features.npz")
    split = json.loads((path / "split.json").read_text())
    part_names = found["part_names"].tolist()
    places = {
        name: found["index"][found["part"] == k].tolist() for k, name in enumerate(part_names)
    }
    taken = {*split["labeled"], *split["validation"]}
    assert places == {
        "labeled": split["labeled"],
        "unlabeled": [k for k in range(1347) if k not in taken],
        "test": list(range(450)),
        "validation": split["validation"],
    }
    test = found["part"] == 2
    assert (found["labels"][test] == data.test.labels.numpy()).all()
    assert (found["labels"][~test] == data.train.labels.numpy()[found["index"][~test]]).all()
    assert found["class_names"].tolist() == list(data.class_names)
    digest = hashlib.sha256((path / "checkpoint.pt").read_bytes()).hexdigest()
    assert str(found["checkpoint_sha256"]) == digest


@pytest.mark.slow
def test_the_panels_show_the_same_images(exported) -> None:
    folder, _ = exported
    drawn = [arrays(folder / cell / "tsne.npz") for cell in CELLS.values()]
    assert (drawn[0]["index"] == drawn[1]["index"]).all()
    assert np.bincount(drawn[0]["labels"]).tolist() == [4] * 10
    assert not np.array_equal(drawn[0]["coordinates"], drawn[1]["coordinates"])
    for each, cell in zip(drawn, CELLS.values(), strict=True):
        assert each["coordinates"].shape == (40, 2) and each["coordinates"].dtype == np.float32
        features = arrays(folder / cell / "features.npz")
        test = features["part"] == 2
        for name in ("labels", "predictions"):
            assert (each[name] == features[name][test][each["index"]]).all()
    pictures = (folder / "tsne.png", folder / CELLS["supervised"] / "tsne.png")
    both, one = (Image.open(io.BytesIO(path.read_bytes())).width for path in pictures)
    assert both > 1.5 * one


@pytest.mark.fault(38)
@pytest.mark.slow
def test_fault_38_a_pipe_sees_lines_with_the_numbers_that_are_saved(exported) -> None:
    folder, printed = exported
    assert not re.search(r"\r|\x1b|it/s|\d%\|", printed)
    lines = printed.splitlines()
    assert len(lines) == 13 and lines.count("t-SNE of 40 test images x 6 features ...") == 2
    assert len([line for line in lines if re.fullmatch(r"t-SNE took \d+ s", line)]) == 2
    for cell in CELLS.values():
        quality = json.loads((folder / cell / "clusters.json").read_text())
        shown = (quality["points"], quality["distance"], quality["neighbours"])
        assert shown == (40, "euclidean", 5)
        for space in (quality["features"], quality["tsne"]):
            text = "{knn_accuracy:.2f} % and silhouette {silhouette:.3f}".format(**space)
            assert text in printed


@pytest.mark.slow
def test_again_gives_the_same_bytes_and_out_takes_the_figure(exported, tmp_path: Path) -> None:
    folder, _ = exported
    before = contents(folder)
    out = tmp_path / "new" / "figures"
    train("export", *map(str, CELLS.values()), *FEW, "--out", str(out), cwd=folder)
    assert contents(folder) == before
    assert contents(out) == {name: before[name] for name in ("tsne.png", "tsne.svg")}


@pytest.mark.slow
def test_the_coordinates_alone_give_the_same_picture(exported, tmp_path: Path) -> None:
    folder, _ = exported
    for cell in CELLS.values():
        (tmp_path / cell).mkdir(parents=True)
        shutil.copy(folder / cell / "tsne.npz", tmp_path / cell)
    train("analyze", "redraw", *map(str, CELLS.values()), "--out", "together", cwd=tmp_path)
    train("analyze", "redraw", str(CELLS["supervised"]), cwd=tmp_path)
    for drawn in (Path("together"), CELLS["supervised"]):
        first = folder if drawn == Path("together") else folder / drawn
        for name in ("tsne.png", "tsne.svg"):
            assert (tmp_path / drawn / name).read_bytes() == (first / name).read_bytes()


@pytest.mark.slow
def test_a_moved_run_and_only_the_test_images(runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved run"
    shutil.move(runs / CELLS["supervised"], moved)
    train("export", str(moved), "--test-only", *FEW, cwd=tmp_path)
    assert set(arrays(moved / "features.npz")["part"].tolist()) == {2}
    assert not (tmp_path / "tsne.png").exists()  # one run: no figure beside its own


@pytest.mark.slow
def test_training_goes_on_after_an_export_as_if_there_had_been_none(runs: Path) -> None:
    cell = runs / CELLS["supervised"]
    before = {name: (cell / name).read_bytes() for name in ("checkpoint.pt", "metrics.jsonl")}
    (cell / "result.json").unlink()
    train("export", str(cell), *FEW, cwd=runs)
    flags = ["--method", "supervised", "--steps", "6"]
    assert "resuming at step 6 of 6" in train(*DIGITS, *flags, cwd=runs)
    assert {name: (cell / name).read_bytes() for name in before} == before
    assert names(cell) >= WRITTEN


@pytest.mark.fault(4)
@pytest.mark.slow
def test_fault_4_a_damaged_checkpoint_gives_way_to_the_one_before(runs: Path) -> None:
    cell = runs / CELLS["supervised"]
    checkpoint = cell / "checkpoint.pt"
    before = cell / "checkpoint.pt.previous"
    shutil.copy(checkpoint, before)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    process = run("export", str(cell), *FEW, cwd=runs)
    assert process.returncode == 0
    (line,) = process.stderr.splitlines()
    assert line.startswith("warning: ") and "checkpoint.pt is damaged" in line
    digest = hashlib.sha256(before.read_bytes()).hexdigest()
    assert str(arrays(cell / "features.npz")["checkpoint_sha256"]) == digest
    before.unlink()
    assert "is damaged" in refusal("export", str(cell), cwd=runs)


@pytest.mark.slow
def test_images_without_a_label_have_minus_one(tmp_path: Path) -> None:
    draws = np.random.RandomState(0)
    for part, count in (("train/cat", 4), ("train/dog", 4), ("unlabeled", 3), ("test/cat", 5)):
        folder = tmp_path / "pets" / part
        folder.mkdir(parents=True)
        for k in range(count):
            Image.fromarray(draws.randint(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{k}.png")
    shutil.copytree(tmp_path / "pets/test/cat", tmp_path / "pets/test/dog")
    flags = ["--dataset", "folder", "--data-dir", "pets", "--image-size", "16", "--labels", "4"]
    sizes = ["--batch-size", "4", "--unlabeled-batch-size", "8", "--steps", "2"]
    train(*QUICK, *flags, *sizes, "--method", "supervised", cwd=tmp_path)
    cell = tmp_path / "runs/pets-4/supervised/seed0"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = ["--data-dir", str(tmp_path / "pets")]
    train("export", str(cell), *place, "--perplexity", "3", cwd=elsewhere)
    found = arrays(cell / "features.npz")
    assert (found["labels"] == -1).sum() == 3
    assert (found["part"][found["labels"] == -1] == 1).all()
    assert found["class_names"].tolist() == ["cat", "dog"]


# ---- refused, and nothing written


@pytest.mark.fault(41)
@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--points", "30"], ["--perplexity", "450"]])
def test_fault_41_fewer_points_than_the_perplexity(trained: Path, flags: list[str]) -> None:
    before = contents(trained)
    line = refusal("export", str(CELLS["supervised"]), *flags, cwd=trained)
    assert "--perplexity must be below" in line
    assert contents(trained) == before


@pytest.mark.fault(41)
@pytest.mark.slow
@pytest.mark.parametrize(("value", "words"), [(torch.nan, "not finite"), (0.0, "are the same")])
def test_fault_41_a_network_that_diverged_or_collapsed(
    runs: Path, value: float, words: str
) -> None:
    cell = CELLS["supervised"]
    state = load(runs / cell / "checkpoint.pt")
    for name, tensor in state["student"].items():
        if tensor.is_floating_point() and "head" not in name:
            tensor.fill_(value)
    save(runs / cell / "checkpoint.pt", state)
    before = contents(runs)
    line = refusal("export", str(cell), cwd=runs)
    assert f"{cell}: the features of" in line and words in line
    assert contents(runs) == before


@pytest.mark.fault(12)
def test_fault_12_a_run_in_training_is_not_disturbed(trained: Path, tmp_path: Path) -> None:
    before = contents(trained)
    with FileLock(trained / CELLS["mean_teacher"] / ".lock"):
        cells = map(str, CELLS.values())
        line = refusal("export", *cells, "--out", str(tmp_path / "out"), cwd=trained, code=75)
    assert f"{CELLS['mean_teacher']} is in use" in line
    assert contents(trained) == before and names(tmp_path) == set()


@pytest.mark.slow
def test_runs_that_cannot_be_exported_are_left_as_they_are(runs: Path) -> None:
    one, other = CELLS.values()
    whole = {name: (runs / one / name).read_bytes() for name in ("split.json", "checkpoint.pt")}

    def refused(*words: str | Path) -> str:
        before = contents(runs)
        line = refusal("export", *map(str, words), cwd=runs)
        assert contents(runs) == before
        return line

    assert "cannot write /proc/figures" in refused(one, "--out", "/proc/figures")
    shutil.copy(runs / other / "checkpoint.pt", runs / one / "checkpoint.pt")
    assert "belongs to another network" in refused(one)
    for name, content in whole.items():
        (runs / one / name).unlink()
        line = refused(one)
        assert str(one) in line and name.partition(".")[0] in line
        (runs / one / name).write_bytes(content)
    config = runs / other / "config.yaml"
    config.write_text(config.read_text().replace("dataset: digits", "dataset: svhn"))
    assert "different data sets" in refused(one, other)
