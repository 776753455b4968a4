"""``run.py detect``: trainings of narrow detectors, what judges them, and files that are refused."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

from ssl_isda.assembly import detectors as assembly
from ssl_isda.base.errors import Interrupted, UsageError
from ssl_isda.base.step import Step
from ssl_isda.commands.detect.command import DetectConfig
from ssl_isda.commands.detect.loop import DetectorTrainer
from ssl_isda.data.coco import Coco, mirrored
from ssl_isda.data.coco_results import FILES, NAMES, SCORES
from ssl_isda.models import detectors
from ssl_isda.runs import checkpoint
from ssl_isda.runs.tracking import Tracker
from tests.coco_folder import write
from tests.commands import CELL, SUPERVISED, answer, refusal

FLAGS = """
detect --data-dir images --min-size 64 --batch-size 2 --epochs 1 --threads 1 --wandb disabled
""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three training and five test images."""
    folder = tmp_path_factory.mktemp("detect")
    write(folder / "images", 3, 5)
    torch.save(torchvision.models.resnet18().state_dict(), folder / "resnet18.pth")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    """Of a network of timm on the same photographs, in two folders that stand for classes."""
    for number, place in enumerate(sorted((folder / "images/val2017").iterdir())):
        for name in ("train", "test"):
            target = folder / f"photos/{name}/{number % 2}"
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(place, target)
    words = "--dataset folder --data-dir photos --method supervised --labels 4 --image-size 64"
    network = "--model timm --name test_resnet --steps 1 --threads 1 --wandb disabled"
    said = answer([*words.split(), *network.split()], folder)
    assert said.code == 0, said.err
    return "runs/photos-4/supervised-timm_test_resnet/seed0"


@pytest.fixture(scope="module")
def gray(folder: Path) -> str:
    """Of a network on gray images."""
    assert answer(SUPERVISED, folder).code == 0
    return str(CELL)


@pytest.fixture(autouse=True)
def narrow(monkeypatch) -> None:
    monkeypatch.setattr(detectors, "CHANNELS", 8)
    few = partial(detectors.detector, box_detections_per_img=5, box_batch_size_per_image=8)
    monkeypatch.setattr(detectors, "detector", few)
    monkeypatch.setattr(assembly, "detector", few)


def part(
    folder: Path, name: str = "train2017", *, masks: bool = True, skip_odd: bool = False
) -> Coco:
    file = folder / f"images/annotations/instances_{name}.json"
    return Coco(file, folder / "images" / name, masks=masks, skip_odd=skip_odd)


def trainer(
    folder: Path, place: Path, kind: str = "faster_rcnn", epochs: int = 2
) -> DetectorTrainer:
    place.mkdir(exist_ok=True)
    parts = tuple(
        part(folder, name, masks=kind == "mask_rcnn") for name in ("train2017", "val2017")
    )
    torch.manual_seed(0)
    network, sizes = timm.create_model("test_resnet"), {"min_size": 32, "max_size": 64}
    detectors.freeze_batchnorm(network)
    built = detectors.detector(kind, network, 2, frozen_stages=1, **sizes)
    config = DetectConfig(batch_size=2, epochs=epochs)
    return DetectorTrainer(config, built, parts, Tracker(place, quiet=True))


def judged_by_pycocotools(annotations: Path, results: Path, kind: str) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        judge = COCOeval(truth, truth.loadRes(str(results)), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    named = zip(SCORES, judge.stats, strict=False)
    return {f"{NAMES[kind]}_{name}": 100 * value for name, value in named if value >= 0}


class Guesses(nn.Module):
    """A detector that knows the truth, up to errors that ``amount`` scales."""

    def __init__(self, test: Coco, amount: float) -> None:
        super().__init__()
        self.test, self.amount, self.images = test, amount, iter(test.images)
        self.copies = 3 if amount else 1

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        number = next(self.images)
        pixels, target = self.test.example(number, False)
        assert torch.equal(images[0], pixels / 255)
        draws = torch.Generator().manual_seed(number)
        moved = self.amount * torch.randn(self.copies, *target["boxes"].shape, generator=draws)
        boxes = (target["boxes"] + moved).flatten(0, 1)
        masks = (
            target["masks"]
            .roll(round(2 * self.amount), 1)
            .repeat(self.copies, 1, 1)[:, None]
            .float()
        )
        scores = torch.rand(len(boxes), generator=draws)
        labels = target["labels"].repeat(self.copies)
        labels[scores < 0.2 * self.amount] = 1
        return [{"boxes": boxes, "labels": labels, "scores": scores, "masks": 0.9 * masks}]


@pytest.mark.parametrize("amount", [0, 1])
def test_precisions_are_those_of_pycocotools_on_the_files_that_are_written(
    folder: Path, tmp_path: Path, amount: float
) -> None:
    loop = trainer(folder, tmp_path, "mask_rcnn")
    loop.network = Guesses(loop.test_part, amount)
    found = loop.after_epoch(loop.step(loop.length.num_steps - 1))
    expected = {}
    for kind, name in FILES.items():
        expected |= judged_by_pycocotools(loop.test_part.file, tmp_path / name, kind)
    assert found == pytest.approx(expected, abs=1e-10) and len(found) >= 8
    assert amount or (found["box_ap"], found["mask_ap"]) == (100, 100)
    assert not amount or (5 < found["box_ap"] < 80 and 5 < found["mask_ap"] < 95)


def test_a_training_stopped_at_any_step_ends_with_the_same_bits(
    folder: Path, tmp_path: Path
) -> None:
    whole = trainer(folder, tmp_path / "whole")
    whole.run()
    for stop in (1, 2):
        place = tmp_path / f"stopped{stop}"
        stopped = trainer(folder, place)
        make = stopped.train_step

        def step_until_asked(step: Step, make=make, stopped=stopped, stop=stop) -> object:
            stopped.signals.number = 15 if step.index + 1 == stop else None
            return make(step)

        stopped.train_step = step_until_asked  # type: ignore[assignment, method-assign]
        with pytest.raises(Interrupted, match=f"at step {stop} of 4"):
            stopped.run()
        again = trainer(folder, place)
        assert again.resume() and again.next_step == stop
        again.run()
        for name in ("metrics.jsonl", "detections.json"):
            assert (place / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        found, expected = (
            checkpoint.load(at / "checkpoint.pt") for at in (place, tmp_path / "whole")
        )
        assert all(map(torch.equal, found["student"].values(), expected["student"].values()))
    frozen = torch.manual_seed(0) and timm.create_model("test_resnet").state_dict()
    after = expected["student"]
    for name in ("conv1.0.weight", "layer1.0.conv1.weight", "layer2.0.conv1.weight"):
        stays = torch.equal(after[f"backbone.body.{name}"], frozen[name])
        assert stays == (not name.startswith("layer2"))


def test_the_schedule_is_the_published_one(folder: Path, tmp_path: Path) -> None:
    loop = trainer(folder, tmp_path, epochs=12)
    rates = [loop.factor(loop.step(index)) for index in range(24)]
    assert rates == pytest.approx([0.5, *[1.0] * 15, *[0.1] * 6, 0.01, 0.01])
    assert loop.rate == 0.02 * 2 / 16
    assert loop.optimizer.defaults["momentum"] == 0.9 and not loop.optimizer.defaults["nesterov"]
    steps = [loop.order.unlabeled(index) for index in (0, 1)]
    assert torch.cat(steps).sort().values.tolist() == [1, 2, 3]


def test_what_is_mirrored_lies_where_its_mask_does(folder: Path) -> None:
    data = part(folder)
    for number in data.images:
        image, target = data.example(number, False)
        other, turned = data.example(number, True)
        assert torch.equal(other, image.flip(2)) and not torch.equal(other, image)
        assert all(torch.equal(mirrored(other, turned)[1][n], each) for n, each in target.items())
        for box, mask in zip(turned["boxes"].int().tolist(), turned["masks"], strict=True):
            places = mask.nonzero().flip(1)
            assert box == [*places.amin(0).tolist(), *(places.amax(0) + 1).tolist()]
        learned = data.learned[number]
        assert target["labels"].tolist() == [each["category_id"] // 10 for each in learned]


def test_a_frozen_batchnorm_says_what_it_said() -> None:
    network = timm.create_model("test_resnet").eval()
    images = torch.randn(2, 3, 64, 64)
    before = network(images)
    detectors.freeze_batchnorm(network)
    torch.testing.assert_close(network.train()(images), before)
    with pytest.raises(ValueError, match="BatchNorm1d cannot be frozen"):
        detectors.freeze_batchnorm(nn.Sequential(nn.BatchNorm1d(3)))


@pytest.mark.parametrize("kind", ["faster_rcnn", "mask_rcnn"])
def test_a_backbone_of_a_file_or_a_run_is_fine_tuned(folder: Path, run: str, kind: str) -> None:
    of_run = kind == "mask_rcnn"
    weights, own = (run, []) if of_run else ("resnet18.pth", ["--name", "resnet18"])
    words = [*FLAGS, "--detector", kind, "--weights", weights, *own]
    said = answer(words, folder)
    assert said.code == 0, said.err
    origin = "supervised-timm_test_resnet_seed0" if of_run else f"{folder.name}_resnet18"
    place = folder / f"runs/detection/images/{kind}-{origin}/seed0"
    result = json.loads((place / "result.json").read_text())
    kinds = FILES if of_run else ["bbox"]
    assert {name for name in result if name.endswith("_ap")} == {f"{NAMES[k]}_ap" for k in kinds}
    assert {n for n in FILES.values() if (place / n).is_file()} == {FILES[k] for k in kinds}
    file = folder / run / "checkpoint.pt" if of_run else folder / weights
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert result["weights"] == {"place": weights, "sha256": sha256}
    found = checkpoint.load(place / "checkpoint.pt")["student"]
    given = checkpoint.load(file)["student"] if of_run else torch.load(file)
    name = "layer1.0.conv1.weight"
    kept = given[f"backbone.{name}" if of_run else name]
    assert torch.equal(found[f"backbone.body.{name}"], kept)
    assert answer(words, folder).out == said.out.splitlines()[-1] + "\n"
    told = refusal(*words, "--warmup-steps", "2", cwd=folder)
    assert "a detector that was trained otherwise (warmup_steps: None there, 2 now)" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--weights {run} --name resnet18", "--name is for a state dict"),
        (
            "--weights {gray}",
            "images must be 3 x h x w and normalized by channel; they are normalize",
        ),
        ("--weights resnet18.pth", "does not fit this network: "),
        ("--weights resnet18.pth --name alexnet", "does not fit this network: it lacks "),
        (
            "--name alexnet",
            "--name alexnet cannot be a detector's backbone: it needs stages layer1",
        ),
        ("--name resnet17", "torchvision has no network 'resnet17'; the nearest are resnet1"),
        ("--weights absent.pth", "--weights absent.pth cannot be read: No such file"),
    ],
)
def test_what_is_no_backbone_is_refused(
    folder: Path, run: str, gray: str, words: str, told: str
) -> None:
    line = refusal(
        *FLAGS, "--runs-dir", "none", *words.format(run=run, gray=gray).split(), cwd=folder
    )
    assert told in line and not (folder / "none").exists()


def changed(part: str, place: int = 0, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content[part][place].update(values)


def without(part: str, key: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content[part][1].pop(key)


OTHER_SIZE = {"size": [3, 64], "counts": [192]}
CHANGES = {
    "annotations[1] has no bbox": without("annotations", "bbox"),
    "images[1] has no width": without("images", "width"),
    "images[0] has no id": changed("images", id="1"),
    "it has no list of categories": lambda content: content.update(categories=[]),
    "images[1] has the id 1 of another": changed("images", 1, id=1),
    "annotation 1: the file has nothing with the image_id 99": changed("annotations", image_id=99),
    "annotation 1: the file has nothing with the category_id 1": changed(
        "annotations", category_id=1
    ),
    "annotation 1: bbox must have four numbers": changed("annotations", bbox=[1, 2, 3]),
    "and area be one": changed("annotations", area=float("nan")),
    "annotation 1: iscrowd must be 0 or 1": changed("annotations", iscrowd=2),
    "annotation 1: the box 1 2 0 4 has no area (1 such; --skip-odd-boxes": changed(
        "annotations", bbox=[1, 2, 0, 4]
    ),
    "the box 60 2 9 4 leaves its image of 64 x 64": changed("annotations", bbox=[60, 2, 9, 4]),
    "the box -3 2 9 4 leaves its image": changed("annotations", bbox=[-3, 2, 9, 4]),
    "the box 64.5 2 0.4 4 leaves its image": changed("annotations", bbox=[64.5, 2, 0.4, 4]),
    "annotation 1: it has no mask: polygons": changed("annotations", segmentation=[]),
    "or an RLE of the image's size": changed("annotations", segmentation=OTHER_SIZE),
    "three points or more": changed("annotations", segmentation=[[1, 2, 3, 4]]),
    "has 64 x 64 pixels, and 65 x 64 in": changed("images", width=65),
    "absent.png: No such file or directory": changed("images", file_name="absent.png"),
    "damaged.png: damaged, or of a kind": changed("images", file_name="damaged.png"),
    "has no box that is not of a crowd": lambda content: [
        each.update(iscrowd=1) for each in content["annotations"]
    ],
}


@pytest.mark.parametrize("told", CHANGES)
def test_what_contradicts_itself_is_refused(folder: Path, tmp_path: Path, told: str) -> None:
    images = folder / "images"
    content = json.loads((images / "annotations/instances_train2017.json").read_text())
    for each in content["images"]:
        each["file_name"] = str(images / "train2017" / each["file_name"])
    whole = (images / "train2017/000001.png").read_bytes()
    (tmp_path / "damaged.png").write_bytes(whole[: len(whole) // 2])
    CHANGES[told](content)
    (tmp_path / "file.json").write_text(json.dumps(content))
    with pytest.raises(UsageError) as error:
        Coco(tmp_path / "file.json", tmp_path, masks="65 x" not in told)
    line = str(error.value)
    assert told in line and len(line.splitlines()) == 1 and line.isprintable()
    if "--skip-odd-boxes" in line:
        data = Coco(tmp_path / "file.json", tmp_path, masks=True, skip_odd=True)
        assert 1 not in [each["id"] for learned in data.learned.values() for each in learned]
        assert "1 boxes without area" in data.notes[-1]
    if "no mask" in line:
        assert Coco(tmp_path / "file.json", tmp_path, masks=False).learned


def test_an_edge_may_lie_a_pixel_outside_and_a_category_may_be_unused(folder: Path) -> None:
    file = folder / "images/annotations/other.json"
    content = json.loads((folder / "images/annotations/instances_train2017.json").read_text())
    content["categories"].append({"id": 7, "name": "seven"})
    content["annotations"][0]["bbox"] = [-0.5, 10, 65, 20]
    file.write_text(json.dumps(content))
    said = answer([*FLAGS, "--train-annotations", "annotations/other.json"], folder)
    assert said.code == 2 and "instances_val2017.json has other categories than" in said.err
    data = Coco(file, folder / "images/train2017", masks=True)
    assert data.notes == [f"{file} has no annotation of seven"]
    assert data.example(1, False)[1]["boxes"][0].tolist() == [0, 10, 64, 30]
    assert data.labels == {7: 1, 10: 2, 20: 3}
