"""Runs of one process that read the same data alike read them once; what changes in between is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_isda import cli
from ssl_isda.assembly import workspace
from ssl_isda.commands.shared_data import data_shared, workspace_for
from ssl_isda.data.facts import data_digests
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.resolve import resolve
from tests.test_changed_data import write_folder

DIGITS = {"method": "supervised", "dataset": "digits_vectors", "labels": 100}


def settings(**given: object) -> Resolved:
    flags = {**DIGITS, **given}
    return resolve([f"--{name.replace('_', '-')}={value}" for name, value in flags.items()])


@pytest.mark.parametrize(
    ("other", "is_shared"),
    [
        ({"seed": 1, "labels": 50, "runs_dir": "elsewhere"}, True),
        ({"method": "vat", "steps": 7, "features": 32}, True),
        ({"dataset": "digits"}, False),
        ({"precision": "fp32"}, False),
        ({"threads": 2}, False),
    ],
)
def test_runs_that_read_the_same_alike_share_it(other: dict[str, object], is_shared: bool) -> None:
    with data_shared():
        first = workspace_for(settings(), ())
        assert (workspace_for(settings(**other), ()) is first) == is_shared
        if not is_shared:
            assert workspace_for(settings(), ()) is not first  # one is kept at a time
    assert workspace_for(settings(), ()) is not first


def test_other_images_under_the_same_names_are_read_again(tmp_path: Path) -> None:
    write_folder(tmp_path, test_seed=1)
    resolved = settings(dataset="folder", data_dir=tmp_path, image_size=8, labels=4)

    def read() -> workspace.Workspace:
        return workspace_for(resolved, data_digests("folder", tmp_path))

    with data_shared():
        first = read()
        assert read() is first
        write_folder(tmp_path, test_seed=2)
        assert read() is not first


def test_data_of_which_nothing_is_known_are_read_for_each_run(monkeypatch) -> None:
    monkeypatch.setattr("ssl_isda.commands.shared_data.facts_of", lambda dataset: None)
    with data_shared():
        assert workspace_for(settings(), ()) is not workspace_for(settings(), ())


def test_a_grid_reads_once_and_its_runs_are_those_of_single_commands(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made: list[object] = []
    read = workspace.images_of
    monkeypatch.setattr(workspace, "images_of", lambda resolved: made.append(0) or read(resolved))
    flags = "steps: 25, labels: 20, wandb: disabled, threads: 1, batch_size: 8"
    Path("grid.yaml").write_text(
        f"settings: {{dataset: digits_vectors, {flags}}}\n"
        "runs:\n  - {method: [pi_model], isda: [false, true], seed: [0, 1]}\n"
    )
    assert cli.main(["grid", "grid.yaml", "--workers", "1"]) == 0
    assert len(made) == 1
    flags = "--steps 25 --labels 20 --wandb disabled --threads 1 --batch-size 8 --isda --seed 1"
    words = ["--dataset", "digits_vectors", "--method", "pi_model", *flags.split()]
    assert cli.main([*words, "--runs-dir", "alone"]) == 0
    runs = [Path(place, "digits_vectors-20/pi_model+isda/seed1") for place in ("runs", "alone")]
    for name in ("metrics.jsonl", "split.json"):
        assert np.array_equal(*((run / name).read_bytes() for run in runs))
    states = [(run / "checkpoint.pt").read_bytes() for run in runs]
    assert states[0] == states[1]
