"""The benchmarks run, agree with their references and fill the table; time is not judged here."""

from __future__ import annotations

import json
import subprocess

import pytest
import torch

from ssl_isda.regularizer import METHODS
from tests.benchmarks import augmentation, checkpoint, full_run, isda, loss, report, startup, step
from tests.benchmarks.__main__ import PARTS, line, main
from tests.benchmarks.measurement import Row, Settings

TINY = Settings(rounds=1, width=1 / 32, batch_size=4, seconds=0)


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
    assert [row.case for row in rows if row.part == "step"] == cases
    assert all(row.flops > 0 for row in rows if row.part == "step")
    assert [row.part for row in rows[:4]] == ["step", "step", "on / off", "fp32 NCHW"]
    assert all(row.images in (4, 8) for row in rows)


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
    assert "left out" in capsys.readouterr().out


def test_augmentation_agrees_with_torchvision():
    assert len(augmentation.measure(TINY)) == 1


def test_startup_runs_whole_processes_and_its_flags_are_valid(tmp_path):
    assert next(startup.measure(TINY)).case == "run.py --help / python -c pass"
    startup.write_images(tmp_path / "images", 120)
    assert len([*tmp_path.glob("images/train/*/*.png")]) == 120
    startup.run_python(*startup.first_step(tmp_path, "folder", *startup.WHITENED), "--print-config")
    digits = startup.first_step(tmp_path, "digits")
    startup.take_first_step(*digits)
    with pytest.raises(subprocess.CalledProcessError):
        startup.take_first_step(*digits, "--print-config")
    with pytest.raises(subprocess.CalledProcessError):
        startup.run_python("run.py", "--no-such-flag")


def test_checkpoint_has_a_row_a_method():
    rows = list(checkpoint.measure(TINY))
    assert [row.case.split()[0] for row in rows] == sorted(METHODS)
    assert all(seconds > 600 for row in rows for seconds in row.ours)


def test_a_full_run_is_extrapolated():
    *rows, product = full_run.measure(TINY, measured_steps=2, side=16)
    assert [row.reference[0] for row in rows[::2]] == [900, 1800]
    assert all(row.flops > 0 for row in rows[1::2])
    assert product.flops == 2 * 16**3


def test_report_reads_every_run_that_it_wrote():
    assert next(report.measure(TINY, num_epochs=2, num_seeds=1)).case.startswith("40 runs of 2 ")


def test_quartiles_of_paired_ratios():
    row = Row("part", "case", ours=[1.0, 2.0, 6.0], reference=[1.0, 1.0, 2.0], target=1.5)
    assert row.quartiles == (1.5, 2.0, 2.5)
    assert "2.000 [1.500 2.500]" in line(row)
    assert "MISSED" in line(row)


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    file = tmp_path / "figures.json"
    main(["--only", "augmentation", "--rounds", "1", "--json", str(file)])
    assert "translate, flip, normalize" in capsys.readouterr().out
    assert json.loads(file.read_text())["rows"][0]["part"] in PARTS
