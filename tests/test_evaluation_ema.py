"""``--evaluation-ema`` from the command line to the network that predicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import ssl_isda
from ssl_isda import cli
from ssl_isda.runs import checkpoint

RUN = "--model mlp --steps 6 --precision fp32 --wandb disabled".split()
DIGITS = "--dataset=digits"


def test_the_average_is_tested_kept_and_loaded(tmp_path: Path) -> None:
    flags = [*RUN, DIGITS, "--method=fixmatch", "--evaluation-ema=0.5", f"--runs-dir={tmp_path}"]
    assert cli.main(flags) == 0
    (folder,) = (path.parent for path in tmp_path.rglob("result.json"))
    state, _ = checkpoint.load_latest(folder / "checkpoint.pt")
    loaded = ssl_isda.load(folder).network.state_dict()
    for name, value in loaded.items():
        assert torch.equal(value, state["objective"][f"average.{name}"]), name
    assert not torch.equal(loaded["head.weight"], state["student"]["head.weight"])
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= last["agreement"] <= 100


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([DIGITS, "--method=mean_teacher", "--evaluation-ema=0.9"], "tests an average of its own"),
        ([DIGITS, "--method=fixmatch", "--max-translation=2"], "--translation"),
        ([DIGITS, "--method=mixmatch", "--loss=focal"], "makes the supervised term itself"),
        (["--method=fixmatch", "--dataset=breast_cancer"], "made for images"),
    ],
)
def test_what_does_not_go_together_is_refused(flags, words, tmp_path: Path, capsys) -> None:
    assert cli.main([*RUN, *flags, f"--runs-dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
