"""What every data set, source and augmentation keeps to, whatever is registered."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step
from ssl_isda.data.amounts import Amounts, check_label_count
from ssl_isda.data.facts import (
    ClassFolders,
    DatasetFacts,
    check_labels,
    data_digests,
    facts_of,
)
from ssl_isda.data.images.image_data import DATASETS, ImageData
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import DataSource
from ssl_isda.data.streaming import Streaming
from ssl_isda.data.views import AUGMENTATIONS, names_for_vectors
from tests.ssl_isda.data.conftest import load, pixels_of, streamed

ROOT = Path(__file__).parents[3]
STEP = Step(3, num_steps=10, steps_per_epoch=5)
FOR_IMAGES = sorted({*AUGMENTATIONS} - {*names_for_vectors()})

# ---- data sets and what is known of them -------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_says_what_is_known_of_it(name: str) -> None:
    facts = facts_of(name)
    assert facts is not None
    if isinstance(facts, DatasetFacts):
        assert sum(facts.train_counts) == facts.num_train_images
        assert min(facts.train_counts) == facts.fewest_per_class
        assert len(facts.train_counts) == facts.num_classes


@pytest.mark.parametrize(
    "kind", ["digits", "folder", "folder streamed", "wine", "breast_cancer", "digits_vectors"]
)
def test_a_loaded_data_set_is_what_its_facts_say(kind: str, make_folder, tmp_path: Path) -> None:
    name, *streaming = kind.split()
    root = make_folder() if name == "folder" else tmp_path / "absent"
    data = load(name, root, **{"streaming": True} if streaming else {})
    facts = facts_of(name)
    for source in (data.train, data.test):
        first = source.fetch(torch.tensor([1, 0, 1]))
        assert first.shape == (3, *source.shape)
        assert first.dtype == (torch.float32 if len(source.shape) == 1 else torch.uint8)
        assert torch.equal(first[0], first[2]) and not torch.equal(first[0], first[1])
        assert source.labels is not None and source.labels.dtype == torch.int64
        assert len(source) == len(source.labels) and len(source.fingerprint) == 64
        assert int(source.labels.max()) == len(data.class_names) - 1
    assert data.train.fingerprint != data.test.fingerprint
    if isinstance(facts, DatasetFacts):
        assert math.prod(data.train.shape) == facts.channels * facts.image_size**2
        assert len(data.train) == facts.num_train_images
        assert tuple(torch.bincount(data.train.labels).tolist()) == facts.train_counts


def test_digits_have_the_same_pixels_and_division_on_every_machine(tmp_path: Path) -> None:
    data = load("digits", tmp_path)
    digest = "285d292f2fbae3fb24102fc630f29dbb23facf7156f0beaf1af3667a57271cec"
    assert data.train.fingerprint == digest
    assert len(data.train) + len(data.test) == 1797
    assert torch.bincount(data.test.labels).tolist() == [45] * 10
    assert pixels_of(data.train).max() == 255 and pixels_of(data.train).is_contiguous()


def test_enlarge_is_bilinear() -> None:
    from ssl_isda.datasets.digits import enlarge

    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4), np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None].double(), scale_factor=2, mode="bilinear"
    )[:, 0]
    assert np.abs(enlarge(images) - expected.numpy()).max() <= 0.5


def test_facts_need_neither_torch_nor_the_data_sets() -> None:
    """Nor NumPy and Pillow: a wrong number of labels answers at once."""
    code = (
        "import sys; from pathlib import Path; from ssl_isda.data.facts import *\n"
        "check_labels('svhn', Amounts(500), Path('absent'))\n"
        "print(*({'torch', 'PIL', 'numpy', 'ssl_isda.datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_digit_pairs_share_no_digit_between_training_and_test() -> None:
    data = DATASETS["digit_pairs"](None, Path("/nowhere"))
    assert (len(data.train), len(data.test), data.train.shape) == (4_000, 2_000, (1, 8, 16))
    assert data.train.labels is not None and (data.train.labels.bincount() == 40).all()
    assert data.test.labels is not None and (data.test.labels.bincount() == 20).all()
    train, test = (
        {half.numpy().tobytes() for image in part.images for half in image.split(8, dim=2)}
        for part in (data.train, data.test)
    )
    assert len(train) > 1_000 and len(test) > 400 and not train & test


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("dataset", "labels", "says"),
    [
        ("cifar10", 0, "nearest is 10"),
        ("cifar10", -40, "nearest is 10"),
        ("cifar10", 4001, "4000 or 4010"),
        ("cifar10", 50_010, "nearest is 50000"),
        ("cifar100", 10, "nearest is 100"),
        ("cifar100", 10_050, "10000 or 10100"),
        ("svhn", 73_250, "nearest is 46590"),
        ("digits", 1_300, "nearest is 1290"),
        ("digits", None, "from 10 to 1290"),
        ("cifar10", 4000, None),
        ("cifar100", 50_000, None),
        ("svhn", 500, None),
        ("digits", 1290, None),
    ],
)
def test_fault_24_label_counts(dataset: str, labels: int | None, says: str | None) -> None:
    if says is None:
        check_labels(dataset, Amounts(labels), Path("/nowhere"))
        check_labels(dataset, Amounts(None), Path("/nowhere"), is_supervised=True)
        return
    with pytest.raises(UsageError, match=says) as caught:
        check_labels(dataset, Amounts(labels), Path("/nowhere"))
    assert "\n" not in str(caught.value)


@pytest.mark.fault(24)
def test_fault_24_folder_is_counted_without_decoding(make_folder) -> None:
    root = make_folder(per_class=3)
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image at all")
    assert isinstance(facts_of("folder"), ClassFolders)
    check_labels("folder", Amounts(6), root)
    check_labels("folder", Amounts(None), root)
    with pytest.raises(UsageError, match=r"rarest with 3 images.*nearest is 6"):
        check_labels("folder", Amounts(8), root)
    assert data_digests("digits", root) == data_digests("folder", root / "absent") == ()


@given(labels=st.integers(-300, 300), num_classes=st.integers(1, 12), fewest=st.integers(1, 20))
@settings(max_examples=500, deadline=None)
def test_exactly_the_multiples_pass_and_the_named_ones_are_nearest(
    labels: int, num_classes: int, fewest: int
) -> None:
    valid = [num_classes * k for k in range(1, fewest + 1)]
    if labels in valid:
        check_label_count("set", labels, num_classes, fewest)
        return
    with pytest.raises(UsageError) as caught:
        check_label_count("set", labels, num_classes, fewest)
    named = [int(n) for n in str(caught.value).rsplit("nearest is ", 1)[1].split(" or ")]
    assert set(named) <= set(valid)
    assert min(abs(labels - n) for n in named) == min(abs(labels - n) for n in valid)


# ---- sources -----------------------------------------------------------------------------------


def test_a_fingerprint_sees_pixels_labels_and_shape() -> None:
    def fingerprint(images: np.ndarray, labels: list[int]) -> str:
        part = (images, np.array(labels))
        return ImageData.from_arrays("x", ["a"], part, part).train.fingerprint

    images = np.zeros((2, 1, 2, 4), np.uint8)
    changed = images.copy()
    changed[1, 0, 1, 3] = 1
    found = [fingerprint(images, [0, 0]), fingerprint(changed, [0, 0])]
    found += [fingerprint(images, [0, -1]), fingerprint(images.reshape(2, 1, 4, 2), [0, 0])]
    assert len(set(found)) == 4


def test_a_streamed_source_keeps_few_images_and_decodes_ahead(data: ImageData) -> None:
    source = streamed(data, most_kept=15).train
    expected = pixels_of(data.train)
    for _ in range(2):  # what was forgotten is decoded again
        for places in torch.arange(60).split(20):
            source.expect(places)
            assert torch.equal(source.fetch(places), expected[places])
            assert source.num_kept <= 15  # type: ignore[attr-defined]
    assert source.fetch(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 8, 8)


def test_an_expected_image_is_decoded_once(make_folder, monkeypatch) -> None:
    decoded: list[Path] = []
    from ssl_isda.datasets import folder

    plain = folder.decode
    monkeypatch.setattr(folder, "decode", lambda *a: decoded.append(a[0]) or plain(*a))
    source = load("folder", make_folder(), image_size=8, streaming=True).train
    assert decoded == []
    source.expect(torch.tensor([0, 1]))
    source.fetch(torch.tensor([1, 0, 1]))
    source.fetch(torch.tensor([0]))
    assert len(decoded) == 2
    source.most_kept = 2  # type: ignore[attr-defined]
    source.fetch(torch.tensor([2]))
    source.fetch(torch.tensor([0]))
    assert len(decoded) == 3, "the one that nothing has asked for longest is forgotten"


@pytest.mark.fault(48)
def test_fault_48_a_disk_that_does_not_answer_is_told(monkeypatch) -> None:
    """Not one that is slow: an image may take long as long as others come."""
    monkeypatch.setattr("ssl_isda.data.streaming.STALLED_SECONDS", 0.2)
    answers = threading.Event()

    def decode(place: int) -> np.ndarray:
        if place == 3:
            answers.wait(60)
        return np.full((1, 2, 2), place, np.uint8)

    source = Streaming(decode, (1, 2, 2), torch.full((4,), -1), "", name="{}.png".format)
    with pytest.raises(
        UsageError, match=r"3\.png: no image could be read for 0\.2 s; once the disk"
    ):
        source.fetch(torch.tensor([0, 3]))
    answers.set()
    assert source.fetch(torch.tensor([0, 3])).flatten(1)[:, 0].tolist() == [0, 3]


# ---- augmentations -----------------------------------------------------------------------------


OPTIONS = {"cutout": {"cutout_size": 3}}


def view_of(name: str, source: DataSource, step: Step, purpose: str = "view 0", first: int = 0):
    """Of five images, or of those from ``first`` on, as another process has them."""
    augmentation = AUGMENTATIONS[name](
        AUGMENTATIONS.config(name)(**OPTIONS.get(name, {})), flip=True, max_translation=2
    )
    indices = torch.tensor([5, 1, 7, 7, 0])
    draws = augmentation.draw(len(indices), step, purpose)
    return augmentation.view(PreparedImages(source), indices[first:], draws[first:])


@pytest.mark.parametrize("name", FOR_IMAGES)
def test_a_view_is_a_function_of_step_and_purpose(name: str, data: ImageData) -> None:
    before = torch.get_rng_state()
    first = view_of(name, data.train, STEP)
    assert torch.equal(first, view_of(name, data.train, STEP))
    assert torch.equal(before, torch.get_rng_state())
    assert first.shape == (5, 3, 8, 8) and first.dtype == torch.float32
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(first, view_of(name, data.train, STEP, "view 1"))
    assert not torch.equal(first, view_of(name, data.train, Step(4, 10, 5)))
    assert not torch.equal(first[2], first[3]), "each image has draws of its own"
    assert torch.equal(first[3:], view_of(name, data.train, STEP, first=3)), "and of no other"


@pytest.mark.parametrize("name", FOR_IMAGES)
def test_a_view_is_the_same_of_any_source_and_leaves_it_alone(name: str, data: ImageData) -> None:
    kept = pixels_of(data.train).clone()
    in_memory = view_of(name, data.train, STEP)
    assert torch.equal(in_memory, view_of(name, streamed(data).train, STEP))
    assert torch.equal(pixels_of(data.train), kept)
    if name in ("weak", "cutout"):  # the others need pixels
        floats = data.train.mapped(lambda images: images.float())
        assert torch.equal(in_memory, view_of(name, floats, STEP))
        assert torch.equal(pixels_of(floats), kept.float())


def test_cutout_sets_a_square_to_zero_that_may_hang_over_the_edge() -> None:
    """Like one image after the other; every pixel is the centre equally often."""
    part = (np.full((4, 1, 12, 9), 7, np.uint8), np.zeros(4))
    source = ImageData.from_arrays("ones", ["a"], part, part).train
    cutout = AUGMENTATIONS["cutout"](
        AUGMENTATIONS.config("cutout")(cutout_size=4), flip=False, max_translation=0
    )
    indices = torch.zeros(20_000, dtype=torch.int64)
    draws = cutout.draw(len(indices), STEP, "view 0")
    holes = cutout.view(PreparedImages(source), indices, draws)[:, 0] == 0
    rows, columns = (draws[:, -2] * 12 >> 31).tolist(), (draws[:, -1] * 9 >> 31).tolist()
    for hole, row, column in zip(holes[:500], rows, columns, strict=False):
        expected = torch.zeros(12, 9, dtype=torch.bool)
        expected[max(0, row - 2) : row + 2, max(0, column - 2) : column + 2] = True
        assert torch.equal(hole, expected)
    counts = torch.bincount(torch.tensor(rows) * 9 + torch.tensor(columns), minlength=108)
    assert (counts - 20_000 / 108).abs().max() < 5 * (20_000 / 108) ** 0.5
