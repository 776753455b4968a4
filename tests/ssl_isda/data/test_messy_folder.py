"""Folders as cameras, Macs and hospitals leave them: what is passed over, told, skipped and refused."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder import reading
from ssl_isda.data.folder.classes import as_read
from ssl_isda.data.folder.listing import ListingOptions, list_images
from ssl_isda.data.folder.reading import key_of
from ssl_isda.data.images import decoding, formats
from ssl_isda.data.images.complaints import Unreadable
from ssl_isda.data.images.decoding import decode
from ssl_isda.data.images.image_data import ImageData
from tests.ssl_isda.data.conftest import load, save_image


def load_folder(root: Path, **options: object) -> ImageData:
    return load("folder", root, image_size=8, **options)


def refusal(root: Path, **options: object) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(UsageError) as caught:
        load_folder(root, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def write(path: Path, content: bytes = b"words") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# ---- what is passed over ------------------------------------------------------------------------


def test_what_is_no_image_by_its_name_or_hidden_is_passed_over_and_counted(make_folder) -> None:
    root = make_folder()
    before = list_images(root).digests
    for name in ("train/cat/Thumbs.db", "train/desktop.ini", "unlabeled/README.md", "test/a.json"):
        write(root / name)
    for name in (
        "train/.DS_Store",
        "test/cat/._0.png",
        "train/cat/@eaDir/0.jpg",
        "train/__MACOSX/1.png",
    ):
        write(root / name)
    write(root / "unlabeled" / "LICENSE")
    assert load_folder(root).notes == (
        "passed over 5 files that have no image's extension (LICENSE, README.md, Thumbs.db, ...) and 4 "
        "that are hidden (.DS_Store, ._0.png, @eaDir, ...)",
    )
    assert list_images(root).digests == before


@pytest.mark.parametrize("name", ["PHOTO.PNG", "photo", "scan.2023", "photo.png_large", "x.png "])
def test_an_image_counts_whatever_way_its_name_says_so(make_folder, name: str) -> None:
    root = make_folder()
    (root / "unlabeled" / "0.png").rename(root / "unlabeled" / name)
    data = load_folder(root)
    assert (len(data.train), data.notes) == (8, ())


def test_every_extension_of_the_list_is_one_that_pillow_opens() -> None:
    Image.init()
    known = {
        e
        for e, kind in Image.registered_extensions().items()
        if kind in Image.OPEN or kind == "MPO"
    }
    assert formats.EXTENSIONS - known <= {".avif", ".avifs"}
    not_decoded = set(".bufr .emf .grib .h5 .hdf .iim .mpeg .mpg .wmf".split())
    assert known - formats.EXTENSIONS - formats.HEIF == not_decoded


# ---- what cannot be read ------------------------------------------------------------------------

GREY = np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jpg", b"", "empty: copy"),
        ("a.jpg", bytes(500), "zeros, the trace of a copy that broke off: copy it again"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "damaged or cut short: copy it again"),
        ("a.png", b"words", "not an image: save it as one, or remove it"),
        ("a.heic", HEIC, "a HEIF photograph: the package pillow-heif reads it"),
        ("a.jpg", HEIC, "a HEIF photograph: the package pillow-heif reads it"),
        ("a.heif", b"other", "a HEIF photograph: the package pillow-heif reads it"),
        ("a.jpg", b"\0\0\0\x18ftypcrx ", "a raw photograph of a camera: convert it"),
        ("a.nef", b"MM\0*", "a raw photograph of a camera: convert it"),
        ("a.CR2", b"", "empty"),
        ("a.dcm", bytes(128) + b"DICM", "a DICOM image: convert it to PNG of 16 bits"),
        ("a.nii", b"other", "a NIfTI volume: save its slices"),
        ("a.jxl", b"\xff\n", "a JPEG XL image: convert it"),
        ("a.svg", b'<?xml version="1.0"?>\n<svg>', "a drawing (SVG): convert it"),
        ("a.jpg", b"<!DOCTYPE html><html>", "a web page, which came in place of the image"),
        ("a.jpg", b"version https://git-lfs.github.com/spec/v1\n", "'git lfs pull' fetches"),
        ("a.jpg", b"/annex/objects/SHA256E-s1--a.jpg\n", "'git annex get' fetches"),
        ("a.jpg", b"PK\x03\x04", "an archive: unpack it"),
        ("a.jpg", b"%PDF-1.7", "a PDF document: save its pages"),
        ("a.gif", b"\0\0\0\x18ftypisom", "a film: save pictures of it"),
    ],
)
def test_fault_39_what_a_file_is_and_what_to_do_about_it(
    tmp_path, monkeypatch, name, content, says
) -> None:
    monkeypatch.setattr(decoding, "decoders", lambda: "Pillow alone")
    write(tmp_path / name, content)
    with pytest.raises(Unreadable) as caught:
        decode(tmp_path / name, 8)
    assert says in str(caught.value) and name in str(caught.value)


def test_no_package_is_asked_for_that_is_there(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", types.ModuleType("pillow_heif"))
    monkeypatch.setattr(decoding, "decoders", lambda: "Pillow and pillow-heif")
    for name, content, says in (
        ("a.heic", HEIC, "damaged or cut short: copy it again"),
        ("b.heic", b"words", "not an image"),
        ("c.avif", b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "damaged|newer Pillow"),
    ):
        write(tmp_path / name, content)
        with pytest.raises(Unreadable, match=says):
            decode(tmp_path / name, 8)


def test_what_only_the_disk_refused_is_tried_again(make_folder, monkeypatch) -> None:
    root = make_folder()

    def fail(path: Path, *words: object) -> None:
        raise Unreadable(path, OSError(5, "Input/output error"))

    monkeypatch.setattr(reading, "decoded", fail)
    assert "(Input/output error: make it readable, or bring it back)" in refusal(root)
    monkeypatch.undo()
    assert len(load_folder(root).train) == 8


def test_the_thumbnail_in_a_raw_photograph_is_not_taken_for_it(tmp_path) -> None:
    for name, tags in (("a.nef", {}), ("a.tif", {0xC612: b"\1\4\0\0"})):
        Image.fromarray(GREY).save(tmp_path / name, format="TIFF", tiffinfo=tags)
        with pytest.raises(Unreadable, match="raw photograph"):
            decode(tmp_path / name, 8)


def test_a_package_that_reads_further_formats_is_used(monkeypatch) -> None:
    made_known: list[str] = []
    package = types.ModuleType("pillow_heif")
    package.__dict__.update(register_heif_opener=lambda: made_known.append("heif"), __version__="9")
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    decoding.decoders.cache_clear()
    assert "pillow-heif 9" in decoding.decoders() and made_known == ["heif"]
    monkeypatch.undo()
    decoding.decoders.cache_clear()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)
    os.chdir(here)


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_pipe, "a pipe and no file: remove it"),
        (_socket, "a socket and no file: remove it"),
        (lambda path: path.symlink_to("absent"), "leads nowhere: bring the file back or remove"),
        (lambda path: path.symlink_to(path.name), "leads nowhere"),
        (
            lambda path: path.symlink_to(".git/annex/objects/k/k"),
            "leads nowhere: 'git annex get' fetches the file",
        ),
        (
            lambda path: path.symlink_to("../.dvc/cache/files/md5/1/2"),
            "leads nowhere: 'dvc pull' fetches the file",
        ),
    ],
)
def test_fault_39_what_is_no_file_is_named_and_never_opened(
    make_folder, make: Callable[[Path], None], says: str
) -> None:
    root = make_folder()
    for name in ("test/cat/odd.png", "test/cat/odd.txt", "train/odd.db"):
        make(root / name)
    assert f"test/cat/odd.png: {says}" in refusal(root).replace(": a link that ", ": ")
    data = load_folder(root, skip_unreadable=True)
    assert data.notes[0].startswith(
        "passed over 2 files that have no image's extension (odd.db, odd.txt)"
    )
    assert list(data.unreadable) == ["test/cat/odd.png"] and len(data.test) == 2


def test_a_pipe_outside_a_class_is_left_out_too(make_folder) -> None:
    root = make_folder()
    os.mkfifo(root / "train" / "odd.png")
    assert [*load_folder(root, skip_unreadable=True).unreadable] == ["train/odd.png"]


def test_what_may_not_be_opened_is_among_what_cannot_be_read(make_folder, monkeypatch) -> None:
    root = make_folder()
    plain = open

    def refuse(path: Path, *words: object) -> object:
        if "0.png" in str(path) and "unlabeled" in str(path):
            raise PermissionError(13, "Permission denied")
        return plain(path, *words)

    monkeypatch.setattr("builtins.open", refuse)
    assert "unlabeled/0.png: you may not read it: change its permissions" in refusal(root)
    monkeypatch.undo()
    assert len(load_folder(root).train) == 8


def damage(root: Path, *names: str) -> None:
    for name in names:
        write(root / name, b"words")


@pytest.fixture
def decodes(monkeypatch) -> list[str]:
    """The name of every file that is decoded from here on."""
    found: list[str] = []
    plain = reading.decoded
    monkeypatch.setattr(
        reading, "decoded", lambda path, *a: found.append(path.name) or plain(path, *a)
    )
    return found


@pytest.mark.fault(39)
def test_fault_39_all_that_cannot_be_read_is_listed_at_once_and_the_rest_is_kept(
    make_folder, decodes
) -> None:
    root = make_folder()
    damage(root, *(f"train/cat/bad{k:02}.png" for k in range(12)))
    text = refusal(root)
    assert text.startswith(
        f"12 images of {root} cannot be read: train/cat/bad00.png, train/cat/bad01"
    )
    assert text.count("bad") == 10 and text.endswith(
        "bad09.png (not an image: save it as one, or remove it); and 2 more; --skip-unreadable trains "
        "without them"
    )
    assert len(decodes) == 22
    assert refusal(root) == text and len(decodes) == 22
    for path in root.glob("train/cat/bad*"):
        path.unlink()
    assert len(load_folder(root).train) == 8 and len(decodes) == 22


@pytest.mark.fault(39)
@pytest.mark.parametrize("streaming", [False, True])
def test_fault_39_what_cannot_be_read_is_left_out_on_request(
    make_folder, decodes, streaming
) -> None:
    root = make_folder()
    clean = load_folder(root, streaming=streaming)
    for name in ("train/cat/00.png", "test/dog/zz.png"):
        (root / name).write_bytes((root / "train/cat/0.png").read_bytes()[:-40])
    decodes.clear()
    for _ in range(2):
        data = load_folder(root, streaming=streaming, skip_unreadable=True)
        assert [*data.unreadable] == ["train/cat/00.png", "test/dog/zz.png"]
        assert data.notes == (
            "left out 2 images that cannot be read: test/dog/zz.png, train/cat/00.png",
        )
        for part, source in (("train", data.train), ("test", data.test)):
            expected = getattr(clean, part)
            every = torch.arange(len(expected))
            assert torch.equal(source.fetch(every), expected.fetch(every))
            assert torch.equal(source.labels, expected.labels)
    assert len(decodes) == (12 if streaming else 2), "each is looked at once"


def test_another_version_of_the_decoders_looks_again(make_folder, monkeypatch) -> None:
    root = make_folder()
    damage(root, "train/cat/0.png")
    refusal(root)
    monkeypatch.setattr(reading, "decoders", lambda: "newer")
    monkeypatch.setattr(
        reading, "decoded", lambda *a: decoding.Decoded(np.zeros((3, 8, 8), np.uint8))
    )
    assert len(load_folder(root).train) == 8


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_that_cannot_be_read_at_all_is_refused(make_folder, part: str) -> None:
    root = make_folder()
    damage(root, *(f"{part}/dog/{path.name}" for path in (root / part / "dog").iterdir()))
    text = refusal(root, skip_unreadable=True)
    says = (
        f"the class 'dog' has no image in {part} that can be read; {part}/dog/0.png is not an image"
    )
    assert says in text
    for path in (root / part / "dog").iterdir():
        path.unlink()
    (root / part / "dog" / "gone.png").symlink_to("absent")
    assert "gone.png" in refusal(root, skip_unreadable=True)


# ---- good pixels, broken metadata ---------------------------------------------------------------


def _png_with(kind: bytes, data: bytes, crc: int | None = None) -> Callable[[bytes], bytes]:
    """Puts a chunk before the pixels; with a wrong checksum, if one is given."""
    import zlib

    found = zlib.crc32(kind + data) if crc is None else crc
    chunk = len(data).to_bytes(4, "big") + kind + data + found.to_bytes(4, "big")
    return lambda content: content[:33] + chunk + content[33:]


def _jpeg_with(kind: int, data: bytes) -> Callable[[bytes], bytes]:
    segment = bytes([0xFF, kind]) + (len(data) + 2).to_bytes(2, "big") + data
    return lambda content: content[:2] + segment + content[2:]


def _long_text() -> bytes:
    import zlib

    return b"Comment\0\0" + zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("a.png", _png_with(b"eXIf", b"notanexif")),
        ("a.png", _png_with(b"eXIf", b"II*\0\xff\xff\xff\xff")),
        ("a.png", _png_with(b"iCCP", b"profile\0\0broken")),
        ("a.png", _png_with(b"zTXt", _long_text())),
        ("a.png", _png_with(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0broken")),
        ("a.png", _png_with(b"tEXt", b"words", crc=1)),
        ("a.png", _png_with(b"gAMA", b"")),
        ("a.png", _png_with(b"pHYs", b"")),
        ("a.jpg", _jpeg_with(0xE1, b"Exif\0\0notanexif")),
        ("a.jpg", _jpeg_with(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff")),
        ("a.jpg", _jpeg_with(0xE2, b"ICC_PROFILE\0\1\2broken")),
        ("a.jpg", _jpeg_with(0xE2, b"MPF\0broken")),
        ("a.jpg", _jpeg_with(0xED, b"Photoshop 3.0\x008BIM\4\4")),
        ("a.webp", None),
    ],
)
def test_an_image_with_good_pixels_is_read_whatever_stands_beside_them(
    tmp_path, name, spoil
) -> None:
    path = tmp_path / name
    image = Image.effect_noise((32, 32), 90).convert("RGB")
    options = {"lossless": True, "exif": b"Exif\0\0notanexif"} if spoil is None else {}
    image.save(path, **({"lossless": True} if spoil is None else {}))
    expected = decode(path, 32)
    if spoil is None:
        image.save(path, **options)
    else:
        path.write_bytes(spoil(path.read_bytes()))
    assert np.array_equal(decode(path, 32), expected)


def test_transparency_is_no_metadata_and_a_format_without_a_rule_is_read_too(
    tmp_path, monkeypatch
) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((32, 32), 90).convert("RGB").quantize(16).save(path, transparency=3)
    expected = decode(path, 32)
    path.write_bytes(_png_with(b"zTXt", _long_text())(path.read_bytes()))
    assert np.array_equal(decode(path, 32), expected)
    Image.fromarray(GREY).save(tmp_path / "a.bmp")
    monkeypatch.setattr(Image.Image, "getexif", lambda image: 1 / 0)
    assert np.array_equal(decode(tmp_path / "a.bmp", 8)[0], GREY)


def test_metadata_that_are_cut_off_at_the_end_of_a_webp_do_no_harm(tmp_path) -> None:
    path = tmp_path / "a.webp"
    Image.effect_noise((32, 32), 90).convert("RGB").save(path, lossless=True, exif=b"Exif" * 30)
    expected = decode(path, 32)
    path.write_bytes(path.read_bytes()[:-20])
    assert np.array_equal(decode(path, 32), expected)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_bad_pixels_are_no_better_without_metadata(tmp_path, name: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.effect_noise((32, 32), 90).save(tmp_path / name, exif=turned)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-200])
    with pytest.raises(Unreadable):
        decode(tmp_path / name, 32)


# ---- fewer than 16 bits in files of 16 ----------------------------------------------------------


def save_deep(path: Path, values: np.ndarray, kind: str) -> None:
    """Grey (h, w) values as PNG or TIFF; in colour, with alpha, and as grey with alpha, as PNG."""
    import struct
    import zlib

    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "tif":
        Image.fromarray(values.astype(np.uint16)).save(path, format="TIFF")
        return
    opaque = np.full(values.shape, 65535)
    planes = {
        "grey": [values],
        "colour": [values] * 3,
        "alpha": [*[values] * 3, opaque],
        "LA": [values, opaque],
    }
    code = {"grey": 0, "colour": 2, "LA": 4, "alpha": 6}[kind]
    rows = np.stack(planes[kind], -1).astype(">u2").reshape(len(values), -1)
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), 16, code, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(b"".join(b"\0" + r.tobytes() for r in rows))),
        (b"IEND", b""),
    )
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
            for k, d in chunks
        )
    )


RAMP = np.arange(64).reshape(8, 8)


def deep_folder(make_folder, most: int, kind: str = "grey") -> Path:
    root = make_folder()
    for k in range(3):
        save_deep(root / "train" / "cat" / f"{k}.png", RAMP * most // 63 // (k + 1), kind)
    return root


@pytest.mark.parametrize(
    ("most", "bits", "kind", "streaming"),
    [
        *(
            (most, bits, "grey", False)
            for most, bits in ((200, 8), (1023, 10), (2600, 12), (9000, 14))
        ),
        *((4095, 12, kind, False) for kind in ("tif", "colour", "alpha", "LA")),
        *((4095, 12, kind, True) for kind in ("grey", "colour")),
    ],
)
def test_images_keep_their_levels_and_differences_between_them(
    make_folder, most: int, bits: int, kind: str, streaming: bool
) -> None:
    root = deep_folder(make_folder, most, kind)
    data = load_folder(root, streaming=streaming)
    found = data.train.fetch(torch.arange(3)).numpy()
    white = 2**bits - 1
    for k in range(3):
        exact = (RAMP * most // 63 // (k + 1)) * 255 / white
        assert np.abs(found[k] - exact).max() <= 0.5
    assert data.bits == bits
    assert data.train.fingerprint.endswith(f"-{bits}") == streaming
    brighter = save_deep(root / "brighter.png", RAMP + 65472, "grey") or root / "brighter.png"
    assert (decode(brighter, 8, bits) == 255).all(), "as one that is predicted later may be"
    assert data.notes == (
        f"3 images have 16 bits a value, of which the largest, {most:,}, needs {bits}: "
        f"{white:,} becomes white",
    )


@pytest.mark.parametrize("kind", ["grey", "tif", "colour", "alpha", "LA"])
def test_images_of_true_16_bits_stay_as_they_were(make_folder, kind: str) -> None:
    data = load_folder(deep_folder(make_folder, 65535, kind))
    values = RAMP * 65535 // 63
    expected = values >> 8 if kind in ("colour", "alpha", "LA") else (values + 128) // 257
    assert (data.train.fetch(torch.tensor([0]))[0].numpy() == expected).all()
    assert (data.bits, data.notes) == (16, ())


def test_one_bright_image_that_darkens_all_others_is_named(make_folder) -> None:
    root = deep_folder(make_folder, 4095)
    save_deep(root / "unlabeled" / "0.png", RAMP * 65535 // 63, "grey")
    (note,) = load_folder(root).notes
    assert "most of them need only 12" in note and "unlabeled/0.png reaches 65,535" in note


def test_a_brighter_image_that_comes_later_changes_the_scale_of_all(make_folder) -> None:
    root = deep_folder(make_folder, 1000)
    load_folder(root)
    save_deep(root / "test" / "cat" / "1.png", RAMP * 4000 // 63, "grey")
    data = load_folder(root)
    shutil.rmtree(root / ".cache")
    assert data.bits == 12 and data.train.fingerprint == load_folder(root).train.fingerprint


@pytest.mark.parametrize("is_dark", [False, True])
def test_a_cache_of_version_01_is_used_unless_it_lost_grey_levels(
    make_folder, decodes, is_dark
) -> None:
    root = deep_folder(make_folder, 4095) if is_dark else make_folder()
    expected = load_folder(root).train.fingerprint
    folder, listing = root / ".cache" / "images-8", list_images(root)
    images = np.stack([decode(root / file.name, 8) for file in listing.files])
    arrays = {"train_images": images[:8], "test_images": images[8:]}
    reading.renewed_arrays(
        folder, key_of(listing, listing.files, 8), lambda kept: arrays, lambda kept: False
    )
    decodes.clear()
    assert load_folder(root).train.fingerprint == expected
    assert bool(decodes) == is_dark


# ---- links --------------------------------------------------------------------------------------


def test_links_that_lead_out_are_followed_on_request(make_folder, tmp_path) -> None:
    root, store = make_folder(), tmp_path / "store"
    plain = load_folder(root)
    digest = list_images(root).digests[0]
    for name in ("train/cat", "unlabeled"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).rename(store / name)
        (root / name).symlink_to(store / name)
    (root / "test/dog/0.png").rename(store / "object")
    (root / "test/dog/0.png").symlink_to(store / "object")
    text = refusal(root)
    assert "train/cat is a link that leads out of" in text and "--follow-links" in text
    found = load_folder(root, follow_links=True)
    assert found.train.fingerprint == plain.train.fingerprint
    assert list_images(root, ListingOptions(follow_links=True)).digests[0] == digest


def test_a_link_to_a_class_that_is_gone_is_refused_and_one_to_a_text_passed_over(
    make_folder, tmp_path
) -> None:
    root = make_folder()
    write(tmp_path / "README.md")
    (root / "train" / "README.md").symlink_to(tmp_path / "README.md")
    assert "README.md" in load_folder(root).notes[0]
    (root / "train" / "emu").symlink_to("absent")
    for options in ({}, {"skip_unreadable": True}, {"follow_links": True}):
        assert "train/emu is a link that leads nowhere: bring" in refusal(root, **options)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("train/cat/again", "train/cat"),
        ("train/cat/again", "."),
        ("train/again", "."),
        ("train", "train/cat"),
        ("train/cat/a", "train/dog"),
    ],
)
def test_a_circle_of_links_is_named(make_folder, tmp_path, link: str, target: str) -> None:
    root = make_folder()
    if link == "train":
        (root / "train").rename(tmp_path / "elsewhere")
        link = (root / "train").symlink_to(tmp_path / "elsewhere") or "train/cat/again"
        target = "train"
    if target == "train/dog":
        (root / "train/dog/b").symlink_to(root / "train/cat")
    (root / link).symlink_to(root / target)
    assert "leads in a circle, back to" in refusal(root, follow_links=True)


# ---- classes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test", "note"),
    [
        ("Caf\u00e9", "Cafe\u0301", ()),
        ("cat", "Cat", ("the class 'Cat' of test is taken for 'cat' of train",)),
        ("cat", "cat ", ("the class 'cat ' of test is taken for 'cat' of train",)),
    ],
)
def test_names_of_classes_are_compared_as_a_person_reads_them(
    make_folder, train, test, note
) -> None:
    root = make_folder(classes=(train, "zebra"))
    if not (root / "test" / test).exists():
        (root / "test" / train).rename(root / "test" / test)
    data = load_folder(root)
    assert (data.class_names, data.test.labels.tolist(), data.notes) == (
        (train, "zebra"),
        [0, 1],
        note,
    )


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ("Cafe\u0301", "'Cafe\\u0301' and 'Café' (they differ in the Unicode form of a letter)"),
        ("CAFÉ", "'CAFÉ' and 'Café' (they differ in capitals)"),
        ("Café ", "'Café' and 'Café ' (they differ in spaces)"),
    ],
)
def test_two_classes_that_look_alike_are_refused_with_their_difference(
    make_folder, other, says
) -> None:
    text = refusal(make_folder(classes=("Café", other)))
    assert f"two classes whose names look alike: {says}: join them, or rename one" in text


def test_single_letters_are_classes_of_their_own_by_their_capitals() -> None:
    assert as_read("a") != as_read("A") and as_read("ab") == as_read("AB ")


def test_a_class_of_test_that_train_does_not_have_is_refused(make_folder) -> None:
    root = make_folder()
    save_image(root / "test" / "dogs" / "0.png", 1)
    assert refusal(root) == (
        f"{root}: class 'dogs' is in test but not in train; did you mean 'dog'? (train: 'cat', 'dog'; "
        "test: 'cat', 'dog', 'dogs')"
    )


@pytest.mark.parametrize("is_there", [False, True])
def test_a_test_set_may_lack_a_class(make_folder, is_there: bool) -> None:
    root = make_folder(classes=("cat", "dog", "emu"))
    shutil.rmtree(root / "test" / "dog")
    if is_there:
        (root / "test" / "dog").mkdir()
    data = load_folder(root)
    assert data.test.labels.tolist() == [0, 2]
    assert data.notes == ("test has no image of the class 'dog', which has no error of its own",)
    shutil.rmtree(root / "test" / "emu")
    (note,) = load_folder(root).notes
    assert note == "test has no image of 2 classes, which have no error of their own: 'dog', 'emu'"


# ---- copies -------------------------------------------------------------------------------------


def test_copies_in_train_and_test_or_in_two_classes_are_counted(make_folder) -> None:
    root = make_folder()
    for one, other in (
        ("train/cat/0.png", "test/cat/a.png"),
        ("train/cat/1.png", "test/cat/b.png"),
        ("unlabeled/0.png", "test/dog/c.png"),
        ("train/cat/2.png", "train/dog/d.png"),
        ("test/cat/0.png", "test/dog/e.png"),
        ("train/cat/0.png", "train/cat/f.png"),
        ("train/cat/0.png", "unlabeled/g.png"),
    ):
        shutil.copy(root / one, root / other)
    assert load_folder(root).notes == (
        "2 images of test are in train too, byte for byte: test/cat/a.png = train/cat/0.png, "
        "test/cat/b.png = train/cat/1.png",
        "2 images of test are in unlabeled too, byte for byte: test/cat/a.png = unlabeled/g.png, "
        "test/dog/c.png = unlabeled/0.png",
        "1 image of train lies in two classes, byte for byte: train/cat/2.png = train/dog/d.png",
        "1 image of test lies in two classes, byte for byte: test/cat/0.png = test/dog/e.png",
    )
