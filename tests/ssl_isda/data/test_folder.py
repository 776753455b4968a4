"""A user's own folder: the layout, every kind of image, faults, and the cache."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder_listing import list_images
from ssl_isda.data.image_decoding import decode
from ssl_isda.data.load import load
from ssl_isda.datasets import folder as image_folder

ROOT = Path(__file__).parents[3]


def load_folder(root: Path, image_size: int = 8):
    return load("folder", root, image_size=image_size)


def refusal(root: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(UsageError) as caught:
        load_folder(root)
    text = str(caught.value)
    assert "\n" not in text and text.isprintable()
    return text


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).transpose(2, 0, 1)


def test_order_labels_and_exact_pixels(make_folder) -> None:
    root = make_folder()
    data = load_folder(root)
    names = [f"train/{c}/{k}.png" for c in ("cat", "dog") for k in range(3)]
    names += ["unlabeled/0.png", "unlabeled/1.png"]
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1, -1, -1]
    assert data.test_labels.tolist() == [0, 1]
    assert data.class_names == ("cat", "dog")
    for image, name in zip(data.train_images, names, strict=True):
        assert np.array_equal(image.numpy(), pixels(root / name))


def test_default_size_is_32(make_folder) -> None:
    assert load("folder", make_folder()).train_images.shape == (8, 3, 32, 32)


@pytest.mark.parametrize("image_size", [0, -1, 5000])
def test_image_size_out_of_range(make_folder, image_size: int) -> None:
    with pytest.raises(UsageError, match="image size"):
        load("folder", make_folder(), image_size=image_size)


def test_nested_and_hidden_files(make_folder) -> None:
    root = make_folder()
    (root / "unlabeled" / "a" / "b").mkdir(parents=True)
    (root / "unlabeled" / "0.png").rename(root / "unlabeled" / "a" / "b" / "0.png")
    (root / "unlabeled" / ".DS_Store").write_text("not an image")
    (root / "train" / ".hidden").mkdir()
    listing = list_images(root)
    assert [f.name for f in listing.unlabeled] == ["unlabeled/1.png", "unlabeled/a/b/0.png"]
    assert load_folder(root).class_names == ("cat", "dog")


@given(names=st.sets(st.text("aAzZäß0_. -é日", min_size=1, max_size=6), min_size=1, max_size=8))
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_listing_is_sorted_by_code_points_for_any_names(tmp_path_factory, names) -> None:
    root = tmp_path_factory.mktemp("names")
    for part in ("train", "test"):
        for label in ("x", "y"):
            (root / part / label).mkdir(parents=True)
            for name in names:
                (root / part / label / f"n{name}").write_bytes(b"")
    found = [f.name for f in list_images(root).train]
    assert found == sorted(f"train/{c}/n{name}" for c in ("x", "y") for name in names)


def test_order_is_that_of_code_points_in_the_locale_c_too(make_folder) -> None:
    root = make_folder(classes=("İ", "i", "ı", "I", "z"), unlabeled=0)
    code = (
        "import sys; from pathlib import Path; from ssl_isda.data.folder_listing import list_images;"
        "print(ascii(list_images(Path(sys.argv[1])).class_names))"
    )
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.stdout.strip() == ascii(("I", "i", "z", "İ", "ı")), done.stderr


# ---- fault row 39: what works -------------------------------------------------------------------


def saved(tmp_path: Path, image: Image.Image, name: str = "image.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


GREY = np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)
COLOUR = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
ALPHA = np.random.default_rng(3).integers(0, 256, (8, 8, 4), np.uint8)


@pytest.mark.fault(39)
def test_fault_39_grey(tmp_path) -> None:
    decoded = decode(saved(tmp_path, Image.fromarray(GREY)), 8)
    assert np.array_equal(decoded, np.stack([GREY] * 3))


@pytest.mark.fault(39)
def test_fault_39_grey_of_16_bits(tmp_path) -> None:
    deep = GREY.astype(np.uint16) * 257
    decoded = decode(saved(tmp_path, Image.fromarray(deep)), 8)
    assert np.array_equal(decoded, np.stack([GREY] * 3))


@pytest.mark.fault(39)
def test_fault_39_rgba_is_laid_over_black(tmp_path) -> None:
    decoded = decode(saved(tmp_path, Image.fromarray(ALPHA)), 8)
    expected = ALPHA[..., :3] * (ALPHA[..., 3:] / 255)
    assert np.abs(decoded - expected.transpose(2, 0, 1)).max() <= 1


@pytest.mark.fault(39)
def test_fault_39_grey_with_alpha_and_bilevel(tmp_path) -> None:
    pair = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (8, 8), 255)])
    assert np.array_equal(decode(saved(tmp_path, pair), 8), np.stack([GREY] * 3))
    bilevel = Image.fromarray(GREY > 100)
    expected = np.stack([np.where(GREY > 100, 255, 0)] * 3)
    assert np.array_equal(decode(saved(tmp_path, bilevel), 8), expected)


@pytest.mark.fault(39)
def test_fault_39_palette_with_and_without_transparency(tmp_path) -> None:
    image = Image.fromarray(COLOUR).quantize(16)
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode(saved(tmp_path, image), 8), expected)
    clear = np.asarray(image)[0, 0]
    decoded = decode(saved(tmp_path, image, transparency=int(clear)), 8)
    hidden = np.asarray(image) == clear
    assert (decoded[:, hidden] == 0).all()
    assert np.array_equal(decoded[:, ~hidden], expected[:, ~hidden])
    decode(saved(tmp_path, image, transparency=bytes(range(16))), 8)


@pytest.mark.fault(39)
def test_fault_39_cmyk_and_other_formats(tmp_path) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    decoded = decode(saved(tmp_path, red, "image.tiff"), 8)
    assert (decoded[0].min(), decoded[1:].max()) == (255, 0)
    for suffix in ("bmp", "ppm", "webp", "gif", "jpg", "tga"):
        assert decode(saved(tmp_path, Image.fromarray(COLOUR), f"i.{suffix}"), 8).shape == (3, 8, 8)
    assert np.array_equal(decode(tmp_path / "i.bmp", 8), COLOUR.transpose(2, 0, 1))


@pytest.mark.fault(39)
def test_fault_39_one_pixel(tmp_path) -> None:
    decoded = decode(saved(tmp_path, Image.new("RGB", (1, 1), (1, 2, 3))), 8)
    assert np.array_equal(decoded, np.full((8, 8, 3), (1, 2, 3)).transpose(2, 0, 1))


@pytest.mark.fault(39)
@pytest.mark.slow
def test_fault_39_ten_thousand_pixels_square(make_folder) -> None:
    """Pillow's own limit would warn; half the image is white, half black."""
    root = make_folder()
    large = Image.new("L", (10_000, 10_000), 255)
    ImageDraw.Draw(large).rectangle((0, 0, 9_999, 4_999), 0)
    large.save(root / "train" / "cat" / "0.png")
    limit = Image.MAX_IMAGE_PIXELS
    image = load_folder(root).train_images[0]
    assert (image[:, :3].max(), image[:, 5:].min()) == (0, 255)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.fault(39)
def test_fault_39_too_large_is_one_line(make_folder, monkeypatch) -> None:
    root = make_folder()
    monkeypatch.setattr("ssl_isda.data.image_decoding.MAX_PIXELS", 63)
    assert "cat/0.png: 8 x 8 pixels, too large" in refusal(root)


@pytest.mark.fault(39)
def test_fault_39_turned_by_exif(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    decoded = decode(saved(tmp_path, Image.fromarray(COLOUR), "turned.png", exif=exif), 8)
    assert np.array_equal(decoded, np.rot90(COLOUR, -1).transpose(2, 0, 1))


@pytest.mark.fault(39)
def test_fault_39_one_image_a_class_and_no_unlabeled_folder(make_folder) -> None:
    data = load_folder(make_folder(per_class=1, unlabeled=0))
    assert data.train_labels.tolist() == [0, 1]


@pytest.mark.fault(39)
def test_fault_39_link_within_the_folder_works(make_folder) -> None:
    root = make_folder()
    (root / "train" / "cat" / "link.png").symlink_to("../dog/0.png")
    assert len(load_folder(root).train_images) == 9


@pytest.mark.fault(39)
def test_fault_39_data_folder_may_itself_be_a_link(make_folder, tmp_path) -> None:
    (tmp_path / "link").symlink_to(make_folder())
    assert len(load_folder(tmp_path / "link").train_images) == 8


# ---- fault row 39: what is refused, by name -----------------------------------------------------


@pytest.mark.fault(39)
def test_fault_39_empty_class(make_folder) -> None:
    root = make_folder()
    for part in ("train", "test"):
        (root / part / "emu").mkdir()
    assert "train/emu holds no image" in refusal(root)


@pytest.mark.fault(39)
@pytest.mark.parametrize("content", [b"just text", b"", b"\x89PNG\r\n\x1a\n"])
def test_fault_39_text_or_empty_file(make_folder, content: bytes) -> None:
    root = make_folder()
    (root / "train" / "cat" / "notes.txt").write_bytes(content)
    assert "train/cat/notes.txt" in refusal(root)
    assert not list(root.glob(".cache/*/*.npy"))


@pytest.mark.fault(39)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "gif", "bmp"])
def test_fault_39_truncated_image(make_folder, suffix: str) -> None:
    root = make_folder()
    path = saved(root / "test" / "dog", Image.fromarray(COLOUR), f"corrupt.{suffix}")
    path.write_bytes(path.read_bytes()[:-40])
    assert f"test/dog/corrupt.{suffix}" in refusal(root)


@given(seed=st.integers(0, 2**32 - 1), suffix=st.sampled_from(["png", "jpg", "webp", "tiff"]))
@settings(max_examples=500, deadline=None)
@pytest.mark.fault(39)
def test_fault_39_any_damage_gives_pixels_or_one_line(tmp_path_factory, seed, suffix) -> None:
    path = saved(tmp_path_factory.mktemp("fuzz"), Image.fromarray(COLOUR), f"fuzz.{suffix}")
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, len(content), 4):
        content[position] = rng.integers(256)
    path.write_bytes(content)
    try:
        assert decode(path, 8).shape == (3, 8, 8)
    except UsageError as error:
        assert path.name in str(error) and "\n" not in str(error)


@pytest.mark.fault(39)
def test_fault_39_links_out_to_nowhere_and_to_folders(make_folder, tmp_path) -> None:
    root = make_folder()
    outside = tmp_path / "outside.png"
    outside.write_bytes((root / "train" / "cat" / "0.png").read_bytes())
    link = root / "train" / "cat" / "link.png"
    for target, says in [
        (outside, "that leads out of"),
        (root / "absent", "that leads nowhere"),
        (root / "train", "to a folder"),
    ]:
        link.symlink_to(target)
        assert f"train/cat/link.png is a link {says}" in refusal(root)
        link.unlink()


@pytest.mark.fault(39)
def test_fault_39_class_folder_that_links_out(make_folder, tmp_path) -> None:
    root = make_folder()
    (root / "unlabeled").rename(tmp_path / "elsewhere")
    (root / "unlabeled").symlink_to(tmp_path / "elsewhere")
    assert "unlabeled is a link that leads out of" in refusal(root)


@pytest.mark.fault(39)
def test_fault_39_classes_differ(make_folder) -> None:
    root = make_folder()
    (root / "test" / "dog").rename(root / "test" / "wolf")
    text = refusal(root)
    assert "'dog' is in train but not in test" in text and "2 classes differ" in text


@pytest.mark.fault(39)
@pytest.mark.parametrize("part", ["train", "test"])
def test_fault_39_missing_part(make_folder, part: str) -> None:
    root = make_folder()
    (root / part).rename(root / "renamed")
    assert f"{part} is missing; expected train/<class>" in refusal(root)


@pytest.mark.fault(39)
def test_fault_39_other_layouts(make_folder, tmp_path) -> None:
    root = make_folder()
    assert "is not a folder" in refusal(tmp_path / "absent")
    (root / "train" / "stray.png").write_bytes(b"")
    assert "train/stray.png lies outside a class folder" in refusal(root)


@pytest.mark.fault(39)
def test_fault_39_one_class(make_folder) -> None:
    assert "needs at least 2" in refusal(make_folder(classes=("cat",)))


@pytest.mark.fault(39)
def test_fault_39_name_that_is_no_unicode_or_breaks_lines(make_folder) -> None:
    root = make_folder()
    with open(os.fsencode(root) + b"/train/cat/\xff\n.txt", "wb") as file:
        file.write(b"text")
    assert "train/cat/" in refusal(root)


# ---- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def count_decodes(monkeypatch) -> list[Path]:
    """Every file that is decoded from here on."""
    decoded: list[Path] = []

    def counting(path: Path, image_size: int) -> np.ndarray:
        decoded.append(path)
        return decode(path, image_size)

    monkeypatch.setattr(image_folder, "decode", counting)
    return decoded


def test_cache_is_used_and_kept_per_size(make_folder, count_decodes) -> None:
    root = make_folder()
    first = load_folder(root)
    load_folder(root, image_size=4)
    count_decodes.clear()
    second = load_folder(root)
    assert count_decodes == []
    assert torch.equal(first.train_images, second.train_images)
    assert first.checksum == second.checksum
    assert load_folder(root, image_size=4).train_images.shape == (8, 3, 4, 4)
    assert count_decodes == []


@pytest.mark.parametrize("change", ["content", "time", "name", "new file"])
def test_stale_cache_is_rebuilt(make_folder, count_decodes, change: str) -> None:
    root = make_folder()
    load_folder(root)
    path = root / "train" / "cat" / "0.png"
    if change == "content":
        Image.new("RGB", (8, 8)).save(path)
    elif change == "time":
        os.utime(path, ns=(1, 1))
    elif change == "name":
        path.rename(path.with_name("00.png"))
    else:
        Image.new("RGB", (8, 8)).save(path.with_name("3.png"))
    count_decodes.clear()
    data = load_folder(root)
    assert len(count_decodes) == 10 + (change == "new file")
    assert len(data.train_images) == 8 + (change == "new file")
    assert len(list((root / ".cache").glob("*/contents.json"))) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "pickle", "array"])
def test_damaged_cache_is_rebuilt(make_folder, count_decodes, damage: str) -> None:
    root = make_folder()
    first = load_folder(root)
    path = next((root / ".cache" / "images-8").glob("train*.npy"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(
        {"cut": bytes(content[:-100]), "flipped": bytes(content), "empty": b""}.get(damage, b"text")
    )
    if damage in ("pickle", "array"):
        array = np.array([{}], dtype=object) if damage == "pickle" else np.zeros(3)
        with open(path, "wb") as file:
            np.save(file, array)
    count_decodes.clear()
    assert torch.equal(load_folder(root).train_images, first.train_images)
    assert len(count_decodes) == 10
    count_decodes.clear()
    load_folder(root)
    assert count_decodes == []


def test_folder_that_cannot_be_written_works_without_cache(make_folder, count_decodes) -> None:
    root = make_folder()
    (root / ".cache").write_text("a file in the place of the cache folder")
    assert len(load_folder(root).train_images) == 8
    load_folder(root)
    assert len(count_decodes) == 20


def test_two_at_once_decode_once(make_folder, count_decodes) -> None:
    root = make_folder()
    threads = [threading.Thread(target=load_folder, args=(root,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(count_decodes) == 10


def test_no_progress_bar_without_a_terminal(make_folder, capfd) -> None:
    load_folder(make_folder())
    assert capfd.readouterr() == ("", "")
