"""Labels in a table, and test images drawn from a folder without any."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.listing import FolderListing, ListingOptions, list_images
from tests.ssl_isda.data.conftest import load, save_image

NAMES = ("images/a 1.png", "images/b,2.png", "images/é.png", "c.png", "d.png", "new/e.png")
WRITTEN = (
    'file,label\nimages/a 1.png,cat\n"images/b,2.png",dog\nimages/é.png,cat\nc.png,dog\nd.png,\n'
)
TESTS = {"test.csv": "file,label\nheld/x.png,dog\nheld/y.png,cat\n"}
HELD = ("held/x.png", "held/y.png")
MakeTable = Callable[..., Path]


@pytest.fixture
def make_table(tmp_path: Path) -> MakeTable:
    """A folder of these images, all different, with these tables, as text or as bytes."""

    def make(labels: str | bytes = WRITTEN, names=(*NAMES, *HELD), tables=TESTS, **more) -> Path:
        for seed, name in enumerate(names):
            save_image(tmp_path / name, seed)
        for name, text in {"labels.csv": labels, **tables, **more}.items():
            content = text.encode() if isinstance(text, str) else text
            (tmp_path / name).write_bytes(content)
        return tmp_path

    return make


def classes(listing: FolderListing, part: str) -> dict[str, str]:
    return {file.name: listing.class_names[file.label] for file in getattr(listing, part)}


EXPECTED = dict(zip(NAMES[:4], ("cat", "dog", "cat", "dog"), strict=True))


@pytest.mark.parametrize(
    "labels",
    [
        WRITTEN,
        WRITTEN.encode("utf-8-sig"),
        WRITTEN.replace("\n", "\r\n"),
        WRITTEN.replace("images/", "images\\"),
        WRITTEN.replace("file,label", " File , LABEL ").replace(",cat", ",  cat "),
        WRITTEN.replace("c.png", "./images/../c.png") + "\n,\n",
        WRITTEN.replace(",", ", ").replace("b, 2", "b,2").replace("d.png, \n", ""),
        WRITTEN + 'c.png,"dog"\n',
        unicodedata.normalize("NFD", WRITTEN),
        """label,id,file
cat,7,images/a 1.png

dog,,"images/b,2.png"
cat,,images/é.png
dog,x,c.png
""",
    ],
)
def test_a_table_is_read_as_it_is_meant(make_table: MakeTable, labels: str | bytes) -> None:
    listing = list_images(make_table(labels))
    assert listing.class_names == ("cat", "dog")
    assert classes(listing, "train") == EXPECTED
    assert [file.name for file in listing.unlabeled] == ["d.png", "new/e.png"]
    assert classes(listing, "test") == {"held/x.png": "dog", "held/y.png": "cat"}
    assert listing.notes == ()


def test_a_table_may_name_files_by_their_whole_path(make_table: MakeTable) -> None:
    root = make_table()
    (root / "labels.csv").write_text(WRITTEN.replace("c.png", str(root / "c.png")))
    assert classes(list_images(root), "train") == EXPECTED


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("c.png,dog", "../c.png,dog"), r"row 5: '\.\./c\.png' leads out of"),
        (("c.png,dog", "/etc/c.png,dog"), r"row 5: '/etc/c\.png' leads out of"),
        (("c.png,dog", r"C:\c.png,dog"), r"row 5: 'C:\\\\c\.png' leads out of"),
        (("c.png", "é.png"), r"row 5: there is no image 'é\.png'; did you mean 'images/é\.png'\?"),
        (("c.png", "c"), r"row 5: there is no image 'c'; did you mean 'c\.png'\?"),
        (("c.png", "images/a 2.png"), "row 5: .* did you mean 'images/a 1.png'"),
        (("c.png", "labels.csv"), "row 5: there is no image 'labels.csv'"),
        (("d.png,", "c.png,cat"), r"row 6: 'c\.png' has two labels, 'dog' in row 5, 'cat' here"),
        (("d.png,", "c.png,"), r"row 6: 'c\.png' has two labels, 'dog' in row 5, '' here"),
        (("d.png,", "d.png"), "row 6: 1 cell, the first row has 2$"),
        (("d.png,", "d,e.png,cat"), "row 6: 3 cells, .* a name with a comma stands in quotes"),
        (("d.png,", ",cat"), "row 6: no file is named"),
        (("d.png,", '"d.png"x,cat'), "row 6: not valid CSV"),
        (
            ("file,label", "file;label"),
            "row 1: the columns must be named file,label, .*'file;label'",
        ),
        (("file,label", "c.png,cat"), "row 1: the columns must be named file,label"),
        ((WRITTEN, ""), "row 1: the columns must be named file,label, with a comma; got nothing"),
        (("dog", "Cat"), "labels.csv has two classes whose names look alike"),
        (("dog", "cat"), "labels.csv has 1 labels and needs at least 2"),
        (("d.png,", "held/x.png,cat"), None),
    ],
)
def test_a_table_is_refused_with_its_row(make_table: MakeTable, change, says: str | None) -> None:
    root = make_table(WRITTEN.replace(*change))
    says = says or r"test.csv: row 2: 'held/x.png' is in labels.csv too, row 6"
    with pytest.raises(UsageError, match=says) as caught:
        list_images(root)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("more", "names", "says"),
    [
        (
            {"labels.csv": b"file,label\n\xe9.png,cat\n"},
            (),
            "row 2: not UTF-8 text; save the table",
        ),
        ({"test.csv": "file,label\nheld/x.png,\n"}, (), "row 2: 'held/x.png' has no label"),
        (
            {"test.csv": "file,label\nheld/x.png,cow\n"},
            (),
            "class 'cow' is in test but not in train",
        ),
        ({}, ("train/cat/1.png",), "both labels.csv and the class folder train/cat: keep one"),
        ({}, ("test/cat/1.png",), "both test.csv and the class folder test/cat: keep one"),
        ({"labels.csv": f"{WRITTEN}test/1.png,cat\n"}, ("test/1.png",), "row 7: .* lies in test"),
    ],
)
def test_what_a_folder_with_a_table_may_not_have(make_table, more, names, says: str) -> None:
    root = make_table(names=(*NAMES, *HELD, *names), **more)
    with pytest.raises(UsageError, match=says):
        list_images(root)


@pytest.mark.parametrize("name", ["labels.csv", "images/link.png"])
def test_links_of_a_folder_with_a_table_may_not_lead_out(make_table, name: str) -> None:
    root = make_table()
    outside = root.parent / f"{root.name} outside"
    outside.write_text(WRITTEN)
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(outside)
    with pytest.raises(UsageError, match="is a link that leads out of"):
        list_images(root)


def test_the_test_part_of_a_table_may_be_class_folders(make_table: MakeTable) -> None:
    root = make_table(names=(*NAMES, "test/cat/1.png"), tables={})
    listing = list_images(root)
    assert classes(listing, "test") == {"test/cat/1.png": "cat"}
    assert listing.notes == ("test has no image of the class 'dog', which has no error of its own",)
    save_image(root / "test" / "2.png", 9)
    with pytest.raises(UsageError, match=r"2\.png lies outside a class folder; .* or a test\.csv"):
        list_images(root)


def test_what_lies_in_test_is_not_trained_on(make_table: MakeTable) -> None:
    tables = {"test.csv": "file,label\ntest/x.png,dog\n"}
    root = make_table(names=(*NAMES, "test/x.png", "test/y.png"), tables=tables)
    assert [file.name for file in list_images(root).unlabeled] == ["d.png", "new/e.png"]


def test_labels_of_a_table_reach_the_images_and_tell_data_apart(make_table: MakeTable) -> None:
    root = make_table()
    listing = list_images(root)
    for streaming in (False, True):
        data = load("folder", root, image_size=8, streaming=streaming)
        assert data.train.labels.tolist() == [1, 0, 1, 0, -1, -1] and data.drawn_test is None
        assert data.class_names == ("cat", "dog") and data.test.labels.tolist() == [1, 0]
        (root / "labels.csv").write_text(WRITTEN.replace("d.png,", "d.png,cat"))
        more = load("folder", root, image_size=8, streaming=streaming)
        assert more.train.labels.tolist() == [1, 0, 0, 1, 0, -1]
        assert more.train.fingerprint != data.train.fingerprint
        (root / "labels.csv").write_text(WRITTEN.replace("c.png,dog", "c.png,cat"))
        other = load("folder", root, image_size=8, streaming=streaming)
        assert other.train.fingerprint != data.train.fingerprint
        assert list_images(root).digests != listing.digests
        (root / "labels.csv").write_text(WRITTEN)


# ---- test images that are drawn


DRAW = ListingOptions(test_fraction=0.29)


@pytest.fixture
def without_test(tmp_path: Path) -> Path:
    """100 images of cats, 10 of dogs and one of a cow, all different."""
    number = 0
    for name, count in (("cat", 100), ("dog", 10), ("cow", 1)):
        folder = tmp_path / "own" / "train" / name
        folder.mkdir(parents=True)
        for k in range(count):
            number += 1
            (folder / f"{k:03}.png").write_text(f"different {number}")
    return tmp_path / "own"


def test_a_fraction_of_each_class_is_drawn(without_test: Path) -> None:
    """The same images whatever they are called; a class of one image keeps it."""
    listing = list_images(without_test, DRAW)
    drawn = [*classes(listing, "test").values()]
    assert [drawn.count(name) for name in ("cat", "cow", "dog")] == [29, 0, 2]
    assert listing.train_counts() == [71, 1, 8]
    assert any("'cow', which has no error of its own" in note for note in listing.notes)
    texts = {(without_test / file.name).read_text() for file in listing.test}
    for path in [*without_test.rglob("*.png")]:
        path.rename(path.with_name(f"x{hash(path.name)}{path.name}"))
    again = list_images(without_test, DRAW)
    assert {(without_test / file.name).read_text() for file in again.test} == texts


def test_copies_stay_together(without_test: Path) -> None:
    for path in (without_test / "train/dog").iterdir():
        path.write_text(f"one of {int(path.stem) // 5}")
    drawn = [*classes(list_images(without_test, DRAW), "test").values()]
    assert drawn.count("dog") == 5
    for path in (without_test / "train/dog").iterdir():
        path.write_text("all the same")
    drawn = [*classes(list_images(without_test, DRAW), "test").values()]
    assert drawn.count("dog") == 0


def test_drawn_places_and_digests_tell_test_sets_apart(without_test: Path) -> None:
    one, other = (list_images(without_test, ListingOptions(test_fraction=f)) for f in (0.2, 0.3))
    assert one.digests != other.digests and len(one.digests) == 1
    labeled = sorted([*one.train, *one.test], key=lambda file: file.name)
    assert [labeled[place] for place in one.drawn_test or ()] == [*one.test]


def test_drawn_images_are_loaded_as_the_test_part(make_folder) -> None:
    """From pixels that are kept, whatever fraction was drawn before, as from the files."""
    root = make_folder(per_class=4)
    (root / "test").rename(root.parent / "elsewhere")
    fingerprints = set()
    for fraction in (0.5, 0.25, 0.5):
        options = {"image_size": 8, "test_fraction": fraction}
        kept, read = (load("folder", root, **options, streaming=each) for each in (False, True))
        assert len(kept.test) == len(kept.drawn_test or ()) == 8 * fraction
        assert len(kept.train) == 8 - 8 * fraction + 2
        for one, other in ((kept.train, read.train), (kept.test, read.test)):
            assert torch.equal(
                one.fetch(torch.arange(len(one))), other.fetch(torch.arange(len(one)))
            )
            assert torch.equal(one.labels, other.labels)
        fingerprints |= {kept.train.fingerprint, read.train.fingerprint}
    assert len(fingerprints) == 4


@pytest.mark.parametrize(
    ("fraction", "with_test", "says"),
    [
        (0.2, True, "has a part to test on, of 2 images: leave --test-fraction out"),
        (None, False, "no part to test on; expected test.csv .*; --test-fraction 0.2 draws"),
    ],
)
def test_one_part_to_test_on(make_table, fraction, with_test: bool, says: str) -> None:
    root = make_table(tables=TESTS if with_test else {})
    with pytest.raises(UsageError, match=says):
        list_images(root, ListingOptions(test_fraction=fraction))


def test_too_few_different_images_to_draw_from(make_folder) -> None:
    root = make_folder(per_class=1)
    (root / "test").rename(root / "elsewhere")
    with pytest.raises(
        UsageError, match=r"--test-fraction 0\.29: no class of .* has two different"
    ):
        list_images(root, DRAW)
