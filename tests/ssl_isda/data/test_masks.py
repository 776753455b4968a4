"""Folders of images and masks, and the crops of both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_isda import datasets
from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step
from ssl_isda.base.void import VOID
from ssl_isda.data.images.image_data import DATASETS
from ssl_isda.data.masks.classes import default_palette
from ssl_isda.data.masks.crops import Config, Crops, jitter
from ssl_isda.data.masks.mask_data import MaskData
from ssl_isda.data.masks.streamed import streamed_pairs
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from tests import masks_folder
from tests.pixels_of_several_processes import build


def read(root: Path, **options: int) -> MaskData:
    found = DATASETS["masks"](DATASETS.config("masks")(**options), root)
    assert isinstance(found, MaskData)
    return found


def save(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path)


def test_a_folder_is_read_as_it_is(tmp_path: Path) -> None:
    data = read(masks_folder.make(tmp_path))
    assert data.class_names == ("0", "1", "2") and data.palette == default_palette(3)
    assert data.train.shape == (3, 24, 24) and data.train.labels.tolist() == [0] * 6 + [-1] * 2
    masks = data.train_masks.fetch(torch.arange(8))
    expected = np.asarray(Image.open(tmp_path / "train/masks/4.png"))
    assert np.array_equal(masks[4, 0], expected) and (masks[6:] == VOID).all()
    before = data.digest
    mask = expected.copy()
    mask[5, 5] = (mask[5, 5] + 1) % 3
    save(tmp_path / "train/masks/4.png", mask)
    assert read(tmp_path).digest != before


def test_masks_in_colour_follow_their_list_and_void(tmp_path: Path) -> None:
    root = masks_folder.make(tmp_path)
    ids = read(root).train_masks.fetch(torch.arange(6))
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 7), *[(255, 255, 255)] * 253])
    for path in root.glob("*/masks/*.png"):
        save(path, colours[np.asarray(Image.open(path))])
    (root / "classes.txt").write_text(
        "# name and colour\nground #000000\nred car #800000\nbird #008007\nvoid #ffffff\n"
    )
    data = read(root)
    assert data.class_names == ("ground", "red car", "bird") and data.palette[2] == (0, 128, 7)
    assert torch.equal(data.train_masks.fetch(torch.arange(6)), ids)


def test_images_of_several_sizes_are_brought_to_one(tmp_path: Path) -> None:
    root = masks_folder.make(tmp_path)
    large = Image.open(root / "test/images/0.png").resize((48, 48))
    large.save(root / "test/images/0.png")
    Image.open(root / "test/masks/0.png").resize((48, 48), 0).save(root / "test/masks/0.png")
    with pytest.raises(UsageError, match=r"24 x 24 pixels and .* 48 x 48; --image-size 256"):
        read(root)
    data = read(root, image_size=24)
    whole = np.asarray(Image.open(root / "test/masks/0.png"))
    assert np.array_equal(data.test_masks.fetch(torch.tensor([0]))[0, 0], whole[1::2, 1::2])


def saved_as(kind: str, path: Path) -> None:
    """The same ids in another kind of file."""
    mask = Image.open(path)
    path.unlink()
    if kind == "float":
        Image.fromarray(np.asarray(mask).astype(np.float32)).save(path.with_suffix(".tif"))
    elif kind == "16 bits":
        Image.fromarray(np.asarray(mask).astype(np.uint16)).save(path)
    else:
        mask.convert(kind).save(path)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA", "float", "16 bits"])
def test_ids_are_the_same_in_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    root = masks_folder.make(tmp_path)
    ids = read(root).train_masks.fetch(torch.arange(6))
    for path in [*root.glob("*/masks/*.png")]:
        saved_as(kind, path)
    assert torch.equal(read(root).train_masks.fetch(torch.arange(6)), ids)


@pytest.mark.parametrize("colours", [[9, 9, 9, 200, 0, 0, 0, 0, 200], [9, 9, 9] * 3])
def test_the_palette_is_that_of_the_masks_if_it_tells_classes_apart(
    colours: list[int], tmp_path: Path
) -> None:
    root = masks_folder.make(tmp_path)
    for path in root.glob("*/masks/*.png"):
        mask = Image.open(path)
        mask.putpalette(colours + [0] * (768 - len(colours)))
        mask.save(path)
    own = ((9, 9, 9), (200, 0, 0), (0, 0, 200))
    assert read(root).palette == (own if 200 in colours else default_palette(3))


def test_a_class_that_is_named_need_not_occur(tmp_path: Path) -> None:
    root = masks_folder.make(tmp_path)
    (root / "classes.txt").write_text("a\nb\nc\nd\n")
    data = read(root)
    assert data.class_names == (*"abcd",) and len(data.palette) == 4
    assert data.notes == ("no training mask has a pixel of the class 'd'",)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (
        lambda r: (r / "test/masks").rename(r / "x"),
        "test/masks: no such folder; expected",
    ),
    "no mask": (
        lambda r: (r / "train/masks/2.png").unlink(),
        r"train/images/2.png has no mask train/masks/2\.\*; images without masks belong into unlabeled/",
    ),
    "no image": (lambda r: (r / "test/images/1.png").unlink(), "test/masks/1.png has no image"),
    "two of a name": (
        lambda r: save(r / "train/images/1.bmp", np.zeros((24, 24, 3))),
        "1.bmp and .*1.png have one name",
    ),
    "another size": (
        lambda r: save(r / "train/masks/3.png", np.zeros((24, 20))),
        "3.png is 20 x 24 pixels, and its image .*3.png 24 x 24",
    ),
    "id outside": (
        lambda r: (
            save(r / "test/masks/1.png", np.full((24, 24), 7)),
            (r / "classes.txt").write_text("a\nb\nc\n"),
        ),
        "1.png has the id 7; the 3 classes are 0 to 2, and 255 is a pixel without a class",
    ),
    "a gap": (
        lambda r: save(r / "test/masks/1.png", np.full((24, 24), 5)),
        "training masks have the ids 0, 1, 2, and none has 3; ids go from 0 on without a gap",
    ),
    "binary": (
        lambda r: [save(r / f"train/masks/{k}.png", np.eye(24) * 255) for k in range(6)],
        "pixels of 1 class, and two are needed; .* those of 0 and 255 must be saved as 0 and 1",
    ),
    "nothing to test": (
        lambda r: [save(r / f"test/masks/{k}.png", np.full((24, 24), 255)) for k in range(3)],
        "test/masks: no pixel has a class, so that nothing can be tested",
    ),
    "compressed": (
        lambda r: (r / "train/masks/0.png").unlink() or save(r / "train/masks/0.jpg", np.eye(24)),
        "0.jpg: a JPEG, which changes ids and colours near edges: save masks as PNG",
    ),
    "transparent": (
        lambda r: save(r / "train/masks/0.png", np.zeros((24, 24, 4))),
        "0.png: transparent in parts, where its class is not known",
    ),
    "fractions": (
        lambda r: (
            (r / "train/masks/0.png").unlink(),
            Image.fromarray(np.full((24, 24), 0.5, np.float32)).save(r / "train/masks/0.tif"),
        ),
        "0.tif: numbers that are not whole: masks hold ids",
    ),
    "colour": (
        lambda r: save(r / "train/masks/0.png", np.full((24, 24, 3), (0, 0, 9))),
        "0.png is a mask in colour: classes.txt names the colour",
    ),
    "smoothed": (
        lambda r: (
            save(r / "train/masks/0.png", np.arange(24 * 24 * 3).reshape(24, 24, 3) % 251),
            (r / "classes.txt").write_text("a #000000\nb #800000\nc #008000\n"),
        ),
        "other colours, which classes.txt does not name; masks whose edges were smoothed must be",
    ),
    "unknown colour": (
        lambda r: (
            save(r / "train/masks/0.png", np.full((24, 24, 3), 9)),
            (r / "classes.txt").write_text("a #000000\nb #800000\nc #008000\n"),
        ),
        "0.png has the colour #090909, which classes.txt does not name",
    ),
    "damaged mask": (
        lambda r: (r / "train/masks/0.png").write_bytes(b"no picture"),
        "cannot read the mask .*0.png",
    ),
    "one class": (lambda r: (r / "classes.txt").write_text("a\n"), "names 1 classes; 2 to 255"),
    "twice": (lambda r: (r / "classes.txt").write_text("a\na\n"), "has the class a twice"),
    "half in colour": (
        lambda r: (r / "classes.txt").write_text("a #000000\nb\n"),
        "b has no colour; either all lines have one, or none",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    change, says = REFUSED[case]
    change(masks_folder.make(tmp_path))
    with pytest.raises(UsageError, match=says) as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value)


def prepared(pixels: torch.Tensor) -> PreparedImages:
    """Whose images, minus 100, are what a network sees."""
    return PreparedImages(InMemory(pixels), torch.ones(3, 1, 1), torch.full((3, 1, 1), -100.0))


def picture(n: int = 4, height: int = 12, width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose channels are row, column and class, and their masks."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = (rows // 3 + columns // 4) % 3
    pixels = torch.stack([10 * rows, 10 * columns, 40 * mask]).to(torch.uint8)
    return pixels.expand(n, -1, -1, -1).contiguous(), mask.to(torch.uint8).expand(n, 1, -1, -1)


@pytest.mark.parametrize("scales", [(1.0, 1.0), (2.0, 2.0), (0.5, 0.5)])
def test_an_image_and_its_mask_are_cut_alike(scales: tuple[float, float]) -> None:
    pixels, masks = picture()
    crops = Crops(Config(8, *scales), flip=True)
    draws = crops.draw(4, Step(3, 10, 5), "labeled")
    images = crops.view(prepared(pixels), torch.arange(4), draws) + 100
    found = crops.masks(InMemory(masks), torch.arange(4), draws)
    assert found.shape == (4, 8, 8) and len({tuple(each.flatten().tolist()) for each in found}) > 1
    inside = found != VOID
    assert inside.all() == (scales[0] != 0.5) and (images[:, :1][~inside[:, None]] == 100).all()
    whole = scales[0] == 1  # else colours are mixed at the borders of classes
    close = (images[:, 2] / 40 - found).abs() < (1e-6 if whole else 0.6)
    assert (close | ~inside).float().mean() >= (1.0 if whole else 0.88)
    mirrored = [bool(image[1, 0, 0] > image[1, 0, 1]) for image in images]
    assert True in mirrored and False in mirrored
    steps = (images[:, 1, 0, 1:4] - images[:, 1, 0, :3]).abs()
    expected = {1.0: 10, 2.0: 5, 0.5: 20}[scales[0]]
    if scales[0] != 0.5:
        assert (steps - expected).abs().median() <= 1


def test_scales_come_in_steps_and_cover_unlabeled_windows() -> None:
    crops = Crops(Config(20, 0.7, 2.1, 0.1), flip=False)
    draws = crops.draw(4000, Step(0, 10, 5), "view 0", "unlabeled")
    windows = crops.windows(draws, (100, 100), torch.device("cpu"))
    assert sorted(set((windows.numbers[:, 0]).tolist())) == [70 + 10 * k for k in range(15)]
    small = crops.windows(draws, (10, 16), torch.device("cpu"), covers=True)
    assert small.numbers[:, :2].amin() >= 20
    again = crops.draw(4000, Step(0, 10, 5), "view 1", "unlabeled")
    assert torch.equal(draws, again), "the views of an image show one window"


def test_jitter_moves_colours_within_its_range() -> None:
    pixels = torch.full((200, 3, 8, 8), 100, dtype=torch.uint8)
    crops = Crops(Config(None, 1.0, 1.0, color_jitter=0.2), flip=False, pool=jitter(0.2))
    draws = crops.draw(200, Step(0, 10, 5), "labeled")
    found = crops.view(prepared(pixels), torch.arange(200), draws) + 100
    assert 79 <= found.min() < 85 and 115 < found.max() <= 121


def cityscapes(root: Path, ids: np.ndarray) -> Path:
    for part in ("train", "val"):
        image = root / "leftImg8bit" / part / "ulm" / "ulm_000000_000019_leftImg8bit.png"
        save(image, np.full((*ids.shape, 3), 50))
        save(root / "gtFine" / part / "ulm" / "ulm_000000_000019_gtFine_labelIds.png", ids)
    return root


def test_cityscapes_has_19_classes_of_34_ids(tmp_path: Path) -> None:
    ids = np.arange(34).reshape(2, 17)
    data = DATASETS["cityscapes"](datasets.cityscapes.Config(), cityscapes(tmp_path, ids))
    assert isinstance(data, MaskData)
    mask = data.train_masks.fetch(torch.tensor([0]))[0, 0].flatten().tolist()
    classes = {k: c for k, c in enumerate(mask) if c != VOID}
    assert [data.class_names[c] for c in classes.values()] == [*data.class_names]
    assert classes[7] == 0 and classes[33] == 18 and len(classes) == 19 and mask[6] == VOID
    assert data.train.shape == (3, 2, 17) and len(data.test) == 1
    save(tmp_path / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png", ids + 200)
    with pytest.raises(UsageError, match="has the id 200; those of Cityscapes are 0 to 33"):
        data = DATASETS["cityscapes"](datasets.cityscapes.Config(), tmp_path)
        data.test_masks.fetch(torch.tensor([0]))
    (tmp_path / "gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(UsageError, match="has no mask"):
        DATASETS["cityscapes"](datasets.cityscapes.Config(), tmp_path)


def test_a_pair_that_does_not_come_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ssl_isda.data.streaming.STALLED_SECONDS", 0.1)
    pairs = [(tmp_path / "a.png", tmp_path / "mask.png"), (tmp_path / "b.png", None)]
    for path in (pairs[0][0], tmp_path / "mask.png", pairs[1][0]):
        path.write_bytes(b"")
    answers = threading.Event()

    def decode(path: Path, size: object) -> np.ndarray:
        answers.wait(60)
        return np.zeros((3, 2, 2), np.uint8)

    labels = torch.tensor([0, -1])
    sources = streamed_pairs(tmp_path, pairs, labels, (2, 2), decode, decode)
    for source, place, name in (
        *((sources[0], 0, "a.png"), (sources[0], 1, "b.png")),
        (sources[1], 0, "mask.png"),
    ):
        with pytest.raises(UsageError, match=f"/{name}: no image could be read for 0.1 s"):
            source.fetch(torch.tensor([place]))
    answers.set()


class Noted(InMemory):
    """Notes the places that it is told of ahead."""

    lookahead = 2

    def expect(self, indices: torch.Tensor) -> None:
        self.__dict__.setdefault("expected", []).append(indices.tolist())


def test_the_masks_of_the_next_steps_are_expected(tmp_path: Path) -> None:
    batches = build("supervised", "plain", "pixels", tmp_path, num_steps=10).data.batches
    batches._masks = source = Noted(batches._masks.images)
    batches.batch(Step(8, 10, 2))
    assert source.expected == [torch.cat([batches.sampler.labeled(k) for k in (8, 9)]).tolist()]
