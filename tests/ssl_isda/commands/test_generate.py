"""``run.py generate``: a training that is stopped and goes on, what it leaves, and images of it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from ssl_isda.assembly.trained import evaluate
from ssl_isda.base.errors import Interrupted
from ssl_isda.base.step import Step
from ssl_isda.commands.generate.loop import GanTrainer, LengthAndRates
from ssl_isda.commands.generate.options import read_train
from ssl_isda.commands.generate.real_images import RealImages
from ssl_isda.data.source import InMemory
from ssl_isda.generators.contract import GANS
from ssl_isda.generators.saved import read_generator
from ssl_isda.results.runs import find_runs
from ssl_isda.runs import checkpoint
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.runs.tracking import Tracker
from ssl_isda.settings.options import Place
from ssl_isda.settings.recorded import settings_of_run
from tests.commands import CELL, SUPERVISED, answer, refusal

CPU = torch.device("cpu")
TRAIN = """
generate train --dataset digits --channels 2 --steps 4 --log-steps 2 --batch-size 8 --threads 1
--wandb disabled
""".split()
FILES = {
    *("generator.json", "split.json", "metrics.jsonl", "timing.jsonl", "log.txt", "checkpoint.pt"),
    *("samples.png", "result.json"),
}


def trainer(folder: Path, name: str, num_steps: int = 5, **options: object) -> GanTrainer:
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(256, (30, 1, 8, 8), dtype=torch.uint8, generator=generator)
    source, names = InMemory(pixels, torch.arange(30) % 3), ("a", "b", "c")
    torch.manual_seed(0)
    config = GANS.config(name)(channels=2, **options)
    gan = GANS[name](config, num_classes=3, shape=(1, 8, 8))
    how = {"batch_size": 4, "seed": 0, "each_class": gan.each_class}
    real = RealImages(
        *(source, torch.arange(30), names), **how, critic_steps=gan.critic_steps, device=CPU
    )
    length = LengthAndRates(num_steps, 2, 0, 1e-3, 0.5, 0.9)
    return GanTrainer(gan, real, length, Tracker(folder, quiet=True))


def numbers_in(state: object) -> list[bytes | str]:
    """Every number of a checkpoint, tensors bit by bit."""
    if isinstance(state, torch.Tensor):
        return [state.numpy().tobytes()]
    if isinstance(state, dict):
        return [each for key in state for each in [str(key), *numbers_in(state[key])]]
    if isinstance(state, (list, tuple)):
        return [each for item in state for each in numbers_in(item)]
    return [str(state)]


@pytest.mark.parametrize("name", [*GANS, "each class"])
def test_a_training_stopped_at_any_step_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    options = {"each_class": True} if name == "each class" else {}
    name = "wgan" if options else name
    whole = trainer(tmp_path / "whole", name, **options)
    assert not whole.resume()
    whole.run()
    end, metrics = whole.tracker.folder, whole.tracker.metrics_file.read_text()
    for stop in (1, 2, 3):
        folder = tmp_path / f"stopped{stop}"
        stopped = trainer(folder, name, **options)
        stopped.resume()
        make = stopped.train_step

        def step_until_asked(step: Step, make=make, stopped=stopped, stop=stop) -> object:
            stopped.signals.number = 15 if step.index + 1 == stop else None
            return make(step)

        stopped.train_step = step_until_asked  # type: ignore[method-assign]
        with pytest.raises(Interrupted, match=f"at step {stop} of 5"):
            stopped.run()
        again = trainer(folder, name, **options)
        assert again.resume() and again.next_step == stop
        again.run()
        assert (folder / "metrics.jsonl").read_text() == metrics
        found, expected = (
            numbers_in(checkpoint.load(at / "checkpoint.pt")) for at in (folder, end)
        )
        assert found == expected and len(found) > 40


def test_options_of_the_data_reach_the_run_as_they_were_given() -> None:
    own = read_train("--gan wgan --dataset folder --data-dir x --image-size 16".split())
    assert own.data.values["image_size"] == 16
    columns = "--gan wgan --dataset vectors --data-dir x.csv --label-column my_y"
    assert read_train(columns.split()).data.values["label_column"] == "my_y"
    svhn = read_train("--gan wgan --dataset svhn --labels 100 --svhn-extra".split())
    assert svhn.data.values["svhn_extra"] is True


def test_a_batch_of_one_class_takes_turns(tmp_path: Path) -> None:
    training = trainer(tmp_path, "wgan", each_class=True)
    real = training.real
    for index in range(4):
        step = Step(index, 9, 9)
        batches = [real.batch(step, number) for number in range(5)]
        draw = real.draw(step, "generated", training.gan.generator)
        assert all((labels == index % 3).all() for _, labels in batches)
        assert (draw.classes == index % 3).all()
    first, second = (real.batch(Step(index, 9, 9), 0)[0] for index in (0, 3))
    assert not torch.equal(first, second)


def test_a_folder_holds_what_it_says_and_reports_pass_it_over(tmp_path: Path) -> None:
    cell = tmp_path / "runs/generators/digits-20/acgan/seed0"
    asked = [*TRAIN, "--gan", "acgan", "--labels", "20"]
    first = answer(asked, tmp_path)
    assert first.code == 0, first.err
    assert {path.name for path in cell.iterdir()} - {".lock", "checkpoint.pt.previous"} == FILES
    result = json.loads((cell / "result.json").read_text())
    assert result["images_learned"] == 20 and result["steps"] == 4
    before = (cell / "checkpoint.pt").stat().st_mtime_ns
    assert answer(asked, tmp_path).code == 0  # it is done
    assert (cell / "checkpoint.pt").stat().st_mtime_ns == before
    told = refusal(*asked, "--learning-rate", "0.1", cwd=tmp_path)
    assert "trained otherwise (options: " in told
    assert "train it first" not in told
    saved = read_generator(cell, CPU)
    assert saved.class_names == tuple("0123456789") and saved.num_steps == 4
    assert answer([*SUPERVISED, "--seed", "0"], tmp_path).code == 0
    assert [run.folder for run in find_runs([tmp_path / "runs"])] == [tmp_path / CELL]
    split, of_run = (json.loads((at / "split.json").read_text()) for at in (cell, tmp_path / CELL))
    assert split["labeled"] == of_run["labeled"]


def test_samples_and_their_distance_in_a_networks_features(tmp_path: Path, monkeypatch) -> None:
    assert answer([*TRAIN, "--gan", "cgan"], tmp_path).code == 0
    assert answer(SUPERVISED, tmp_path).code == 0
    cell = "runs/generators/digits-all/cgan/seed0"
    words = ["generate", "sample", cell, "--count", "20", "--out", "made", "--network", str(CELL)]
    said = answer(words, tmp_path)
    assert said.code == 0, said.err
    assert "which is no FID" in said.out
    made = np.load(tmp_path / "made/samples.npz")
    assert made["X"].shape == (20, 1, 16, 16) and made["X"].dtype == np.uint8
    assert made["y"].tolist() == [*range(10)] * 2
    found = json.loads((tmp_path / "made/distances.json").read_text())
    assert found["frechet_training_to_test"] < found["frechet_generated_to_test"]
    asked: dict[str, Any] = {}
    fake = ModuleType("torch_fidelity")
    fake.calculate_metrics = lambda **given: (
        asked.update(given)
        or {  # type: ignore[attr-defined]
            "frechet_inception_distance": 7.0,
            "kernel_inception_distance_mean": 0.5,
        }
    )
    monkeypatch.setitem(sys.modules, "torch_fidelity", fake)
    (tmp_path / "weights.pth").touch()
    said = answer([*words, "--inception", "weights.pth"], tmp_path)
    assert said.code == 0 and "FID generated to test 7" in said.out
    assert asked["kid_subset_size"] == len(asked["input1"]) == 20
    assert torch.equal(asked["input1"][3], torch.from_numpy(made["X"][3]).repeat(3, 1, 1))
    told = refusal(*words[:5], "--out", "made", "--class", "11", cwd=tmp_path)
    assert "has no class '11'" in told


def test_generated_images_join_the_labeled_batches(tmp_path: Path) -> None:
    """Of the generator of a run's own seed; one that has seen more, or knows no class, is refused."""
    for words in (["--gan", "cgan", "--labels", "20"], ["--gan", "wgan"], ["--gan", "cgan"]):
        assert answer([*TRAIN, *words], tmp_path).code == 0
    cells = "runs/generators"
    run = [*SUPERVISED, "--generated", f"{cells}/digits-20/cgan"]
    assert answer(run, tmp_path).code == 0
    (folder,) = (tmp_path / "runs").glob("digits-20/supervised-mlp-generated_cgan/seed0")
    whole = (folder / "checkpoint.pt").read_bytes()
    for place, told in (
        (f"{cells}/digits-all/wgan", "its images are of no class of this run"),
        (
            f"{cells}/digits-all/cgan/seed0",
            "has learned 1327 images whose labels this run holds back",
        ),
        (f"{cells}/none", "no such folder of generate train"),
    ):
        refused = [*SUPERVISED, "--runs-dir", "other", "--generated", place]
        assert told in refusal(*refused, cwd=tmp_path)
    for share in ("0.01", "0.99"):
        told = refusal(*run, "--runs-dir", "other", "--generated-share", share, cwd=tmp_path)
        assert "one at least must be generated, and one real" in told
    assert answer([*run, "--fresh"], tmp_path).code == 0
    assert (folder / "checkpoint.pt").read_bytes() == whole
    words = tmp_path / cells / "digits-20/cgan/seed0/generator.json"
    words.write_text(words.read_text().replace('"steps": 4', '"steps": 9'))
    told = refusal(*run, "--runs-dir", "other", cwd=tmp_path)
    assert "seed0 is at step 4 of 9: train it to its end first" in told
    said = answer(["generate", "sample", str(words.parent), "--out", "made"], tmp_path)
    assert said.code == 0 and "its training has not ended, it is at step 4 of 9" in said.out
    shutil.rmtree(tmp_path / cells)
    resolved = settings_of_run(folder, Place())
    assert evaluate(RunFolder(resolved, folder), test_only=True).error() > 0
