"""A user's own folder: the layout, every kind of image, faults, digests, and the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ssl_isda.base.errors import UsageError
from ssl_isda.data import file_hashes
from ssl_isda.data.folder import reading
from ssl_isda.data.folder.listing import list_images, listed_once
from ssl_isda.data.images.decoding import decode
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preprocessing import prepare
from ssl_isda.data.streaming import Streaming
from tests.ssl_isda.data.conftest import load, pixels_of

ROOT = Path(__file__).parents[3]


def load_folder(root: Path, image_size: int = 8, **options: object) -> ImageData:
    return load("folder", root, image_size=image_size, **options)


def refusal(root: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(UsageError) as caught:
        load_folder(root)
    text = str(caught.value)
    assert "\n" not in text and text.isprintable()
    return text


@pytest.mark.parametrize("streaming", [False, True])
def test_order_labels_and_exact_pixels(make_folder, streaming: bool) -> None:
    root = make_folder()
    data = load_folder(root, streaming=streaming)
    names = [f"train/{c}/{k}.png" for c in ("cat", "dog") for k in range(3)]
    names += ["unlabeled/0.png", "unlabeled/1.png"]
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, -1, -1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.class_names == ("cat", "dog")
    for image, name in zip(data.train.fetch(torch.arange(8)), names, strict=True):
        assert np.array_equal(image.numpy(), np.asarray(Image.open(root / name)).transpose(2, 0, 1))
    assert bool(list(root.glob(".cache/images-*"))) != streaming


def test_image_size(make_folder) -> None:
    assert load("folder", make_folder()).train.shape == (3, 32, 32)
    for size in (0, -1, 5000):
        with pytest.raises(UsageError, match="image size"):
            load_folder(make_folder(), image_size=size)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_is_resized_by_the_filter_that_is_asked_for(make_folder, streaming: bool) -> None:
    """Each filter has a cache of its own, and images that come later are resized by it too."""
    root = make_folder()
    with Image.open(sorted((root / "train").rglob("*.png"))[0]) as image:
        first = image.convert("RGB")
    digests = set()
    for name in ("bilinear", "bicubic", "nearest"):
        data = load_folder(root, 20, interpolation=name, streaming=streaming)
        expected = np.asarray(first.resize((20, 20), Image.Resampling[name.upper()]))
        expected = np.ascontiguousarray(expected.transpose(2, 0, 1))
        assert np.array_equal(data.train.fetch(torch.tensor([0]))[0].numpy(), expected)
        preparation = prepare("scale", data, root).preparation
        original = torch.from_numpy(np.asarray(first).copy()).permute(2, 0, 1)
        prepared = [preparation(it[None]) for it in (original, torch.from_numpy(expected))]
        assert torch.equal(*prepared)
        digests.add(data.digest)
    assert len(digests) == 3


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
                (root / part / label / f"n{name}.png").write_bytes(b"")
    found = [f.name for f in list_images(root).train]
    assert found == sorted(f"train/{c}/n{name}.png" for c in ("x", "y") for name in names)


def test_order_is_that_of_code_points_in_the_locale_c_too(make_folder) -> None:
    root = make_folder(classes=("İ", "i", "ı", "I", "z"), unlabeled=0)
    code = (
        "import sys; from pathlib import Path; from ssl_isda.data.folder.listing import list_images;"
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
TURN = Image.Exif()
TURN[0x0112] = 6  # by 90 degrees clockwise


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("image", "name", "options", "expected"),
    [
        (Image.fromarray(GREY), "8bit.png", {}, np.dstack([GREY] * 3)),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "16bit.png", {}, np.dstack([GREY] * 3)),
        (
            Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (8, 8), 255)]),
            *("grey_alpha.png", {}, np.dstack([GREY] * 3)),
        ),
        (Image.fromarray(GREY > 100), "bilevel.png", {}, np.dstack([(GREY > 100) * 255] * 3)),
        (
            Image.new("CMYK", (8, 8), (0, 255, 255, 0)),
            *("cmyk.tiff", {}, np.full((8, 8, 3), (255, 0, 0))),
        ),
        (Image.fromarray(COLOUR), "colour.bmp", {}, COLOUR),
        (Image.new("RGB", (1, 1), (1, 2, 3)), "pixel.png", {}, np.full((8, 8, 3), (1, 2, 3))),
        (Image.fromarray(COLOUR), "turned.png", {"exif": TURN}, np.rot90(COLOUR, -1)),
    ],
)
def test_fault_39_exact_pixels_of_every_kind(
    tmp_path: Path, image: Image.Image, name: str, options: dict, expected: np.ndarray
) -> None:
    decoded = decode(saved(tmp_path, image, name, **options), 8)
    assert np.array_equal(decoded, expected.transpose(2, 0, 1))


@pytest.mark.fault(39)
def test_fault_39_rgba_is_laid_over_black(tmp_path) -> None:
    decoded = decode(saved(tmp_path, Image.fromarray(ALPHA)), 8)
    expected = ALPHA[..., :3] * (ALPHA[..., 3:] / 255)
    assert np.abs(decoded - expected.transpose(2, 0, 1)).max() <= 1


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
@pytest.mark.parametrize("suffix", ["ppm", "webp", "gif", "jpg", "tga"])
def test_fault_39_other_formats(tmp_path, suffix: str) -> None:
    assert decode(saved(tmp_path, Image.fromarray(COLOUR), f"i.{suffix}"), 8).shape == (3, 8, 8)


@pytest.mark.fault(39)
@pytest.mark.slow
def test_fault_39_ten_thousand_pixels_square(make_folder) -> None:
    """Pillow's own limit would warn; half the image is white, half black."""
    root = make_folder()
    large = Image.new("L", (10_000, 10_000), 255)
    ImageDraw.Draw(large).rectangle((0, 0, 9_999, 4_999), 0)
    large.save(root / "train" / "cat" / "0.png")
    limit = Image.MAX_IMAGE_PIXELS
    for streaming in (False, True):
        image = load_folder(root, streaming=streaming).train.fetch(torch.tensor([0]))[0]
        assert (image[:, :3].max(), image[:, 5:].min()) == (0, 255)
        assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.fault(39)
def test_fault_39_one_image_a_class_and_no_unlabeled_folder(make_folder) -> None:
    assert load_folder(make_folder(per_class=1, unlabeled=0)).train.labels.tolist() == [0, 1]


@pytest.mark.fault(39)
def test_fault_39_links_within_the_folder_and_to_it_work(make_folder, tmp_path) -> None:
    root = make_folder()
    (root / "train" / "cat" / "link.png").symlink_to("../dog/0.png")
    (tmp_path / "link").symlink_to(root)
    assert len(load_folder(tmp_path / "link").train) == len(load_folder(root).train) == 9


# ---- fault row 39: what is refused, by name -----------------------------------------------------


def _differing(root: Path) -> None:
    (root / "test" / "dog").rename(root / "test" / "wolf")


def _unlabeled_elsewhere(root: Path) -> None:
    (root / "unlabeled").rename(root.parent / "elsewhere")
    (root / "unlabeled").symlink_to(root.parent / "elsewhere")


def _broken_name(root: Path) -> None:
    with open(os.fsencode(root) + b"/train/cat/\xff\n.png", "wb") as file:
        file.write(b"text")


def _link(target: str) -> Callable[[Path], None]:
    return lambda root: (root / "train" / "cat" / "link.png").symlink_to(root / target)


def _text(name: str, content: bytes = b"") -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda r: [(r / p / "emu").mkdir() for p in ("train", "test")],
            "train/emu holds no image",
        ),
        (_text("train/cat/notes.png", b"just text"), "train/cat/notes.png: not an image"),
        (_text("train/cat/notes.png"), "train/cat/notes.png"),
        (_text("train/cat/notes.png", b"\x89PNG\r\n\x1a\n"), "train/cat/notes.png"),
        (_link("../outside.png"), "train/cat/link.png is a link that leads out of"),
        (_link("absent.png"), "train/cat/link.png: a link that leads nowhere"),
        (_link("train"), "train/cat/link.png is a link to a folder"),
        (_unlabeled_elsewhere, "unlabeled is a link that leads out of"),
        (
            _differing,
            "'wolf' is in test but not in train (train: 'cat', 'dog'; test: 'cat', 'wolf')",
        ),
        (lambda r: (r / "train").rename(r / "gone"), "train is missing; expected train/<class>"),
        (lambda r: (r / "test").rename(r / "gone"), "test is missing; expected train/<class>"),
        (lambda r: r.rename(r.parent / "gone"), "is not a folder"),
        (_text("train/stray.png"), "train/stray.png lies outside a class folder"),
        (lambda r: shutil.rmtree(r / "train" / "dog"), "needs at least 2"),
        (_broken_name, "train/cat/"),
    ],
)
def test_fault_39_what_is_refused(make_folder, change: Callable[[Path], object], says: str) -> None:
    root = make_folder()
    (root.parent / "outside.png").write_bytes((root / "train/cat/0.png").read_bytes())
    change(root)
    assert says in refusal(root)


@pytest.mark.fault(39)
def test_fault_39_too_large_is_one_line(make_folder, monkeypatch) -> None:
    root = make_folder()
    Image.new("L", (9, 9)).save(root / "train" / "cat" / "0.png")
    monkeypatch.setattr("ssl_isda.data.images.decoding.MAX_PIXELS", 80)
    assert "cat/0.png: 9 x 9 pixels, too large" in refusal(root)


@pytest.mark.fault(39)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "gif", "bmp"])
def test_fault_39_truncated_image(make_folder, suffix: str) -> None:
    """Named when all are decoded; streamed, when it is opened or when a step asks for it."""
    root = make_folder()
    path = saved(root / "test" / "dog", Image.fromarray(COLOUR), f"corrupt.{suffix}")
    path.write_bytes(path.read_bytes()[:-40])
    assert f"test/dog/corrupt.{suffix}" in refusal(root)
    with pytest.raises(UsageError, match=rf"test/dog/corrupt\.{suffix}.*--skip-unreadable"):
        test = load_folder(root, streaming=True).test
        test.expect(torch.arange(len(test)))
        test.fetch(torch.tensor([0, 1]))
        test.fetch(torch.tensor([2]))


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


# ---- streaming by itself -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("least", "asked", "streams"),
    [(0, None, True), (0, False, False), (10**9, None, False), (10**9, True, True)],
)
def test_large_sets_are_streamed_unless_somebody_says_otherwise(
    make_folder, monkeypatch, least: int, asked: bool | None, streams: bool
) -> None:
    monkeypatch.setattr("ssl_isda.datasets.folder.STREAMED_BEYOND", least)
    data = load_folder(make_folder(), streaming=asked)
    assert isinstance(data.train, Streaming) == isinstance(data.test, Streaming) == streams
    told = [note for note in data.notes if "--no-streaming keeps all in memory" in note]
    assert told == (
        [
            "10 images of 8 x 8 pixels are 2 kB: each is decoded when a step needs it; --no-streaming "
            "keeps all in memory"
        ]
        if streams and asked is None
        else []
    )


def test_channel_statistics_of_streamed_images_are_computed_once(make_folder, monkeypatch) -> None:
    root, decodes = make_folder(), []
    in_memory = prepare("normalize", load_folder(root), root).preparation.arrays
    monkeypatch.setattr(
        "ssl_isda.datasets.folder.decode", lambda *given: decodes.append(given) or decode(*given)
    )
    for _ in range(2):
        arrays = prepare("normalize", load_folder(root, streaming=True), root).preparation.arrays
        assert all(np.array_equal(arrays[name], in_memory[name]) for name in ("scale", "shift"))
    assert len(decodes) == 8


# ---- digests -----------------------------------------------------------------------------------


def test_a_digest_is_of_names_and_contents_and_one_of_names_and_sizes(make_folder) -> None:
    root = make_folder()
    new, old = list_images(root).digests
    assert new.startswith("2:") and len(new) == 66 and len(old) == 64
    copied = shutil.copytree(root, root.parent / "copied", ignore=shutil.ignore_patterns(".cache"))
    assert list_images(copied).digests == (new, old)
    path = root / "test" / "cat" / "0.png"
    content, times = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = list_images(root).digests
    assert changed[0] != new and changed[1] == old, "the same name, size and time; other bytes"
    path.write_bytes(content)
    assert list_images(root).digests == (new, old)
    path.rename(path.with_name("1.png"))
    assert not {*list_images(root).digests} & {new, old}


@pytest.mark.parametrize("kept", [b"", b"[1]", b"{", b'{"train/cat/0.png": 3}', b"[" * 9000])
def test_a_file_is_hashed_once_and_again_where_the_kept_hashes_are_damaged(
    make_folder, monkeypatch, kept: bytes
) -> None:
    root = make_folder()
    expected = list_images(root).digests
    hashed: list[Path] = []
    plain = file_hashes._hash
    monkeypatch.setattr(file_hashes, "_hash", lambda path: hashed.append(path) or plain(path))
    assert list_images(root).digests == expected and hashed == []
    Image.fromarray(COLOUR).save(root / "unlabeled" / "0.png")
    assert list_images(root).digests != expected and len(hashed) == 1
    (root / ".cache" / "hashes.json").write_bytes(kept)
    list_images(root).digests  # noqa: B018
    assert len(hashed) == 1 + 10


def test_hashes_are_written_by_one_after_the_other(tmp_path: Path, monkeypatch) -> None:
    """Two lock holders of one process exclude each other just as two processes do (flock)."""
    writing: list[int] = []
    plain = file_hashes.write_atomically

    def slowly(path: Path, content: bytes) -> None:
        writing.append(1)
        time.sleep(0.05)
        plain(path, content)
        assert writing.pop() == 1 and not writing, "two write at once"
        done.append(content)

    done: list[bytes] = []
    monkeypatch.setattr(file_hashes, "write_atomically", slowly)
    kept_in = tmp_path / ".cache" / "hashes.json"
    threads = [
        threading.Thread(target=file_hashes._write, args=(kept_in, b"%d" % k)) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4 and kept_in.read_bytes() == done[-1]
    assert {path.name for path in kept_in.parent.iterdir()} <= {"hashes.json", "hashes.json.lock"}


def test_within_a_command_a_folder_is_listed_once(make_folder) -> None:
    root = make_folder()
    with listed_once():
        first = list_images(root)
        (root / "unlabeled" / "0.png").unlink()
        assert list_images(root) is first
    assert len(list_images(root).unlabeled) == 1


# ---- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def count_decodes(monkeypatch) -> list[Path]:
    """Every file that is decoded from here on."""
    decoded: list[Path] = []
    plain = reading.decoded
    monkeypatch.setattr(reading, "decoded", lambda *a: decoded.append(a[0]) or plain(*a))
    return decoded


def test_cache_is_used_and_kept_per_size(make_folder, count_decodes) -> None:
    root = make_folder()
    first = load_folder(root)
    load_folder(root, image_size=4)
    count_decodes.clear()
    second = load_folder(root)
    assert torch.equal(pixels_of(first.train), pixels_of(second.train))
    assert first.train.fingerprint == second.train.fingerprint
    assert load_folder(root, image_size=4).train.shape == (3, 4, 4)
    assert count_decodes == []


@pytest.mark.parametrize("is_noted", [False, True])
def test_another_format_renews_every_pixel_and_the_same_none(
    make_folder, count_decodes, monkeypatch, is_noted: bool
) -> None:
    """Also of what a version kept that noted no format; new files are there in any case."""
    root = make_folder()
    load_folder(root)
    folder = root / ".cache" / "images-8"
    if not is_noted:
        kept = json.loads((folder / "contents.json").read_text())
        del kept["files"]["format"]
        (folder / "contents.json").write_text(json.dumps(kept))
        (folder / "format.npy").unlink()
    for k, (cache_format, count) in enumerate([(2, 1), (3, 12), (3, 1)], 3):
        monkeypatch.setattr(reading, "CACHE_FORMAT", cache_format)
        Image.new("RGB", (8, 8), (k, k, k)).save(root / "train" / "cat" / f"{k}.png")
        count_decodes.clear()
        load_folder(root)
        assert len(count_decodes) == count


@pytest.mark.parametrize("change", ["content", "time", "name", "new file"])
def test_what_changed_is_decoded_and_nothing_else(make_folder, count_decodes, change: str) -> None:
    """Where only the time or the name of a file is another, its bytes are looked at, and no pixel."""
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
    assert len(count_decodes) == (change in ("content", "new file"))
    assert len(data.train) == 8 + (change == "new file")
    shutil.rmtree(root / ".cache")
    assert data.train.fingerprint == load_folder(root).train.fingerprint
    assert data.test.fingerprint == load_folder(root).test.fingerprint
    assert len(list((root / ".cache").glob("images-*/contents.json"))) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "pickle", "array"])
def test_damaged_cache_is_rebuilt(make_folder, count_decodes, damage: str) -> None:
    root = make_folder()
    first = load_folder(root)
    path = root / ".cache" / "images-8" / "train_images.npy"
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
    assert torch.equal(pixels_of(load_folder(root).train), pixels_of(first.train))
    load_folder(root)
    assert len(count_decodes) == 10


def test_folder_that_cannot_be_written_works_without_cache(make_folder, count_decodes) -> None:
    root = make_folder()
    (root / ".cache").write_text("a file in the place of the cache folder")
    assert len(load_folder(root).train) == 8
    load_folder(root)
    assert len(count_decodes) == 20


def test_full_disk_costs_only_the_cache(make_folder, capfd, monkeypatch) -> None:
    root = make_folder()
    (root / ".cache").mkdir()
    (root / ".cache" / "hashes.json.partial").symlink_to("/dev/full")
    assert len(load_folder(root).train) == 8
    assert "not kept for the next run: disk full" in capfd.readouterr().err
    assert not (root / ".cache" / "hashes.json").exists()


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
