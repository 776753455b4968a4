"""Images of sizes of their own in ImageNet's layout, against torchvision's transforms, to the bit."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.resized_crop import ResizedCrop, cropped, window, windows
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.images.own_sizes import OwnSizes, Seen
from ssl_isda.data.preprocessing import prepare
from ssl_isda.data.splits import Split
from ssl_isda.data.views import AUGMENTATIONS, View
from tests.ssl_isda.data.conftest import load

CLASSES = ("n01440764", "n01443537")
SIDE = 14
STEP = Step(3, num_steps=10, steps_per_epoch=5)


def save(path: Path, rng: np.random.Generator, mode: str = "RGB") -> None:
    """Random colours in a random size, some with black bars or less than a window wide."""
    height, width = rng.integers(5, 40, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)
    image.save(path, "JPEG", quality=95)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of 6 images to train on and 2 to test on, one of them without colour, one in CMYK."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for name in CLASSES:
            for k in range(count):
                mode = {0: "L", 1: "CMYK"}.get(k, "RGB") if name == CLASSES[0] else "RGB"
                save(tmp_path / part / name / f"{name}_{k}.JPEG", rng, mode)
    return tmp_path


def loaded(root: Path, **options: object) -> ImageData:
    return load("imagenet", root, image_size=SIDE, **options)


def opened(root: Path, part: str) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(root.glob(f"{part}/*/*.JPEG"))]


def test_evaluation_sees_what_torchvisions_transforms_give(root: Path) -> None:
    from torchvision import transforms

    data = loaded(root)
    theirs = transforms.Compose([transforms.Resize(16), transforms.CenterCrop(SIDE)])
    expected = [np.asarray(theirs(image)).transpose(2, 0, 1) for image in opened(root, "val")]
    found = data.test.fetch(torch.arange(4))
    assert torch.equal(found, torch.from_numpy(np.stack(expected)))
    assert data.class_names == CLASSES and data.test.labels.tolist() == [0, 0, 1, 1]
    (preparation,) = {prepare("imagenet", data, root).preparation.interpolation}
    assert preparation == "bilinear 16"


@pytest.mark.parametrize("expects", [False, True])
def test_training_sees_torchvisions_crop_of_each_window(root: Path, expects: bool) -> None:
    from torchvision.transforms.functional import hflip, resized_crop

    data, crop = loaded(root), ResizedCrop(flip=True)
    indices = torch.tensor([7, 0, 11, 0, 3])
    draws = crop.draw(5, STEP, "labeled")
    assert isinstance(data.train, OwnSizes)
    if expects:
        crop.expect(data.train, indices, draws)
    found = crop.moved(data.train, indices, draws)
    assert found.is_contiguous(memory_format=torch.channels_last)
    halves = [crop.moved(data.train, indices[k], draws[k]) for k in (slice(2), slice(2, 5))]
    assert torch.equal(torch.cat(halves), found)  # as two processes see them
    images = opened(root, "train")
    for k, place in enumerate(indices.tolist()):
        image = images[place]
        box = windows(draws[k : k + 1, :-1], image.height, image.width, crop.smallest)
        seen = resized_crop(image, *box[0].tolist(), [SIDE, SIDE])
        seen = hflip(seen) if draws[k, -1] else seen
        assert np.array_equal(found[k].permute(1, 2, 0).numpy(), np.asarray(seen))


def test_a_window_alone_is_that_of_many() -> None:
    crop, sizes = ResizedCrop(flip=False), np.random.default_rng(0).integers(1, 60, (300, 2))
    draws = crop.draw(300, STEP, "labeled")
    for row, (height, width) in zip(draws, sizes.tolist(), strict=True):
        for smallest in (0.08, 1.0):
            many = windows(row[None], height, width, smallest)[0].tolist()
            assert window(row.tolist(), smallest, height, width) == tuple(many)


def batches(root: Path, policy: str, num_views: int = 2) -> TwoStreamBatches:
    """Of 4 labeled and 6 unlabeled images, these in one view of the policy, others of ``weak``."""
    data = loaded(root)
    made = AUGMENTATIONS[policy](AUGMENTATIONS.config(policy)(), flip=True, max_translation=2)
    augmentation = cropped(made, 0.08)
    assert augmentation is not None and data.train.labels is not None
    return TwoStreamBatches(
        prepare("imagenet", data, root).train,
        data.train.labels,
        Split("imagenet", "", 0, labeled=(0, 1, 6, 7)),
        *(),
        labeled_batch_size=4,
        unlabeled_batch_size=6,
        seed=0,
        augmentation=augmentation,
        views=(View(), *[View("weak")] * (num_views - 1)),
        named={"weak": Weak(flip=True, max_translation=2) if num_views == 2 else augmentation},
    )


@pytest.mark.parametrize("policy", ["weak", "cutout", "randaugment"])
def test_batches_are_the_same_whatever_was_expected(root: Path, policy: str) -> None:
    """A run that goes on at step 3 has not made steps 0 to 2."""

    going, anew = batches(root, policy), batches(root, policy)
    steps = [Step(k, num_steps=6, steps_per_epoch=2) for k in range(6)]
    every = [going.batch(step) for step in steps]
    for step in (5, 3):
        found = anew.batch(steps[step])
        assert torch.equal(found.images, every[step].images)
        assert all(torch.equal(*pair) for pair in zip(found.views, every[step].views, strict=True))
    pixels = going._prepared.pixels
    assert (
        isinstance(pixels, OwnSizes) and not pixels._coming
    )  # all that was expected was asked for


def test_of_many_views_each_window_is_made_once(root: Path) -> None:
    """Though all that is made ahead are more batches than other methods have."""
    made: list[int] = []
    going = batches(root, "weak", num_views=7)
    pixels = going._prepared.pixels
    assert isinstance(pixels, OwnSizes)
    plain = pixels._window
    pixels._window = lambda place, box: made.append(place) or plain(place, box)  # type: ignore
    for k in range(6):
        going.batch(Step(k, num_steps=6, steps_per_epoch=2))
    assert len(made) == 6 * (4 + 7 * 6) and not pixels._coming


def test_a_part_may_take_long_as_long_as_others_come(monkeypatch) -> None:
    monkeypatch.setattr("ssl_isda.data.streaming.STALLED_SECONDS", 0.5)
    monkeypatch.setattr("ssl_isda.data.streaming.NUM_THREADS", 2)

    def window(place: int, box: object) -> np.ndarray:
        time.sleep(0.8 if place == 0 else 0.02)
        return np.full((2, 2, 1), place, np.uint8)

    source = OwnSizes(lambda k: np.empty(0), window, (1, 2, 2), torch.full((16,), -1), "")
    indices = torch.arange(16)
    seen = Seen([lambda h, w: (0, 0, h, w)] * 16, [False] * 16, b"")
    assert source.windows(indices, seen)[:, 0, 0, 0].tolist() == indices.tolist()
    with pytest.raises(UsageError, match=r"^image 0: no image could be read for 0\.5 s"):
        source.windows(indices[:1], seen)


def test_a_flat_val_is_sorted_by_kaggles_table(root: Path) -> None:
    sorted_by_folders = loaded(root).test
    expected = sorted_by_folders.fetch(torch.arange(4))
    paths = sorted(root.glob("val/*/*"))
    rows = [f"{path.stem},{path.parent.name} 1 2 3 4 {path.parent.name} 5 6 7 8 " for path in paths]
    flatten(root)
    (root / "LOC_val_solution.csv").write_text(
        "\n".join(["ImageId,PredictionString", *rows]) + "\n"
    )
    (root / "LOC_synset_mapping.txt").write_text(
        "".join(f"{name} word {k}, other\n" for k, name in enumerate(CLASSES))
    )
    data = loaded(root)
    assert torch.equal(data.test.labels, sorted_by_folders.labels)
    assert torch.equal(data.test.fetch(torch.arange(4)), expected)
    assert data.class_names == ("n01440764 word 0", "n01443537 word 1")


def flatten(root: Path) -> None:
    for path in sorted(root.glob("val/*/*")):
        path.rename(root / "val" / path.name)
    for name in CLASSES:
        (root / "val" / name).rmdir()


FLAT = {
    "not in the table": "ImageId,PredictionString\n",
    "another table": "a,b\n1,2\n",
    "another class": "ImageId,PredictionString\nn01440764_0,n7 1 2 3 4\n",
}


def spoil(root: Path, how: str) -> None:
    first, val = root / "train" / CLASSES[0], root / "val" / CLASSES[0]
    if how == "no train":
        (root / "train").rename(root / "training")
    elif how == "no val":
        (root / "val").rename(root / "validation")
    elif how == "empty class":
        (root / "train" / "n1").mkdir()
    elif how == "other classes":
        val.rename(root / "val" / "n1")
    elif how == "beside":
        (val / f"{CLASSES[0]}_0.JPEG").rename(root / "val" / "a.JPEG")
    elif how in FLAT:
        flatten(root)
        (root / "LOC_val_solution.csv").write_text(FLAT[how])
    elif how == "words":
        (root / "classes.txt").write_text("n01440764 tench\n")
    elif how == "dead link":
        (first / "b.JPEG").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("no train", "/train is missing; expected train/<class>/<images> and val/<class>/<images>"),
        ("no val", "/val is missing; expected"),
        ("empty class", "/train/n1 holds no image; expected"),
        ("other classes", "/train has no folder for 'n1': train has 2 classes and val 2"),
        ("beside", "/val/a.JPEG lies outside a class folder; expected val/<class>/<images>"),
        ("not in the table", "_0.JPEG has no class: "),
        ("another class", "is of the class n7, which train does not have"),
        ("another table", "cannot be read: expected the columns ImageId and PredictionString"),
        ("words", "does not name 'n01443537': expected a line for each class"),
        ("dead link", "b.JPEG is a link that leads nowhere: bring the file back"),
    ],
)
def test_what_is_odd_is_told_in_one_line(how: str, told: str, root: Path) -> None:
    spoil(root, how)
    with pytest.raises(UsageError) as refusal:
        loaded(root)
    assert told in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_damaged_image_is_named_when_a_step_asks_for_it(root: Path, part: str) -> None:
    path = root / {"train": "train", "test": "val"}[part] / CLASSES[1] / f"{CLASSES[1]}_1.JPEG"
    path.write_bytes(path.read_bytes()[:200])
    data, crop = loaded(root), ResizedCrop(flip=False)
    source = {"train": data.train, "test": data.test}[part]
    bad = torch.tensor([len(source) // 2 + 1])
    draws = crop.draw(1, STEP, "labeled")
    for ask in (source.fetch, lambda k: crop.moved(source, k, draws)):
        ask(bad - 1)
        with pytest.raises(UsageError, match=f"{path.name}: damaged.*; or remove it"):
            ask(bad)


def test_a_side_that_is_cut_out_of_less_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="--shorter-side 9 is less than --image-size 14"):
        loaded(root, shorter_side=9)


def test_what_tells_two_folders_apart_is_names_and_sizes(root: Path) -> None:
    before = loaded(root).digest
    assert loaded(root).digest == before != loaded(root, shorter_side=20).digest
    path = next(root.glob("train/*/*"))
    path.write_bytes(path.read_bytes() + b"\0")
    assert loaded(root).digest != before
