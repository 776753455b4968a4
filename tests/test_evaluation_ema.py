"""``--evaluation-ema`` from the command line to the network that predicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import ssl_isda
from ssl_isda import cli
from ssl_isda.runs import checkpoint

RUN = "--dataset digits --steps 6 --precision fp32 --wandb disabled".split()


@pytest.mark.parametrize("model", ["mlp", "linear"])  # the second has no buffers
def test_the_average_is_tested_kept_and_loaded(model: str, tmp_path: Path) -> None:
    flags = [*RUN, f"--model={model}", "--method=fixmatch", "--evaluation-ema=0.5"]
    flags.append(f"--runs-dir={tmp_path}")
    assert cli.main(flags) == 0
    (folder,) = (path.parent for path in tmp_path.rglob("result.json"))
    state, _ = checkpoint.load_latest(folder / "checkpoint.pt")
    loaded = ssl_isda.load(folder).network.state_dict()
    for name, value in loaded.items():
        assert torch.equal(value, state["objective"][f"average.{name}"]), name
    assert not torch.equal(loaded["head.weight"], state["student"]["head.weight"])
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= last["agreement"] <= 100
