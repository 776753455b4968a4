"""Two processes against one on the same batches: every method, without and with ISDA."""

from __future__ import annotations

import pytest
import torch

from ssl_isda.base.void import VOID
from ssl_isda.parallel import distributed
from ssl_isda.parallel.distributed import (
    ProcessLost,
    average_,
    dealt,
    from_first,
    gathered,
    largest,
    part,
    place_of_rows,
    total,
    whole,
)
from tests import pixels_of_several_processes as pixels
from tests.commands import ROOT, TORCHRUN, warm_start
from tests.several_processes import CELLS, num_steps, train_all


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What this process computes, and two meanwhile."""
    folder, found = tmp_path_factory.mktemp("processes"), []
    script = [str(ROOT / "tests/several_processes.py"), str(folder / "two.pt"), "float64"]
    two = warm_start().run(
        script,
        folder,
        prelude=TORCHRUN,
        watch=lambda _: found.append(train_all(torch.float64, folder)),
    )
    assert two.returncode == 0, two.stderr
    return [*found, torch.load(folder / "two.pt", weights_only=True)]


def difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    """The largest, relative to the largest value of each tensor (at least 1)."""
    assert one.keys() == two.keys()
    pairs = [(one[name].double(), two[name].double()) for name in one if one[name].numel()]
    found = [((a - b).abs().max() / a.abs().max().clamp(min=1)).item() for a, b in pairs]
    return max(found, default=0.0)  # a method may have no state


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_two_processes_train_as_one(runs, cell):
    """Where BatchNorm is not synchronized, as one whose halves of a batch have statistics of their own.
    On pixels the half of one process has often no class, or hardly any.

    float64: in fp32 rounding grows with the steps, and would hide a small mistake.

    VAT's direction is a difference of two predictions over xi = 1e-6, and timm's network has BatchNorms
    of one pixel, hence their own tolerances.
    """
    one, two = (found[cell] for found in runs)
    tolerance = 1e-6 if cell[0] == "vat" else 1e-9 if cell[2] == "timm" else 1e-11
    assert len(one["losses"]) == len(two["losses"]) == num_steps(cell[2])
    for mine, theirs in zip(one["losses"], two["losses"], strict=True):
        assert theirs == pytest.approx(mine, abs=tolerance)
    assert difference(one["student"], two["student"]) < tolerance
    assert difference(one["objective"], two["objective"]) < tolerance
    assert difference(one["gradient_norms"], two["gradient_norms"]) < 100 * tolerance
    assert torch.equal(one["confusion"], two["confusion"])
    num_rows = int((pixels.examples()[1] != VOID).sum()) if cell in pixels.CELLS else 36
    assert int(one["confusion"].sum()) == num_rows
    calibration = one["scores"]["calibration_error"]
    assert two["scores"] == {**one["scores"], "calibration_error": pytest.approx(calibration)}


def test_one_process_gets_back_what_it_gave():
    x = torch.arange(6.0).view(3, 2)
    assert whole(x.shape) == (3, 2)
    assert torch.equal(part(x), x) and torch.equal(gathered(x), x)
    average_([x])
    assert torch.equal(x, torch.arange(6.0).view(3, 2))
    assert list(dealt("abc")) == ["a", "b", "c"] and place_of_rows(3) == (0, 3)
    assert from_first(lambda: 7) == 7


@pytest.mark.parametrize(
    "tell",
    [
        lambda: gathered(torch.ones(2)),
        lambda: average_([torch.ones(2)]),
        lambda: total(torch.ones(2)),
        lambda: largest(3),
        lambda: from_first(lambda: 7),
        lambda: place_of_rows(3),
    ],
    ids=["gathered", "average_", "total", "largest", "from_first", "place_of_rows"],
)
def test_where_another_process_is_gone_the_command_ends_with_70(tell, monkeypatch):
    def gone(*_, **__):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(distributed, "num_processes", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    for name in ("all_gather", "all_reduce", "broadcast_object_list"):
        monkeypatch.setattr(distributed.dist, name, gone)
    with pytest.raises(ProcessLost, match="the same command goes on from the last checkpoint") as e:
        tell()
    assert e.value.exit_code == 70
