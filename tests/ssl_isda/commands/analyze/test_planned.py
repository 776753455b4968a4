"""What runs will cost: operations by hand, and the hours that follow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssl_isda import cli, plugins
from ssl_isda.commands.analyze.counted import GROUPED
from ssl_isda.commands.analyze.options import CostConfig
from ssl_isda.commands.analyze.planned import _what_costs, of_one
from ssl_isda.commands.models import listed
from ssl_isda.settings.resolve import resolve

SHORT = "--config resnet32_cifar10 --schedule cosine --epochs 2 --model resnet20"


def test_training_costs_three_forward_passes() -> None:
    """Two epochs of 391 steps of 128 images, the last counted as whole, and tests of 10,000 images.

    The gradient of the images themselves is not needed, hence a little less.
    """
    plugins.load()
    by_hand = 2 * (391 * 128 * 3 + 10_000) * 2 * (listed("resnet20").multiply_adds or 0)
    supervised, with_isda, mean_teacher = (
        of_one(resolve(f"{SHORT} {flags}".split())).operations
        for flags in ("", "--isda", "--method mean_teacher --labels 4000")
    )
    assert 0.98 * by_hand < supervised < by_hand
    assert supervised < with_isda < 1.01 * supervised
    # three forward passes more for a view of the student, one for the teacher's
    assert mean_teacher == pytest.approx(supervised * (1 + 4 / 3), rel=0.05)


@pytest.mark.parametrize("groups", [1, 4])
def test_gradients_of_grouped_convolutions_cost_as_much_as_they_do(groups: int) -> None:
    convolution = torch.nn.Conv2d(8, 12, 3, padding=1, groups=groups)
    images = torch.randn(2, 8, 5, 5, requires_grad=True)
    with FlopCounterMode(display=False, custom_mapping=GROUPED) as counter:
        convolution(images).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * (2 * 12 * 25) * (8 // groups * 9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--gpu a100", "it goes with --config"),
        ("--config table2 --rounds 3", "leave it or --config"),
    ],
)
def test_flags_of_the_other_kind_of_cost_are_refused(words: str, said: str, capsys) -> None:
    assert cli.main(["analyze", "cost", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_what_a_step_sees_and_partial_batches_are_told_apart() -> None:
    plugins.load()
    crops = "--method supervised --config cityscapes --crop-size {}"
    for one, other in (
        (crops.format(513), crops.format(769)),
        (f"{SHORT} --partial-batches", f"{SHORT} --no-partial-batches"),
    ):
        first, second = (_what_costs(resolve(each.split())) for each in (one, other))
        assert first != second


def test_a_grid_is_counted_once_a_cell(tmp_path: Path, capsys) -> None:
    grid = tmp_path / "grid.yaml"
    learned = "isda: true\n    covariance: learned\n    uncertainty_weight: [0.1, 1]"
    seeds = "seed: [0, 1, 2]"
    grid.write_text(
        f"runs:\n  - config: resnet32_cifar10\n    depth: 8\n    {seeds}\n    {learned}\n"
    )
    words = ["analyze", "cost", "--config", str(grid), "--out", str(tmp_path)]
    assert cli.main([*words, "--gpu", "a100", "--share", "0.5", "--launch-us", "0"]) == 0
    said = capsys.readouterr().out
    assert said.count("counting") == 1 and "a100 of 312 TFLOP/s" in said
    (row,) = json.loads((tmp_path / "planned_cost.json").read_text())["runs"]
    assert row["num_runs"] == 6 and row["name"] == "cifar10-all/supervised+isda-resnet32"
    assert row["hours"] == pytest.approx(row["operations"] / (312e12 * 0.5 * 3600))
    assert cli.main([*words, "--launch-us", "1000"]) == 0
    assert " k |" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "planned_cost.json").read_text())["runs"]
    assert row["hours"] == pytest.approx(row["kernels"] * 1e-3 / 3600)


@pytest.mark.parametrize("config", ["imagenet_resnet50", "cityscapes"])
def test_runs_of_large_images_are_counted(config: str) -> None:
    """ResNet-50 has 4.09 G multiply-adds; a narrow network in place of PSPNet, at its crops' size."""
    dense = config == "cityscapes"
    flags = "--method supervised --model small_fcn --width 0.1" if dense else ""
    found = of_one(resolve(["--config", config, *flags.split()]))
    if dense:
        larger = resolve(["--config", config, *flags.split(), "--crop-size", "1537"])
        assert 3.4 < of_one(larger).operations / found.operations < 4  # tests cost what they did
        return
    by_hand = 300 * (2502 * 512 * 3 + 50_000) * 2 * 4.09e9
    assert found.operations == pytest.approx(by_hand, rel=0.02)
    one, eight = (CostConfig(gpus=number, launch_us=0) for number in (1, 8))
    sent = 2 * 7 / 8 * 300 * 2502 * 4 * 25_557_032 / 50e9
    assert found.seconds(eight) == pytest.approx(found.seconds(one) / 8 + sent)
