"""CIFAR, SVHN and STL-10 from a server on this machine, with archives of a few images."""

from __future__ import annotations

import hashlib
import http.server
import io
import pickle
import resource
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.data import download
from ssl_isda.data.download import DataFile, provide
from tests.ssl_isda.data.conftest import load


@pytest.fixture(scope="module", autouse=True)
def heavy_packages() -> None:
    """Imported here: every worker imports this file, and one of them runs its tests."""
    global CIFAR10, CIFAR100, STL10, SVHN, scipy
    import scipy.io
    from torchvision.datasets import CIFAR10, CIFAR100, STL10, SVHN


class Server:
    """Files by name; counts requests; ``cut`` ends a body early, ``delay`` comes before and within it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut, self.delay = False, (0.0, 0.0)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                outer.requests.append(name)
                time.sleep(outer.delay[0])
                if name not in outer.files:
                    return self.send_error(404)
                body = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                time.sleep(outer.delay[1])
                self.wfile.write(b"" if outer.cut else body[len(body) // 2 :])
                return None

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *client: None  # one that has given up
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def file(self, name: str, content: bytes = b"content") -> DataFile:
        self.files[name] = content
        return DataFile(name, md5(content), f"{self.base}/{name}")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def packed(folder: str, members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def publish_stl10(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sizes = {"train_X.bin": 4, "unlabeled_X.bin": 2, "test_X.bin": 1}
    members = {name: rng.bytes(n * 3 * 96 * 96) for name, n in sizes.items()}
    members |= {"train_y.bin": bytes([10, 1, 3, 3]), "test_y.bin": bytes([2])}
    members["fold_indices.txt"] = b"3 0 1 \n" * 9 + b"2 1 0 \n"
    published = server.file(STL10.filename, packed(STL10.base_folder, members))
    monkeypatch.setattr(STL10, "url", published.url)
    monkeypatch.setattr(STL10, "tgz_md5", published.md5)
    for parts in ("train_list", "test_list"):
        listed = [[name, md5(members[name])] for name, _ in getattr(STL10, parts)]
        monkeypatch.setattr(STL10, parts, listed)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Publishes a CIFAR-10 of 2 images a file, an SVHN of 3 and an STL-10 of 1 to 4, as torchvision then
    expects them."""
    server = Server()
    members = {"batches.meta": pickle.dumps({"label_names": [f"class {c}" for c in range(10)]})}
    for k, name in enumerate(["data_batch_1", "data_batch_2", "test_batch"]):
        pixels = np.random.default_rng(k).integers(0, 256, (2, 3072), np.uint8)
        members[name] = pickle.dumps({"data": pixels, "labels": [k, 9]})
    published = server.file(CIFAR10.filename, packed(CIFAR10.base_folder, members))
    monkeypatch.setattr(CIFAR10, "url", published.url)
    monkeypatch.setattr(CIFAR10, "tgz_md5", published.md5)
    sums = {name: md5(content) for name, content in members.items()}
    train = [[name, sums[name]] for name in ("data_batch_1", "data_batch_2")]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    publish_stl10(server, monkeypatch)
    split_list = {}
    for k, part in enumerate(["train", "test", "extra"]):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(k).integers(0, 256, (32, 32, 3, 3), np.uint8)
        scipy.io.savemat(buffer, {"X": pixels, "y": np.array([[1], [10], [9]], np.uint8)})
        published = server.file(f"{part}_32x32.mat", buffer.getvalue())
        split_list[part] = [published.url, published.name, published.md5]
    monkeypatch.setattr(SVHN, "split_list", split_list)
    yield server
    server.http.shutdown()
    server.http.server_close()


def files_in(folder: Path) -> list[str]:
    """All but the locks."""
    return sorted(path.name for path in folder.rglob("*") if path.suffix != ".lock")


def test_cifar10_pixels_and_labels(server: Server, tmp_path: Path) -> None:
    data = load("cifar10", tmp_path / "new" / "folder")
    batch = tmp_path / "new" / "folder" / CIFAR10.base_folder / "data_batch_2"
    raw = pickle.loads(batch.read_bytes())["data"].reshape(2, 3, 32, 32)
    assert torch.equal(data.train.images[2:], torch.from_numpy(raw))
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 9, 1, 9], [2, 9])
    assert data.class_names[3] == "class 3"
    assert len(files_in(tmp_path)) == 3 + 4  # folders and members: neither archive nor workspace
    load("cifar10", tmp_path / "new" / "folder")
    assert len(server.requests) == 1


def test_cifar10_from_an_archive_that_lies_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / CIFAR10.filename).write_bytes(server.files.pop(CIFAR10.filename))
    assert len(load("cifar10", tmp_path).train) == 4
    assert server.requests == [] and (tmp_path / CIFAR10.filename).exists()


def test_svhn_digit_zero_layout_and_extra_images(server: Server, tmp_path: Path) -> None:
    plain = load("svhn", tmp_path)
    raw = scipy.io.loadmat(tmp_path / "train_32x32.mat")["X"]
    assert plain.train.labels.tolist() == [1, 0, 9]
    assert plain.train.images[1, 2, 5, 7] == raw[5, 7, 2, 1]
    data = load("svhn", tmp_path, svhn_extra=True)
    assert server.requests == [f"{part}_32x32.mat" for part in ("train", "test", "extra")]
    assert data.train.labels.tolist() == [1, 0, 9, -1, -1, -1]
    assert torch.equal(data.train.images[:3], plain.train.images)


def test_stl10_pixels_labels_and_folds(server: Server, tmp_path: Path) -> None:
    plain = load("stl10", tmp_path)
    for source, part in ((plain.train, "train+unlabeled"), (plain.test, "test")):
        theirs = STL10(tmp_path, split=part)
        assert torch.equal(source.images, torch.from_numpy(np.ascontiguousarray(theirs.data)))
        assert source.labels.tolist() == theirs.labels.tolist()
    assert plain.labeled is None and plain.class_names[7] == "monkey"
    assert plain.train.labels.tolist() == [9, 0, 2, 2, -1, -1]
    folds = [load("stl10", tmp_path, fold=fold).labeled for fold in (0, 9)]
    assert folds == [(0, 1, 3), (0, 1, 2)] and len(server.requests) == 1


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    "content", ["3 0 1\n" * 9, "3 0 4\n" * 10, "3 0 a\n" * 10, "\n" * 10, "\xe4"]
)
def test_fault_21_folds_that_name_no_images(content: str, server: Server, tmp_path: Path) -> None:
    load("stl10", tmp_path)
    (tmp_path / "stl10_binary" / "fold_indices.txt").write_text(content, "utf-8")
    with pytest.raises(UsageError, match=r"fold_indices.txt is damaged: .* 10 lines"):
        load("stl10", tmp_path, fold=0)


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "svhn"])
def test_fault_20_no_network(name: str, monkeypatch, tmp_path: Path) -> None:
    """A closed port: one line that says where, how, why, and what needs no download."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
    for archive in (CIFAR10, CIFAR100, STL10):
        monkeypatch.setattr(archive, "url", closed)
    parts = {part: [closed, *rest] for part, (_, *rest) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", parts)
    begin = time.monotonic()
    with pytest.raises(UsageError) as caught:
        load(name, tmp_path)
    assert time.monotonic() - begin < 5
    text = str(caught.value)
    parts_of_it = (str(tmp_path), closed, "--dataset digits", "Connection refused")
    assert all(part in text for part in parts_of_it) and "\n" not in text
    assert files_in(tmp_path) == []


@pytest.mark.fault(20)
@pytest.mark.parametrize("delay", [(1.0, 0.0), (0.0, 1.0)], ids=["answer", "rest"])
def test_fault_20_a_silent_server_is_given_up(delay, server, monkeypatch, tmp_path) -> None:
    server.delay = delay
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with pytest.raises(UsageError, match=r"cannot be downloaded \(.*timed out"):
        load("cifar10", tmp_path)


@pytest.mark.fault(21)
@pytest.mark.parametrize("damage", ["flipped byte", "wrong size", "empty"])
def test_fault_21_damaged_file_is_refused_by_name(damage, server, tmp_path: Path) -> None:
    load("cifar10", tmp_path)
    path = tmp_path / CIFAR10.base_folder / "data_batch_2"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    kinds = {"flipped byte": bytes(content), "wrong size": bytes(content[:-1]), "empty": b""}
    path.write_bytes(kinds[damage])
    with pytest.raises(UsageError, match="data_batch_2 is damaged"):
        load("cifar10", tmp_path)
    path.unlink()
    assert len(load("cifar10", tmp_path).train) == 4


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", ["test_32x32.mat", "cifar-10-python.tar.gz"])
def test_fault_21_what_lies_there_is_never_overwritten(name, server, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(UsageError, match=f"{name} is damaged"):
        load("svhn" if name.endswith("mat") else "cifar10", tmp_path)
    assert server.requests == [] and (tmp_path / name).read_bytes() == b"something else"


@pytest.mark.fault(22)
@pytest.mark.parametrize("name", ["cifar10", "svhn"])
def test_fault_22_cut_download_is_never_used(name: str, server, tmp_path: Path) -> None:
    """A connection that breaks, then an answer that is not the published file."""
    server.cut = True
    with pytest.raises(UsageError, match="cannot be downloaded"):
        load(name, tmp_path)
    assert files_in(tmp_path) == []
    server.cut, whole = False, dict(server.files)
    server.files.update(dict.fromkeys(whole, b"an error page"))
    with pytest.raises(UsageError, match="is not the published file"):
        load(name, tmp_path)
    assert files_in(tmp_path) == []
    server.files |= whole
    assert len(load(name, tmp_path).train) > 0


@pytest.mark.fault(22)
def test_fault_22_what_a_killed_download_left_is_cleared(server, tmp_path: Path) -> None:
    stray = tmp_path / ".svhn.download"
    stray.mkdir()
    (stray / "train_32x32.mat").write_bytes(b"half")
    assert len(load("svhn", tmp_path).train) == 3
    assert not stray.exists()


@pytest.mark.fault(23)
def test_fault_23_one_downloads_the_other_waits(server, tmp_path: Path) -> None:
    """Two lock holders of one process exclude each other just as two processes do (flock)."""
    server.delay = (0.3, 0.0)
    files = [server.file("file")]
    threads = [threading.Thread(target=provide, args=("set", tmp_path, files)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_member_that_the_archive_lacks_is_named(server, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch_2", md5(b"")]])
    with pytest.raises(UsageError, match=r"archive of cifar10 has no .*test_batch_2"):
        load("cifar10", tmp_path)


def test_data_folder_that_cannot_be_made(server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        load("svhn", tmp_path / "file" / "data")


def test_full_disk_is_an_output_failure(server, tmp_path: Path) -> None:
    """No file may grow beyond a megabyte."""
    large, before = server.file("file", b"x" * 5_000_000), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OutputFailed, match=r"cannot write to .*: File too large"):
            provide("set", tmp_path, [large])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_in(tmp_path) == []
