"""``run.py predict`` and ``export-model``, with a run that was moved away from its data, now gone."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_isda
from ssl_isda.assembly.start import starting_weights
from ssl_isda.assembly.trained import evaluate
from ssl_isda.commands.predict.table import MOST_ON_A_TERMINAL
from ssl_isda.data import inputs
from ssl_isda.data.streaming import Streaming
from ssl_isda.results.features import Features
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.options import Place
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.settings.resolve import resolve
from tests.commands import SUPERVISED, answer, names
from tests.pages import ROOT

CLASSES = ("<i>cat", "=dog")
TRAINING = """
--method mean_teacher --model mlp --hidden 8 --features 8 --steps 30 --batch-size 4 --learning-rate 0.02
--unlabeled-batch-size 4 --dataset folder --data-dir leaves --image-size 8 --preprocessing scale
--precision fp32 --threads 1 --wandb disabled
"""
HEAD = ["file", "class", "probability", "second_class", "margin"]


def save_image(path: Path, seed: int, size: tuple[int, int] = (14, 10), darkest: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(darkest, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def run_and_expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Features]:
    """A Mean Teacher run and its evaluation; beside it its test images, in ``test``."""
    place = tmp_path_factory.mktemp("trained")
    for part, count in (("train", 12), ("test", 6)):
        for number, name in enumerate(CLASSES):
            for k in range(count):
                seed, darkest = 100 * number + k, 200 * (number ^ (k == 5))
                save_image(place / "leaves" / part / name / f"{k}.png", seed, darkest=darkest)
    assert answer(TRAINING.split(), place).code == 0
    (result,) = place.rglob("result.json")
    here = Place(data_dir=place / "leaves", device="cpu", threads=None, plugin=None)
    resolved = settings_of_run(result.parent, here)
    expected = evaluate(RunFolder(resolved, result.parent), test_only=True)
    moved = tmp_path_factory.mktemp("moved")
    shutil.move(result.parent, moved / "run")
    shutil.move(place / "leaves" / "test", moved / "test")
    shutil.rmtree(place)
    return moved / "run", expected


@pytest.fixture
def run(run_and_expected: tuple[Path, Features]) -> Path:
    return run_and_expected[0]


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_predictions_are_those_of_the_runs_evaluation(
    run_and_expected: tuple[Path, Features],
) -> None:
    """To the bit in its order and batches, of the teacher and without the data; else the classes."""
    run, expected = run_and_expected
    model, test = ssl_isda.load(run), run.parent / "test"
    found = model.predict(test)
    assert np.array_equal(found.features, expected.features)
    probabilities = torch.from_numpy(expected.logits).softmax(1).numpy()
    assert np.array_equal(found.probabilities, probabilities)
    assert found.inputs == sorted(str(path) for path in test.rglob("*.png"))
    one_by_one = [model.predict(path).labels[0] for path in found.inputs]
    assert np.array_equal(one_by_one, expected.predictions) and len({*one_by_one}) == 2
    code, out, err = answer(["predict", str(run), "test"], run.parent)
    head, *rows = rows_of(out)
    assert (code, err, head) == (0, "", HEAD)
    assert [row[1].removeprefix("'") for row in rows] == [CLASSES[k] for k in found.labels]
    shown = [[float(row[2]), float(row[2]) - float(row[4])] for row in rows]
    assert np.allclose(shown, -np.sort(-found.probabilities), atol=2e-6)


def test_the_table_marks_what_is_unsure_and_has_no_formula(run: Path, tmp_path: Path) -> None:
    files = ("=1+1.png", "@a.png", "b,\n.png")
    for k, name in enumerate(files):
        save_image(tmp_path / name, k, darkest=60 * k)
    probabilities = ssl_isda.load(run).predict([tmp_path / name for name in files]).probabilities
    limit = sorted(probabilities.max(1).tolist())[1]
    words = ["predict", str(run), *files, "--out", "new/p.csv", "--unsure", str(limit)]
    code, out, err = answer(words, tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("new/p.csv: 3 predicted; 1 unsure (probability below ")
    head, *rows = rows_of((tmp_path / "new/p.csv").read_text("utf-8"))
    assert head == [*HEAD, "unsure"]
    assert [row[0] for row in rows] == ["'=1+1.png", "'@a.png", "b,\n.png"]
    assert [row[5] == "yes" for row in rows] == (probabilities.max(1) < limit).tolist()
    assert {row[k] for row in rows for k in (1, 3)} == {"<i>cat", "'=dog"}


def test_a_terminal_gets_the_first_lines(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((MOST_ON_A_TERMINAL + 3, 8, 8), np.uint8))
    monkeypatch.setattr("ssl_isda.commands.predict.command.shows_bars", lambda stream: True)
    lines = answer(["predict", str(run), "x.npy"], tmp_path).out.splitlines()
    assert lines[0].split() == HEAD and lines[1].startswith("x.npy[0]  ")
    assert len(lines) == MOST_ON_A_TERMINAL + 3
    assert lines[-2:] == [
        "... and 3 more; --out predictions.csv writes them all",
        f"{MOST_ON_A_TERMINAL + 3} predicted",
    ]


def test_the_page_shows_mistakes_and_escapes_names(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent / "test", tmp_path / "test")
    save_image(tmp_path / "test" / "<script>.png", 7)
    save_image(tmp_path / "test" / "=dog" / "tall.png", 8, size=(300, 100))
    code, out, err = answer(["predict", str(run), "test", "--review", "r.html"], tmp_path)
    found = [row[:2] for row in rows_of(out)[1:]]
    known = [(name, cls.removeprefix("'")) for name, cls in found if name.count("/") == 2]
    wrong = sum(name.split("/")[1] != cls for name, cls in known)
    summary = f"14 predicted; error {100 * wrong / 13:.2f} % of 13 whose class is known"
    assert (code, err) == (0, f"r.html: {summary}\n") and 0 < wrong < 13
    page = (tmp_path / "r.html").read_text("utf-8")
    assert f"{wrong} of 13 whose class" in page and summary in page
    counts = [int(text or 0) for text in re.findall(r'--a:[\d.]+">(\d*)</td>', page)]
    assert sum(counts) == 13 and counts[1] + counts[2] == wrong
    assert "&lt;script&gt;.png" in page and "&lt;i&gt;cat" in page
    assert "<script" not in page and "<i>" not in page
    sources = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert len(sources) >= 14 and all(source.startswith("data:") for source in sources)


def test_an_array_file_has_labels_and_pictures(run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", X=pixels, y=[0, 1, 1, 0, -1])
    np.savez(tmp_path / "b.npz", X=pixels[:1], y=["=dog"])
    np.save(tmp_path / "c.npy", ssl_isda.load(run).prepare(torch.zeros(2, 3, 8, 8).byte()).numpy())
    words = ["predict", str(run), *("a.npz", "b.npz", "c.npy"), "--review", "r.html"]
    _, out, err = answer(words, tmp_path)
    places = [f"a.npz[{k}]" for k in range(5)] + ["b.npz[0]", "c.npy[0]", "c.npy[1]"]
    assert [row[0] for row in rows_of(out)[1:]] == places
    assert "of 5 whose class is known" in err
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "data:image/png" in page and "no picture" in page


def test_what_cannot_be_read_is_told_at_once_or_skipped(run: Path, tmp_path: Path) -> None:
    save_image(tmp_path / "p" / "good.png", 0)
    for name in ("a.png", "z.jpg"):
        (tmp_path / "p" / name).write_bytes(b"")
    (tmp_path / "p" / "notes.txt").write_text("text")
    words = ["predict", str(run), "p", "--out", "p.csv", "--review", "r.html"]
    code, out, err = answer(words, tmp_path)
    note, line = err.splitlines()
    assert (code, out) == (2, "") and "1 file that has no image's extension" in note
    assert line.startswith("run.py: 2 images cannot be read: p/a.png (empty: ")
    assert "p/z.jpg (empty: " in line and line.endswith(
        "--skip-unreadable predicts the others, if any"
    )
    assert names(tmp_path) == {"p"}
    code, out, err = answer([*words, "--skip-unreadable"], tmp_path)
    assert code == 0 and "skipped p/a.png: empty" in err
    assert len(rows_of((tmp_path / "p.csv").read_text())) == 2
    with pytest.raises(ssl_isda.UsageError, match="skip_unreadable=True"):
        ssl_isda.load(run).predict(tmp_path / "p")
    found = ssl_isda.load(run).predict(tmp_path / "p", skip_unreadable=True)
    assert found.inputs == [str(tmp_path / "p" / "good.png")]


def test_two_batches_are_kept_and_no_more(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    sources: list[Streaming] = []

    class Watched(Streaming):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            sources.append(self)

    def decode(path: Path, *_: object) -> np.ndarray:
        decoded.append(path)
        return np.zeros((3, 8, 8), np.uint8)

    monkeypatch.setattr(inputs, "decode", decode)
    monkeypatch.setattr(inputs, "Streaming", Watched)
    for k in range(40):
        (tmp_path / f"{k}.png").touch()
    model = ssl_isda.load(run)
    (part,) = inputs.inputs_of(tmp_path, model.prepare)
    seen = 0
    for places, _ in part.batches(model.prepare, 4, torch.device("cpu"), skip_unreadable=False):
        seen += len(places)
        assert len(decoded) <= seen + 4 and sources[0].num_kept <= 8
    assert (seen, len(decoded)) == (40, 40)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        ({"Y": np.zeros(3)}, "x.npz has no array X (its arrays: Y)"),
        ({"X": np.zeros((4, 5))}, "x.npz: images must be (n, height, width)"),
        ({"X": np.zeros((4, 2, 8, 8), np.uint8)}, "with 1 or 3 channels, got (4, 2, 8, 8)"),
        ({"X": np.zeros((4, 3, 9, 9))}, "must be of shape (3, 8, 8) each, got (3, 9, 9)"),
        ({"X": np.zeros((4, 8, 8), np.int64)}, "uint8 or floating-point, got int64"),
        ({"X": np.full((4, 3, 8, 8), np.nan)}, "x.npz[0] has a number that is NaN or infinite"),
        ({"X": np.array([{}])}, "x.npz cannot be read: "),
        ({"X": np.zeros((0, 8, 8), np.uint8)}, "x.npz: X has no row"),
        ({"X": np.zeros((4, 8, 8), np.uint8), "y": [1, 0]}, "x.npz: X has 4 rows and y has the"),
        (None, "x.npz cannot be read: "),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(
    run: Path,
    tmp_path: Path,
    array: dict[str, np.ndarray] | None,
    says: str,
) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04")
    if array is not None:
        np.savez(tmp_path / "x.npz", **array)
    code, out, err = answer(["predict", str(run), "x.npz", "--out", "p.csv"], tmp_path)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
    assert names(tmp_path) == {"x.npz"}


@pytest.mark.slow
def test_exported_files_agree_and_the_page_of_the_docs_reads_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "runs/leaves-all/vat/seed0")
    for k in range(3):
        save_image(Path(f"photos/{k}.png"), k)
    for form, file in (("safetensors", "safetensors"), ("torch-export", "pt2"), ("onnx", "onnx")):
        words = ["export-model", str(run), "--format", form, "--out", f"model.{file}"]
        code, out, err = answer(words, tmp_path)
        assert (code, err) == (0, "") and "2 classes, uint8 images, 0 to 255, (n, 3, 8, 8)" in out
    expected = ssl_isda.load(run).predict("photos")
    page = (ROOT / "docs/predict.md").read_text("utf-8")
    space: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, space)
        if "probabilities" in space:
            for name in ("probabilities", "features"):
                found = torch.as_tensor(space.pop(name)).detach().numpy()
                assert np.allclose(found, getattr(expected, name)[1:2], atol=1e-5)
    again = ssl_isda.load("model.safetensors").predict("photos")
    assert np.array_equal(again.probabilities, expected.probabilities)
    assert answer(["predict", "model.safetensors", "photos"], tmp_path) == answer(
        ["predict", str(run), "photos"], tmp_path
    )
    resolved = resolve([*SUPERVISED, "--weights", "model.safetensors"])
    weights = starting_weights(resolved)
    assert weights is not None and tuple(weights.class_names or ()) == CLASSES
    for content in (Path("model.safetensors").read_bytes()[:-9], b""):
        Path("cut.safetensors").write_bytes(content)
        assert (
            "cut.safetensors is no file of export-model"
            in answer(["predict", "cut.safetensors", "photos"], tmp_path).err
        )


@pytest.mark.parametrize(("form", "package"), [("safetensors",) * 2, ("onnx", "onnxscript")])
def test_a_missing_package_is_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, form: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = answer(["export-model", str(run), "--format", form], run)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"needs the package {package!r}: install ssl-isda with its extra" in err
