"""Runs that train the head alone, on features that are computed once, from --freeze to predictions."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import ssl_isda
from ssl_isda.assembly.trained import evaluate
from ssl_isda.base.errors import UsageError
from ssl_isda.data.source import InMemory
from ssl_isda.models import CNN13
from ssl_isda.results.features import Features
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.options import Place
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.training import frozen
from tests.commands import DIGITS, answer, ends_like, kill_at, train

START = "runs/digits-20/supervised/seed0"
FROZEN = [*DIGITS, "--freeze", "backbone", "--weights", START, "--steps", "8"]
TEACHER = [*FROZEN, "--method", "mean_teacher", "--isda"]
CELL = Path("runs/digits-20/mean_teacher+isda-frozen-from_supervised/seed0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a run that learned a backbone, one that trained its head, and what that printed."""
    folder = tmp_path_factory.mktemp("frozen")
    train(*DIGITS, "--method", "supervised", "--steps", "20", cwd=folder)
    return folder, train(*TEACHER, cwd=folder)


def test_the_head_for_standardised_features_is_the_networks_own_and_back() -> None:
    torch.manual_seed(0)
    network = CNN13(3, width=0.1).double().eval()
    images = torch.randn(12, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        logits, features = network(images)
        backbone = frozen.standardising(
            network, 3 + features * torch.arange(1, features.shape[1] + 1)
        )
        z = (features - backbone.mean) / backbone.std
        student = backbone.student().double()
        torch.testing.assert_close(student(z).logits, logits, rtol=1e-5, atol=1e-5)
        student.head.weight.normal_()
        wanted = student(z).logits
        torch.testing.assert_close(backbone.whole(student.head)(images).logits, wanted)


def test_the_backbone_is_as_it_was_and_the_head_has_learned(finished) -> None:
    folder, printed = finished
    whole = ssl_isda.load(folder / CELL, device="cpu").network.state_dict()
    before = ssl_isda.load(folder / START, device="cpu").network.state_dict()
    changed = {name for name in whole if not torch.equal(whole[name], before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert "the head of cnn13 with 70 parameters" in printed
    assert re.search(
        "features of 1,797 images, 6 numbers each, 43 kB: computed in [0-9]+ s, ", printed
    )


def test_images_go_in_and_classes_come_out(finished) -> None:
    """Of predict, export, and of a network that starts from it: what the run itself found."""
    folder, _ = finished
    result = json.loads((folder / CELL / "result.json").read_text())
    place = Place(data_dir=None, device="cpu", threads=1, plugin=None)
    found: Features = evaluate(
        RunFolder(settings_of_run(folder / CELL, place), folder / CELL), test_only=True
    )
    error = 100 * np.mean(found.logits.argmax(1) != found.labels)
    assert error == pytest.approx(result["last_epoch_error"])
    assert found.features.shape == (450, 6) and abs(found.features.mean()) > 0.1, (
        "as the network has them"
    )
    words = [str(CELL), "--out", "model.safetensors"]
    assert answer(["export-model", *words], folder).code == 0
    exported = ssl_isda.load(folder / "model.safetensors", device="cpu").network.state_dict()
    whole = ssl_isda.load(folder / CELL, device="cpu").network.state_dict()
    assert all(torch.equal(exported[name], whole[name]) for name in whole)


def test_killed_in_an_epoch_and_resumed_with_a_damaged_cache(finished, tmp_path: Path) -> None:
    folder, _ = finished
    shutil.copytree(folder / START, tmp_path / START)
    kill_at(5, TEACHER, tmp_path)
    (kept,) = tmp_path.glob("runs/.cache/features-*/train.npy")
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    printed = train(*TEACHER, cwd=tmp_path)
    assert "resuming at step 5 of 8" in printed and "computed in" in printed
    assert ends_like(tmp_path / CELL, folder / CELL)


def test_features_are_read_again_unless_something_that_they_depend_on_differs(finished) -> None:
    folder, _ = finished
    words = [*FROZEN, "--method", "supervised"]
    assert ": read, runs/.cache/features-" in train(*words, cwd=folder)
    for other in (["--precision", "fp32"], ["--preprocessing", "scale"]):
        assert ": computed in" in train(
            *words, *other, "--runs-dir", "others", "--fresh", cwd=folder
        )


@pytest.mark.parametrize("content", [None, b"", b"cut"])
def test_a_backbone_that_is_gone_or_damaged_is_told(finished, tmp_path: Path, content) -> None:
    shutil.copytree(finished[0] / CELL, tmp_path / "run")
    (tmp_path / "run/backbone.pt").unlink()
    if content is not None:
        (tmp_path / "run/backbone.pt").write_bytes(content)
    with pytest.raises(
        UsageError, match=r"backbone\.pt.*: the run cannot do without its backbone; --fresh"
    ):
        ssl_isda.load(tmp_path / "run", device="cpu")


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="features that are not finite"):
        frozen.standardising(CNN13(3, width=0.1), torch.full((2, 4), torch.inf))


@pytest.mark.parametrize("method", sorted(ssl_isda.METHODS))
def test_every_method_trains_a_head_or_says_why_it_cannot(method: str, finished) -> None:
    code, out, err = answer([*FROZEN, "--method", method, "--runs-dir", "each"], finished[0])
    if code == 0:
        assert "test error" in out
        assert method in "mean_teacher pi_model pseudo_label supervised temporal_ensembling"
    else:
        assert (
            code == 2 and ("is made for images, and a frozen backbone has features" in err)
        ) or ("once cannot show; take another method, or leave the flag out" in err)


def test_source_of_features_keeps_labels_and_fingerprint() -> None:
    images = InMemory(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, -1]))
    data = ssl_isda.ImageData("x", ("a", "b"), images, images)
    found = frozen.of_features(data, torch.ones(3, 4), torch.ones(3, 4))
    assert found.train.fingerprint == images.fingerprint and found.train.labels is images.labels
