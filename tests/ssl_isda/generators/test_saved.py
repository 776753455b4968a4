"""Generators that others wrote: by a name, or as an exported program; and those that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.generators.contract import GENERATORS
from ssl_isda.generators.saved import read_generator, refuse_misfit

CPU = torch.device("cpu")


class Own(nn.Module):
    """7 numbers to an image of 1 x 2 x 3."""

    num_noise = 7

    def __init__(self, change: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.map, self.change = nn.Linear(7, 6), change
        self.drop = nn.Dropout(0.5)

    def forward(self, z: Tensor) -> Tensor:
        return self.change(self.drop(self.map(z))).view(-1, 1, 2, 3)


def test_a_registered_module_and_its_exported_program_are_one(tmp_path: Path) -> None:
    module = Own().eval()
    GENERATORS.register("own")(lambda: module.train())
    z = torch.randn(4, 7)
    batch = torch.export.Dim("n")
    program = torch.export.export(module, (z,), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "own.pt2")
    for place in (Path("own"), tmp_path / "own.pt2"):
        saved = read_generator(place, CPU)
        assert saved.generator.num_noise == 7 and not saved.generator.knows_classes
        refuse_misfit(saved, (1, 2, 3), 10)
        images = saved.generator(z, torch.zeros(4).long())
        assert torch.equal(images, saved.generator(z, torch.zeros(4).long()))  # no dropout
        assert torch.allclose(images, module.eval()(z)) and not images.requires_grad


@pytest.mark.parametrize(
    ("change", "shape", "told"),
    [
        (torch.tanh, (1, 3, 2), "makes images of 1 x 2 x 3, and those of the run are 1 x 3 x 2"),
        (lambda x: 3 + x.exp(), (1, 2, 3), "they must be from -1 to 1"),
        (lambda x: x / 0, (1, 2, 3), "they must be from -1 to 1"),
        (lambda x: x @ x, (1, 2, 3), "makes no images of z: RuntimeError"),
    ],
    ids=["shape", "range", "not finite", "error"],
)
def test_a_generator_that_does_not_fit_is_refused(
    change: Callable[[Tensor], Tensor], shape: tuple[int, ...], told: str
) -> None:
    GENERATORS.register("misfit")(lambda: Own(change))
    with pytest.raises(UsageError, match=told):
        refuse_misfit(read_generator(Path("misfit"), CPU), shape, 10)


def test_what_is_no_generator_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.pt2").write_bytes(b"no archive")
    (tmp_path / "folder").mkdir()
    for name, told in (
        ("none", "no such folder of generate train"),
        ("broken.pt2", "cannot be read"),
        ("folder", "has no generator.json"),
    ):
        with pytest.raises(UsageError, match=told):
            read_generator(tmp_path / name, CPU)
