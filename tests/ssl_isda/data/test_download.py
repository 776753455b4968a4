"""CIFAR and SVHN from a server on this machine, with archives of a few images."""

from __future__ import annotations

import hashlib
import http.server
import io
import pickle
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.data import download
from ssl_isda.data.download import DataFile, provide
from ssl_isda.data.load import load


class Server:
    """Files by name; counts requests; ``cut`` ends a body early, ``delay`` waits before answering."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut = False
        self.delay = 0.0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                outer.requests.append(name)
                time.sleep(outer.delay)
                if name not in outer.files:
                    return self.send_error(404)
                body = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if outer.cut else body)
                return None

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def publish_cifar10(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Serve a CIFAR-10 of 2 images a file and make torchvision expect it; returns its files."""
    cifar = torchvision.datasets.CIFAR10
    members = {}
    for k, name in enumerate(["data_batch_1", "data_batch_2", "test_batch"]):
        pixels = np.random.default_rng(k).integers(0, 256, (2, 3072), np.uint8)
        members[name] = pickle.dumps({"data": pixels, "labels": [k, 9]})
    members["batches.meta"] = pickle.dumps({"label_names": [f"class {c}" for c in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{cifar.base_folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    server.files[cifar.filename] = buffer.getvalue()
    monkeypatch.setattr(cifar, "url", f"{server.base}/{cifar.filename}")
    monkeypatch.setattr(cifar, "tgz_md5", md5(buffer.getvalue()))
    train = [[name, md5(members[name])] for name in ("data_batch_1", "data_batch_2")]
    monkeypatch.setattr(cifar, "train_list", train)
    monkeypatch.setattr(cifar, "test_list", [["test_batch", md5(members["test_batch"])]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(members["batches.meta"])}
    monkeypatch.setattr(cifar, "meta", meta)
    return members


def publish_svhn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve SVHN files of 3 images; label 10 is the file's name for digit 0."""
    split_list = {}
    for k, part in enumerate(["train", "test", "extra"]):
        name = f"{part}_32x32.mat"
        buffer = io.BytesIO()
        pixels = np.random.default_rng(k).integers(0, 256, (32, 32, 3, 3), np.uint8)
        scipy.io.savemat(buffer, {"X": pixels, "y": np.array([[1], [10], [9]], np.uint8)})
        server.files[name] = buffer.getvalue()
        split_list[part] = [f"{server.base}/{name}", name, md5(buffer.getvalue())]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", split_list)


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.name.startswith(".") and p.is_dir())


def test_cifar10_pixels_and_labels(server, monkeypatch, tmp_path) -> None:
    members = publish_cifar10(server, monkeypatch)
    data = load("cifar10", tmp_path / "new" / "folder")
    raw = pickle.loads(members["data_batch_2"])["data"].reshape(2, 3, 32, 32)
    assert torch.equal(data.train_images[2:], torch.from_numpy(raw))
    assert data.train_labels.tolist() == [0, 9, 1, 9]
    assert data.test_labels.tolist() == [2, 9]
    assert data.class_names[3] == "class 3"
    assert leftovers(tmp_path) == []
    load("cifar10", tmp_path / "new" / "folder")
    assert len(server.requests) == 1


def test_cifar10_from_an_archive_that_lies_there(server, monkeypatch, tmp_path) -> None:
    publish_cifar10(server, monkeypatch)
    name = torchvision.datasets.CIFAR10.filename
    (tmp_path / name).write_bytes(server.files.pop(name))
    assert len(load("cifar10", tmp_path).train_images) == 4
    assert server.requests == []


def test_svhn_digit_zero_and_layout(server, monkeypatch, tmp_path) -> None:
    publish_svhn(server, monkeypatch)
    data = load("svhn", tmp_path)
    raw = scipy.io.loadmat(tmp_path / "train_32x32.mat")["X"]
    assert data.train_labels.tolist() == [1, 0, 9]
    assert data.train_images[1, 2, 5, 7] == raw[5, 7, 2, 1]
    assert server.requests == ["train_32x32.mat", "test_32x32.mat"]


def test_svhn_extra_images_follow_without_labels(server, monkeypatch, tmp_path) -> None:
    publish_svhn(server, monkeypatch)
    plain = load("svhn", tmp_path)
    data = load("svhn", tmp_path, svhn_extra=True)
    assert server.requests[-1] == "extra_32x32.mat"
    assert len(server.requests) == 3
    assert data.train_labels.tolist() == [1, 0, 9, -1, -1, -1]
    assert torch.equal(data.train_images[:3], plain.train_images)


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_fault_20_no_network(name: str, monkeypatch, tmp_path) -> None:
    """A closed port: one line that says where, how, and what needs no download."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
    for cifar in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(cifar, "url", closed)
    parts = {k: [closed, *v[1:]] for k, v in torchvision.datasets.SVHN.split_list.items()}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", parts)
    begin = time.monotonic()
    with pytest.raises(UsageError) as caught:
        load(name, tmp_path)
    assert time.monotonic() - begin < 5
    text = str(caught.value)
    assert str(tmp_path) in text and closed in text and "--dataset digits" in text
    assert "\n" not in text
    assert leftovers(tmp_path) == []


@pytest.mark.fault(20)
def test_fault_20_silent_server_is_given_up(server, monkeypatch, tmp_path) -> None:
    publish_cifar10(server, monkeypatch)
    server.delay = 1.0
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    with pytest.raises(UsageError, match=r"no answer within 0\.2 s"):
        load("cifar10", tmp_path)


@pytest.mark.fault(20)
def test_fault_20_silence_in_the_middle_is_given_up(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def half_an_answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                connection.recv(1000)

        threading.Thread(target=half_an_answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/file"
        with pytest.raises(UsageError, match="timed out"):
            download.fetch("set", url, DataFile(tmp_path / "file", "0"), tmp_path)


@pytest.mark.fault(21)
@pytest.mark.parametrize("damage", ["flipped byte", "wrong size", "empty"])
def test_fault_21_damaged_file_is_refused_by_name(damage, server, monkeypatch, tmp_path) -> None:
    publish_cifar10(server, monkeypatch)
    load("cifar10", tmp_path)
    path = tmp_path / torchvision.datasets.CIFAR10.base_folder / "data_batch_2"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    kinds = {"flipped byte": bytes(content), "wrong size": bytes(content[:-1]), "empty": b""}
    path.write_bytes(kinds[damage])
    with pytest.raises(UsageError, match="data_batch_2 is damaged"):
        load("cifar10", tmp_path)
    path.unlink()
    assert len(load("cifar10", tmp_path).train_images) == 4


@pytest.mark.fault(21)
def test_fault_21_damaged_svhn(server, monkeypatch, tmp_path) -> None:
    publish_svhn(server, monkeypatch)
    (tmp_path / "test_32x32.mat").write_bytes(b"something else")
    with pytest.raises(UsageError, match=r"test_32x32\.mat is damaged"):
        load("svhn", tmp_path)
    assert server.requests == []


@pytest.mark.fault(22)
@pytest.mark.parametrize("name", ["cifar10", "svhn"])
def test_fault_22_cut_download_is_never_used(name, server, monkeypatch, tmp_path) -> None:
    publish_cifar10(server, monkeypatch)
    publish_svhn(server, monkeypatch)
    server.cut = True
    with pytest.raises(UsageError, match=r"cut short|cannot be downloaded"):
        load(name, tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"] == []
    server.cut = False
    assert len(load(name, tmp_path).train_images) > 0


@pytest.mark.fault(22)
def test_fault_22_what_a_killed_download_left_is_cleared(server, monkeypatch, tmp_path) -> None:
    publish_svhn(server, monkeypatch)
    stray = tmp_path / ".svhn.download"
    stray.mkdir()
    (stray / "train_32x32.mat").write_bytes(b"half")
    assert len(load("svhn", tmp_path).train_images) == 3
    assert not stray.exists()


@pytest.mark.fault(23)
def test_fault_23_one_downloads_the_other_waits(tmp_path) -> None:
    """Two lock holders of one process exclude each other just as two processes do (flock)."""
    calls = []
    files = [DataFile(tmp_path / "file", md5(b"content"))]

    def obtain(workspace: Path, wanted: list[DataFile]) -> None:
        calls.append(wanted)
        time.sleep(0.3)
        (workspace / "file").write_bytes(b"content")

    threads = [
        threading.Thread(target=provide, args=("set", tmp_path, files, obtain)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert (tmp_path / "file").read_bytes() == b"content"


def test_data_folder_that_cannot_be_made(server, monkeypatch, tmp_path) -> None:
    publish_svhn(server, monkeypatch)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        load("svhn", tmp_path / "file" / "data")


def test_full_disk_is_an_output_failure(server, tmp_path) -> None:
    server.files["file"] = b"x" * 5_000_000
    target = tmp_path / "file"
    target.symlink_to("/dev/full")
    with pytest.raises(OutputFailed, match="No space left"):
        download.fetch("set", f"{server.base}/file", DataFile(target, "0"), tmp_path)
