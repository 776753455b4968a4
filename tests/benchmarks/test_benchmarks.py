"""The benchmarks run, agree with their references and fill the table; time is not judged here."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_isda import cli
from ssl_isda.commands.analyze.comparison import Comparison
from ssl_isda.results.runs import find_runs
from ssl_isda.settings.resolve import resolve
from ssl_isda.training.method import METHODS
from tests.benchmarks import (
    augmentation,
    bare_passes,
    checkpoint,
    frozen,
    full_run,
    imagenet,
    isda,
    loader,
    loss,
    mapping,
    networks,
    quarter_hour,
    report,
    small_runs,
    startup,
    step,
    streaming,
    vectors,
)
from tests.benchmarks.__main__ import PARTS, line, main
from tests.benchmarks.measurement import Row, Settings
from tests.benchmarks.training import NUM_IMAGES, build_trainer

TINY = Settings(rounds=1, width=1 / 32, batch_size=4, seconds=0, warm_up=0)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for a busy core make tiny steps a hundred times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_step_has_two_rows_a_method():
    rows = list(step.measure(TINY))
    cases = [case for method in sorted(METHODS) for case in (method, f"{method} + ISDA")]
    cases += ["fixmatch, 1 + 7 + 7 images"]
    assert [row.case for row in rows if row.part == "step"] == cases
    assert all(row.flops > 0 for row in rows if row.part == "step")
    assert [row.part for row in rows[:4]] == ["step", "step", "on / off", "fp32 NCHW"]
    assert all(row.images in (4, 8, 4 * 8) for row in rows)


def test_the_mapping_is_timed_per_image_of_a_batch_and_alone():
    (row,) = mapping.measure(TINY, num_images=2)
    assert row.case == "an image's iteration, 2 together / alone"
    assert row.ours[0] > 0 and row.reference[0] > 0


def test_targets_are_those_of_the_device():
    gpu = dataclasses.replace(TINY, device=CUDA)
    compiled = dataclasses.replace(gpu, compile=True)
    assert [step._target(each) for each in (TINY, gpu, compiled)] == [1.03, None, 1.10]
    case = loss.Case("update + Prop. 1", (128, 100, 640), "full")
    assert case.targets(TINY.device) == (0.05, 0.1)
    assert case.targets(CUDA) == (None, None)


def test_compiled_steps_are_compared_with_compiled_bare_passes(monkeypatch):
    compiled = []
    monkeypatch.setattr(bare_passes, "compile_networks", lambda them, _: compiled.extend(them))
    options = {"isda": True, "num_classes": 3}
    settings = dataclasses.replace(TINY, compile=True)
    bare_passes.build("mean_teacher", **options, settings=settings)()
    assert len(compiled) == 2
    bare_passes.build("mean_teacher", **options, settings=TINY)()
    assert len(compiled) == 2


def test_networks_have_a_row_of_their_own_and_one_for_each_number_of_classes():
    rows = list(networks.measure(dataclasses.replace(TINY, models=("resnet20", "wrn_16_8"))))
    cases = [(model, isda) for model in ("resnet20", "wrn_16_8") for isda in ("", " 10", " 100")]
    assert [row.case for row in rows] == [
        f"{model}, ISDA, C ={isda}" if isda else model for model, isda in cases
    ]
    assert [row.target for row in rows] == [1.03, 1.02, 1.02] * 2


def test_frozen_compares_computed_and_read_features_with_a_run_of_all_layers():
    rows = list(frozen.measure(TINY, num_steps=2))
    assert [row.case.split(", ")[1] for row in rows] == [
        "features computed / of all",
        "features read / of all",
    ]


def test_loader_reads_the_same_folder_as_torchvisions(monkeypatch):
    monkeypatch.setattr(loader, "SIDE", 16)
    (row,) = loader.measure(TINY, num_images=8, batch=4)
    assert row.images == 8 and row.target == 1.0


def test_windows_of_photographs_are_timed_as_torchvisions():
    (row,) = imagenet.measure(TINY, num_images=8, batch=4)
    assert row.images == 8 and row.target == 1.0


def test_the_proof_writes_imagenets_layout_and_its_commands_are_understood(tmp_path):
    def pixels():
        return np.zeros((3, 4, 4), np.uint8)

    images = [(pixels, k % 2) for k in range(40)]
    imagenet.make_real_folder(tmp_path, {"train": images, "val": images[:3]}, 20)
    found = [len([*tmp_path.glob(f"{part}/n*/*.JPEG")]) for part in ("all/train", "tenth/val")]
    assert found == [20, 20] and len([*(tmp_path / "tenth" / "train").glob("*/*")]) == 2
    words = imagenet.command(tmp_path, "runs", "--steps", "2")
    config = resolve(words[2:]).config
    assert (config.dataset, config.data_dir) == ("imagenet", tmp_path / "all")


def test_streaming_has_three_rows_for_each_number_of_images(monkeypatch):
    monkeypatch.setattr(streaming, "SIDE", 16)
    monkeypatch.setattr(
        streaming,
        "measured",  # in this process
        lambda place, flag, settings: streaming.trained(Path(place), flag, CPU, time.time()),
    )
    rows = list(streaming.measure(TINY, counts=(18,)))
    assert [row.case.rpartition(", ")[2] for row in rows] == [
        "to the first step / decoded",
        "to the first step / kept on disk",
        "a step",
    ]
    assert all(ours > 0 and theirs > 0 for row in rows[:2] for ours, theirs in [row.memory])


def test_isda_compares_at_two_widths_and_two_numbers_of_classes():
    assert len({row.case for row in isda.measure(TINY)}) == 4


def test_loss_agrees_with_the_per_sample_formulation():
    shapes = {(8, 3, 4): "full", (6, 5, 7): "full", (40, 3, 4): "diagonal"}
    rows = list(loss.measure(TINY, shapes))
    both = ["update + Prop. 1", "Prop. 2"]
    assert [row.case.split(",")[0] for row in rows] == [*both, *both, "update + Prop. 1"]
    assert all(ours > 0 and theirs > 0 for row in rows for ours, theirs in [row.memory])


def test_what_does_not_fit_into_the_memory_is_left_out(capsys, monkeypatch):
    monkeypatch.setattr(loss, "free_bytes", lambda device: 1000)
    assert list(loss.measure(TINY, {(8, 3, 4): "full"})) == []
    told = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in told] == [
        "loss         update + Prop. 1",
        "loss         Prop. 2",
    ]
    assert all("left out" in line for line in told)


@pytest.mark.parametrize("shape", [(128, 10, 128), (16, 100, 64)])
def test_references_hold_what_is_estimated(shape):
    first, second = loss.measure(TINY, {shape: "full"})
    assert first.memory[1] < 1.1 * loss.Case("update + Prop. 1", shape, "full").reference_bytes
    assert 0.7 < second.memory[1] / loss.Case("Prop. 2", shape, "full").reference_bytes < 1.1
    (third,) = loss.measure(TINY, {shape: "diagonal"})
    estimate = loss.Case("update + Prop. 1", shape, "diagonal").reference_bytes
    assert 0.7 < third.memory[1] / estimate < 1.1


def test_augmentation_agrees_with_torchvision():
    assert len(augmentation.measure(TINY)) == 2


def test_the_start_on_vectors_is_a_training_on_the_file_that_is_written(tmp_path):
    data, runs = tmp_path / "embeddings.npz", tmp_path / "runs"
    assert vectors.write_vectors(data, 3_000, 4) == 4 * 4 * 3_000
    command = vectors.first_step(data, runs)
    assert cli.main([*command[1:]]) == 0
    assert any(runs.glob(f"*/*/seed0/{startup.SECOND_STEP}"))
    assert startup.peak_bytes(os.getpid()) > 1e7


def test_startup_runs_whole_processes_and_its_flags_are_valid(tmp_path):
    assert next(startup.measure(TINY)).case == "run.py --help / python -c pass"
    startup.write_images(tmp_path / "images", 120)
    assert len([*tmp_path.glob("images/train/*/*.png")]) == 120
    startup.run_python(*startup.first_step(tmp_path, "folder", *startup.WHITENED), "--print-config")
    digits = startup.first_step(tmp_path, "digits")
    startup.take_first_step(tmp_path / "runs", *digits)
    with pytest.raises(subprocess.CalledProcessError):
        startup.take_first_step(tmp_path / "runs", *digits, "--print-config")
    with pytest.raises(subprocess.CalledProcessError):
        startup.run_python("run.py", "--no-such-flag")


def test_checkpoint_has_a_row_a_method(monkeypatch):
    """Ten minutes and the time of a save that was made: of one file, whose size is told."""

    def saved(calls, settings):
        calls["ours"]()
        return {"ours": [6.0]}

    monkeypatch.setattr(checkpoint, "interleaved", saved)
    rows = list(checkpoint.measure(TINY, num_images=3_000))
    assert [row.case.split()[0] for row in rows] == sorted(METHODS)
    assert all((row.ours, row.reference, row.target) == ([606], [600], 1.01) for row in rows)
    megabytes = {row.case.split()[0]: int(row.case.split()[-2]) for row in rows}
    assert megabytes["temporal_ensembling"] - megabytes["pi_model"] in (1, 2)  # 3,000 x 100 fp32


def test_a_full_run_is_extrapolated():
    product, *rows = full_run.measure(
        TINY, measured_steps=2, side=16, tested=8, num_images=NUM_IMAGES
    )
    assert product.flops == 2 * 16**3
    assert [row.reference[0] for row in rows[::2]] == [900, 1800]
    for whole, utilisation in zip(rows[::2], rows[1::2], strict=True):
        assert utilisation.reference == whole.ours
        pace = product.flops / statistics.median(product.ours)
        assert utilisation.ratios[0] == pytest.approx(utilisation.flops / whole.ours[0] / pace)


def test_the_end_of_every_epoch_is_part_of_a_full_run(monkeypatch):
    times = {"steps": [3.0], "end": [5.0]}
    monkeypatch.setattr(full_run, "interleaved", lambda calls, _: {n: times[n] for n in calls})
    options = {"isda": True, "num_classes": 10, "settings": TINY}
    trainer = build_trainer("pi_model", **options)
    assert full_run._whole_run(trainer, TINY, 2, tested=8) == 156_000 * 3 / 2 + 400 * 5
    end = full_run._end_of_epoch(trainer, TINY.device, tested=8)
    seen = []
    monkeypatch.setattr(trainer.tracker, "log_epoch", lambda metrics, *_: seen.append(metrics))
    end()
    assert seen[0].keys() >= {"test_error", "confident_share", "mean_variance"}


def test_report_reads_every_run_that_it_wrote(monkeypatch, capsys):
    def run_python(first, *arguments):
        assert first == "-c" or cli.main(arguments) == 0

    monkeypatch.setattr(report, "run_python", run_python)
    (row,) = report.measure(TINY, num_epochs=2, num_seeds=1)
    assert row.case.startswith("40 runs of 2 epochs, ")
    assert "report.html: 40 runs in 40 cells: 40 finished\n" in capsys.readouterr().out


def test_small_runs_train_in_folders_and_as_a_loop():
    """The loop learns: 90 % of guesses would be wrong."""
    rows = list(small_runs.measure(TINY, num_steps=4, num_runs=2))
    assert [" + ISDA" in row.case for row in rows] == [False, True]
    assert all(row.images == 4 * 96 for row in rows)
    assert small_runs.bare_loop(small_runs.digits(), isda=True, num_steps=100) < 20


def test_quartiles_of_paired_ratios():
    row = Row("part", "case", ours=[1.0, 2.0, 6.0], reference=[1.0, 1.0, 2.0], target=1.5)
    assert row.quartiles == (1.5, 2.0, 2.5)
    assert "2.000 [1.500 2.500]" in line(row)
    assert "<= 1.5 MISSED" in line(row)
    judged = dataclasses.replace(row, target=None, memory=(1, 20), memory_target=0.1)
    assert "= 0.050 <= 0.1 met" in line(judged)
    assert "MISSED" not in line(judged)


def test_torch_and_numpy_suffice():
    others = ("PIL", "jaxtyping", "matplotlib", "pydantic", "torchvision", "tqdm", "wandb", "yaml")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({others}))
from tests.benchmarks import full_run, isda, loss, step
from tests.benchmarks.__main__ import describe
from tests.benchmarks.measurement import Settings
tiny = Settings(rounds=1, width=1 / 32, batch_size=4, seconds=0, warm_up=0)
next(step.measure(tiny))
next(loss.measure(tiny, {{(8, 3, 4): "full"}}))
print(describe(tiny))
"""
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=startup.ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert all(name in told for name in ("'python': ", "'numpy': ", "'torch': "))


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    file = tmp_path / "figures.json"
    main(["--only", "augmentation", "--rounds", "1", "--json", str(file)])
    assert "translate, flip, normalize" in capsys.readouterr().out
    assert json.loads(file.read_text())["rows"][0]["part"] in PARTS


@pytest.mark.parametrize("flag", ["--rounds", "--batch-size", "--threads"])
def test_a_number_that_cannot_be_is_refused(flag: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([flag, "0"])
    assert f"{flag}: must be a whole number of at least 1, got '0'" in capsys.readouterr().err


def test_a_quarter_of_an_hour_brings_pairs_home_and_goes_on(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 3, 32, 32), np.uint8)
    quarter_hour.pack(images, np.arange(70) % 2, tmp_path)
    data = quarter_hour.unpacked(tmp_path, num_test=10)
    assert (data.train.images.numpy() == images[:60]).all()
    kind = {"labels": 20, "seed": 0, "steps": 2, "preprocessing": "scale", "max_translation": 2}
    pair = [
        quarter_hour.Job("cnn13", "pi_model", isda=isda, schedule="cosine", width=0.05, **kind)
        for isda in (False, True)
    ]
    out = tmp_path / "out"
    assert quarter_hour.train_all(data, out, 5.0, pair) == 0
    (effect,) = Comparison(find_runs([out / "runs.jsonl"])).effects
    assert list(effect.differences) == [0] and not list(out.rglob("checkpoint*"))
    before = (out / "done.jsonl").read_bytes()
    assert quarter_hour.train_all(data, out, 5.0, pair) == 0  # nothing is left to do
    assert (out / "done.jsonl").read_bytes() == before
