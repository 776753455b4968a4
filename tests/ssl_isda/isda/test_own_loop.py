"""The examples of docs/own-loop.md, run as they stand there."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_isda.isda import modules
from ssl_isda.isda.modules import ISDALoss
from tests.commands import TORCHRUN, warm_start
from tests.pages import ROOT, snippet

PAGE = "docs/own-loop.md"


def test_the_page_runs_from_top_to_bottom() -> None:
    """But for the script of several processes."""
    torch.manual_seed(0)
    images, labels = torch.rand(30, 1, 28, 28), torch.arange(30) % 10
    names: dict[str, Any] = {
        "loader": [(images, labels)] * 3,
        "unlabeled": torch.rand(30, 1, 28, 28),
        "pictures": torch.rand(2, 3, 16, 16),
        "masks": torch.randint(0, 19, (2, 16, 16)),
        "device": "cpu",
    }
    text, losses = (ROOT / PAGE).read_text("utf-8"), []
    first = None
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        if "torch.distributed" in code:
            continue
        if "GradScaler" in code:
            names |= {"isda": first, "images": images, "labels": labels}
        exec(code, names)
        first = first or names["isda"]
        losses.append(names["loss"].item())
    assert len(losses) == 6 and all(0 < loss < 10 for loss in losses)
    assert first.steps == 6 and first.covariance.count.sum() == 30 * 6


@pytest.mark.slow
def test_two_processes_have_the_covariances_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gloo: after eight steps of training the state of the loss is that of one process, to rounding."""
    script = tmp_path / "ddp.py"
    script.write_text(snippet(PAGE, "torch.distributed"), encoding="utf-8")
    two = warm_start().run([str(script)], tmp_path, prelude=TORCHRUN)
    assert two.returncode == 0, two.stderr
    monkeypatch.chdir(tmp_path)
    for name, value in alone().items():
        monkeypatch.setenv(name, value)
    exec(compile(script.read_text("utf-8"), script, "exec"), {"__name__": "__main__"})
    one, *two = (torch.load(f"isda{name}.pt") for name in ("0of1", "0of2", "1of2"))
    assert one["covariance.count"].tolist() == [8 * 16] * 4 and one["steps"] == 8
    for state in two:
        for name, value in state.items():
            torch.testing.assert_close(value, one[name], rtol=1e-4, atol=1e-4)


def alone() -> dict[str, str]:
    """What torchrun tells the one process that it starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "1", "RANK": "0"}


def test_processes_may_have_unequally_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of two, whose other has a row more: what is gathered is its own and the other's."""
    features, labels = torch.randn(7, 5), torch.arange(7) % 3
    others = iter([features[3:], labels[3:]] * 2)

    def gathered(own: Tensor) -> Tensor:
        assert len(own) == 4
        return torch.cat([own, next(others)])

    monkeypatch.setattr(modules, "num_processes", lambda: 2)
    monkeypatch.setattr(modules, "largest", lambda number: max(number, 4))
    monkeypatch.setattr(modules, "gathered", gathered)
    ours, whole = ISDALoss(3, 5, 10), ISDALoss(3, 5, 10)
    with pytest.raises(ValueError, match="belong to no class"):
        ours.update(features[:3], torch.eye(3))
    ours(features[:3], labels[:3], torch.nn.Linear(5, 3))
    whole.covariance.update(features, labels)
    isda, soft = ISDALoss(3, 5, 10), torch.eye(3)
    with pytest.warns(UserWarning, match="not mixed"):
        isda(features[:3], soft, torch.nn.Linear(5, 3))  # mixed here, not in the other process
    assert isda.covariance.count.sum() == 4
    states = (each.covariance.state_dict().values() for each in (ours, whole))
    assert all(map(torch.equal, *states))
