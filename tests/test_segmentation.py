"""Segmentation from the command line: training, resuming, judging, predicting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_isda
from ssl_isda import cli
from ssl_isda.base.errors import UsageError
from ssl_isda.runs import checkpoint
from ssl_isda.runs.metrics import MEAN_IOU
from tests import masks_folder
from tests.commands import answer

RUN = ["--dataset", "masks", "--data-dir", "set", "--width", "0.1", "--threads", "1"]
RUN += [
    "--wandb",
    "disabled",
    "--device",
    "cpu",
    "--batch-size",
    "4",
    "--unlabeled-batch-size",
    "4",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    masks_folder.make(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result_of(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "result.json").read_text())
    return found


@pytest.mark.parametrize("method", ["fixmatch", "mean_teacher", "pi_model", "supervised"])
def test_methods_train_with_isda_and_resume_to_the_bit(method: str, folder: Path) -> None:
    words = [*RUN, "--method", method, "--isda", "--labels", "3", "--checkpoint-epochs", "2"]
    assert cli.main([*words, "--steps", "6", "--color-jitter", "0.2"]) == 0
    (run,) = folder.glob("runs/masks-3/*/seed0")
    whole, _ = checkpoint.load_latest(run / "checkpoint.pt", torch.device("cpu"))
    epoch = (run / "metrics.jsonl").read_text().splitlines()[-1]
    assert {"test_mean_iou", "test_pixel_accuracy", "supervised_loss"} <= json.loads(epoch).keys()
    (run / "result.json").unlink()
    (run / "checkpoint.pt").unlink()  # what is left is the one before
    assert cli.main([*words, "--steps", "6", "--color-jitter", "0.2"]) == 0
    assert "resuming at step 4 of 6" in (run / "log.txt").read_text()
    again, _ = checkpoint.load_latest(run / "checkpoint.pt", torch.device("cpu"))
    for part in ("student", "objective"):
        assert all(torch.equal(again[part][name], value) for name, value in whole[part].items())


def test_results_report_and_comparison_are_of_the_mean_iou(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*RUN, "--method", "supervised", "--seeds", "0", "1", "--steps", "4", "--validation"]
    assert cli.main(words) == cli.main([*words, "--isda"]) == 0
    assert "test mIoU" in capsys.readouterr().out
    run = folder / "runs/masks-all/supervised/seed0"
    result = result_of(run)
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max(epochs, key=lambda epoch: epoch[MEAN_IOU.of_validation])
    assert result["selected_epoch"] == best["epoch"] and "error" not in result
    assert set(result["class_ious"]) == {"0", "1", "2"}
    assert cli.main(["report", "runs", "--out", "report"]) == 0
    text = (folder / "report/report.md").read_text()
    assert "## Test mIoU" in text and "positive where ISDA helps" in text
    assert f"{result['mean_iou']:.2f}" in text and "error" not in text.split("## With")[0]
    page = (folder / "report/report.html").read_text()
    assert "<th>IoU %</th>" in page and "Test mIoU" in page
    assert cli.main(["analyze", "comparison", "runs", "--out", "comparison"]) == 0
    assert "positive where ISDA helps" in (folder / "comparison/comparison.md").read_text()


def test_an_auxiliary_head_has_a_covariance_of_its_own(folder: Path) -> None:
    words = [
        *RUN,
        "--model",
        "deeplabv3_resnet50",
        "--method",
        "supervised",
        "--isda",
        "--steps",
        "1",
    ]
    assert cli.main([*words, "--evaluation-window", "16", "--evaluation-flip"]) == 0
    (run,) = folder.glob("runs/masks-all/*/seed0")
    state, _ = checkpoint.load_latest(run / "checkpoint.pt", torch.device("cpu"))
    main, other = (state["objective"][f"{n}covariance.count"] for n in ("", "auxiliary."))
    assert torch.equal(main, other) and main.sum() > 0
    epoch = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert epoch["auxiliary_loss"] > 0


def test_predict_writes_masks_of_the_images_own_size(folder: Path) -> None:
    assert cli.main([*RUN, "--method", "supervised", "--isda", "--steps", "2"]) == 0
    (run,) = folder.glob("runs/masks-all/*/seed0")
    (folder / "new").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "new/large.jpg")
    Image.open(folder / "set/test/images/1.png").save(folder / "new/b.png")
    assert cli.main(["predict", str(run), "new", "--out", "masks", "--review", "page.html"]) == 0
    large, small = (Image.open(folder / f"masks/{name}.png") for name in ("large", "b"))
    assert (large.mode, large.size, small.size) == ("P", (40, 30), (24, 24))
    assert large.getpalette()[3:6] == [128, 0, 0] and np.asarray(small).max() <= 2
    header, *rows = (folder / "masks/masks.csv").read_text().splitlines()
    assert header == "file,mask,0,1,2" and len(rows) == 2
    assert sum(map(float, rows[0].split(",")[2:])) == pytest.approx(100, abs=0.02)
    page = (folder / "page.html").read_text()
    assert page.count("data:image/png") == 2 and "large.jpg" in page
    model = ssl_isda.load(run)
    found = model.predict_masks(["new/large.jpg", "new/b.png"])
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(found, (large, small), strict=True))
    with pytest.raises(UsageError, match="predict_masks gives its masks"):
        model.predict(["new/b.png"])
    before = (folder / "new/b.png").read_bytes()
    assert cli.main(["predict", str(run), "new/b.png", "--out", "new"]) == 2
    assert (folder / "new/b.png").read_bytes() == before
    (folder / "new/bad.png").write_bytes(b"no image")
    assert cli.main(["predict", str(run), "new", "--out", "others"]) == 2
    assert not (folder / "others").exists()


REFUSED = {
    "--method vat": "vat has no form for pixels; --task segmentation goes with fixmatch, mean_teacher",
    "--method supervised --model cnn13": "gives one class for a whole image",
    "--method supervised --loss center": "reads a feature of each pixel",
    "--method supervised --policy weak": "--policy weak changes an image and not its mask",
    "--method supervised --generated set": "--generated has no form for pixels",
    "--method supervised --resized-crop all": "--resized-crop changes an image and not its mask",
    "--method supervised --preprocessing zca": "crops have many",
    "--method supervised --labels 7": "masks has 6 training images with a mask; valid are 1 to 6",
    "--method supervised --labels 3 --imbalance 2": "--imbalance is about classes of images",
    "--method supervised --smallest-scale 2": "--smallest-scale 2 is more than --largest-scale 1.5",
    "--method supervised --task classification": "masks has a class for each pixel; give --task",
    "--method fixmatch --distribution-alignment": "--distribution-alignment has no form for pixels",
    "--method supervised --isda --augmentation explicit --augmentation-samples 2": "goes with implicit",
    "--method supervised --evaluation-scales 0": "evaluation_scales are positive factors",
    "--method supervised --evaluation-scales 1 0.25": (
        "--evaluation-scales 0.25 makes images of 24 x 24 pixels 6 x 6, and small_fcn needs 8 x 8 or more"
    ),
    "--method fixmatch --model deeplabv3_resnet50 --unlabeled-batch-size 1": (
        "--unlabeled-batch-size 1: deeplabv3_resnet50 normalizes means of whole images over the batch"
    ),
    "--method supervised --isda --covariance learned --uncertainty-weight 1 --model pspnet_resnet50": (
        "--covariance learned has no form for the auxiliary head of pspnet_resnet50"
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_pixels_cannot_have_is_refused_in_one_line(words: str, folder: Path) -> None:
    own = [w for w in RUN if "cnn13" not in words or w not in ("--width", "0.1")]
    own = own[:-2] if "--unlabeled-batch-size" in words else own
    code, out, err = answer([*own, "--steps", "2", *words.split()], folder)
    assert (code, out) == (2, "") and REFUSED[words] in err and err.count("\n") == 1


def test_a_run_without_a_test_part_ends_with_words(folder: Path) -> None:
    shutil.rmtree(folder / "set/test")
    words = [*RUN, "--method", "supervised", "--seeds", "0", "1", "--steps", "1"]
    code, out, err = answer(words, folder)
    assert (code, err) == (0, "")
    assert "seed1: trained for 1 epoch; there is no test part to judge it by" in out
    assert out.endswith("2 seeds are trained; there is no test part to judge them by\n")
    assert cli.main(["report", "runs", "--out", "report"]) == 0
