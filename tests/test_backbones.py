"""A library's network from a file of weights, or from its hub's cache, on a folder of images."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from ssl_isda.data.preparation import Preparation
from ssl_isda.models import MODELS
from ssl_isda.training.trainer import Trainer
from tests.commands import ends_like, refusal, train

CELL = "runs/images-4/mean_teacher+isda-timm_test_vit-from_vit/seed0"
COMMAND = (
    "--dataset folder --data-dir images --labels 4 --method mean_teacher --isda --model timm "
    "--name test_vit --weights vit.safetensors --drop-path 0.1 --steps 5 --batch-size 4 "
    "--unlabeled-batch-size 6 --threads 1 --wandb disabled --checkpoint-minutes 0"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Digits 0 and 1 as image files, and a file of weights of timm's test_vit for 1,000 classes."""
    from timm import create_model

    folder = tmp_path_factory.mktemp("backbones")
    digits = load_digits(n_class=2)
    for number, (values, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        part = f"images/{'test' if number % 4 == 0 else 'train'}/{label}"
        if number < 40:
            (folder / part).mkdir(parents=True, exist_ok=True)
            pixels = (values * 15).astype(np.uint8)
            Image.fromarray(pixels).resize((50, 40)).save(folder / part / f"{number}.png")
    torch.manual_seed(3)
    save_file(create_model("test_vit", num_classes=1000).state_dict(), folder / "vit.safetensors")
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    train(*COMMAND, cwd=folder)
    return folder / CELL


def test_the_run_prepares_images_as_the_networks_weights_want_them(finished: Path) -> None:
    weights = finished.parents[3] / "vit.safetensors"
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    result = json.loads((finished / "result.json").read_text())
    assert result["weights"] == {"place": "vit.safetensors", "sha256": checksum}
    settings = (finished / "config.yaml").read_text()
    assert f"# It starts from weights of SHA-256 {checksum}." in settings
    assert "preprocessing: network  # from --weights\n" in settings
    assert "    image_size: null  # from --weights\n" in settings
    said = (finished / "log.txt").read_text()
    assert "the head is new: it has 1000 classes there, 2 here" in said
    preparation = Preparation.read(finished)
    of_network = MODELS.config("timm")(name="test_vit").trained_on()
    assert preparation.shape == (3, 160, 160) and of_network.side == 160
    assert preparation.interpolation == of_network.interpolation == "bicubic"
    white = preparation(torch.full((1, 3, 160, 160), 255, dtype=torch.uint8))
    for channel, mean, std in zip(white[0], of_network.mean, of_network.std, strict=True):
        torch.testing.assert_close(channel, torch.full_like(channel, (1 - mean) / std))


def test_predict_works_on_the_run_and_agrees_with_it(finished: Path, tmp_path: Path) -> None:
    folder = finished.parents[3]
    lines = train("predict", CELL, "images/test", cwd=folder).splitlines()
    found = [line.split(",") for line in lines if ".png," in line]
    wrong = [place for place, name, *_ in found if f"/{name}/" not in place]
    result = json.loads((finished / "result.json").read_text())
    assert len(found) == 10 and 10 * len(wrong) == pytest.approx(result["last_epoch_error"])


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.fault(2)
def test_fault_2_a_killed_run_ends_bit_identical_without_its_file_of_weights(
    finished: Path, tmp_path: Path, monkeypatch
) -> None:
    for name in ("images", "vit.safetensors"):
        source = finished.parents[3] / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    step = Trainer.train_step

    def until_the_fourth(trainer: Trainer, now: Any) -> Any:
        if now.index == 3:
            raise Killed
        return step(trainer, now)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Trainer, "train_step", until_the_fourth)
        train(*COMMAND, cwd=tmp_path)
    (tmp_path / "vit.safetensors").unlink()
    assert "resuming at step" in train(*COMMAND, cwd=tmp_path)
    assert ends_like(tmp_path / CELL, finished)


def test_flags_of_the_users_win_over_what_the_network_was_trained_with(folder: Path) -> None:
    own = ["--preprocessing", "scale", "--image-size", "32", "--print-config"]
    settings = train(*COMMAND, *own, cwd=folder)
    assert "preprocessing: scale  # from flag\n" in settings
    assert "    image_size: 32  # from flag\n" in settings
    assert "    interpolation: null  # from --weights\n" in settings


DIGITS = (
    "--dataset digits --method supervised --model torchvision --name shufflenet_v2_x0_5 --steps 1 "
    "--threads 1 --wandb disabled --pretrained"
).split()


def test_pretrained_takes_the_weights_of_torchvisions_cache(tmp_path: Path, monkeypatch) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def no_network(*arguments: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    assert refusal(*DIGITS, cwd=tmp_path).endswith(
        "--pretrained: the weights of shufflenet_v2_x0_5 are not in the hub's cache and cannot be "
        "downloaded (URLError): give a file of them with --weights"
    )
    file = tmp_path / "cache/hub/checkpoints/shufflenetv2_x0.5-f707e7126e.pth"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), file)
    said = train(*DIGITS, cwd=tmp_path)
    assert f"starting from the weights of {file}; the head is new" in said
    cell = "runs/digits-20/supervised-torchvision_shufflenet_v2_x0_5-pretrained/seed0"
    result = json.loads((tmp_path / cell / "result.json").read_text())
    assert result["weights"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert Preparation.read(tmp_path / cell).name == "network"


def test_pretrained_takes_the_weights_of_timms_cache(tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    options = MODELS.config("timm")(name="test_vit.r160_in1k", pretrained=True)
    with pytest.raises(
        ValueError, match=r"the weights of test_vit\.r160_in1k are not in the hub's"
    ):
        options.weights_file()
    place = tmp_path / "models--timm--test_vit.r160_in1k"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text("abc")
    file = place / "snapshots/abc/model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert options.weights_file() == file


def test_an_exported_network_predicts_alike_and_starts_a_run_with_its_preparation(
    finished: Path,
) -> None:
    folder = finished.parents[3]
    train("export-model", CELL, "--out", "trained.safetensors", cwd=folder)
    found = [
        train("predict", it, "images/test", cwd=folder) for it in (CELL, "trained.safetensors")
    ]
    assert found[0] == found[1]
    words = " ".join(COMMAND).replace("vit.safetensors", "trained.safetensors").split()
    said = train(*words, "--image-size", "64", cwd=folder)
    assert "starting from the weights of trained.safetensors\n" in said
    first, second = (
        Preparation.read(folder / at) for at in (CELL, CELL.replace("vit/", "trained/"))
    )
    assert second.shape == (3, 64, 64) and second.name == first.name == "network"
    assert all(np.array_equal(first.arrays[name], second.arrays[name]) for name in first.arrays)


def test_a_network_of_the_project_takes_over_the_preparation_of_its_weights(tmp_path: Path) -> None:
    words = "--dataset digits --method supervised --model linear --steps 1 --threads 1".split()
    quiet = ["--wandb", "disabled"]
    train(*words, *quiet, "--preprocessing", "scale", cwd=tmp_path)
    first = "runs/digits-20/supervised-linear"
    train(*words, *quiet, *f"--weights {first}/seed0 --preprocessing network".split(), cwd=tmp_path)
    second = Preparation.read(tmp_path / f"{first}-from_supervised-linear/seed0")
    assert second.name == "scale" and second.arrays["scale"].flatten()[0] == np.float32(1 / 255)


def test_a_run_is_not_continued_under_another_preparation_than_it_began_with(
    tmp_path: Path,
) -> None:
    words = "--dataset digits --method supervised --model timm --name test_vit --threads 1".split()
    words += ["--wandb", "disabled"]
    train(*words, "--steps", "1", "--preprocessing", "scale", cwd=tmp_path)
    first = "runs/digits-20/supervised-timm_test_vit"
    more = [*words, "--weights", f"{first}/seed0", "--checkpoint-epochs", "1"]
    train(*more, "--steps", "1", cwd=tmp_path)
    second = tmp_path / f"{first}-from_supervised-timm_test_vit/seed0"
    assert Preparation.read(second).name == "scale"
    shutil.rmtree(tmp_path / first)
    line = refusal("export", str(second), "--out", "f.npz", cwd=tmp_path)
    assert line.endswith(
        f"as --weights {first}/seed0 said, which is gone or has changed: bring it back"
    )
    again = refusal(*more, "--steps", "2", "--extend", cwd=tmp_path)
    assert again.endswith("bring it back")
