"""What holds for every optimizer and schedule, and how a network's parameters are grouped."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from ssl_isda.base.step import Step
from ssl_isda.models import CNN13
from ssl_isda.optim import OPTIMIZERS, SCHEDULES
from ssl_isda.optim.contract import Group
from ssl_isda.optim.groups import groups_of, merged

CPU = torch.device("cpu")
PLAIN = {
    "sgd": lambda p: torch.optim.SGD(p, 0.02, 0.9, weight_decay=1e-4, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.02),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_and_states_are_those_of_pytorch(name: str) -> None:
    """Over five steps, the state saved and loaded in between; a group's own weight decay counts."""
    ours, theirs = (nn.Parameter(torch.arange(6.0)) for _ in range(2))
    fixed, free = (nn.Parameter(torch.ones(3)) for _ in range(2))
    groups = [Group([ours]), Group([fixed], weight_decay=0.0), Group([free], weight_decay=0.5)]
    build = OPTIMIZERS[name](OPTIMIZERS.config(name)())
    optimizer, plain = build(groups, CPU), PLAIN[name]([theirs])
    for t in range(5):
        fresh = build(groups, CPU)
        fresh.load_state_dict(optimizer.state_dict())
        optimizer = fresh
        for group in optimizer.param_groups:
            group["lr"] = 0.02
        ours.grad = theirs.grad = torch.full((6,), 0.1 * t - 0.2)
        fixed.grad = free.grad = torch.zeros(3)
        optimizer.step()
        plain.step()
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(fixed, torch.ones(3)) and free.max() < 1


def test_no_optimizer_loads_the_compiler() -> None:
    code = (
        "import sys, torch; from ssl_isda.optim import OPTIMIZERS; from ssl_isda.optim.contract import "
        "Group; p = torch.nn.Parameter(torch.ones(2)); p.grad = torch.ones(2)\n"
        "for name in OPTIMIZERS:\n"
        "    o = OPTIMIZERS[name](OPTIMIZERS.config(name)())([Group([p])], torch.device('cpu'))\n"
        "    o.step(); o.load_state_dict(o.state_dict()); o.zero_grad()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cosine", {}, [1.0, 0.853553, 0.5, 0.146447]),
        ("cosine_7_16", {}, [1.0, 0.941544, 0.77301, 0.514103]),
        ("multistep", {}, [1.0, 1.0, 0.1, 0.01]),
        ("multistep", {"milestones": (0.25,), "decay": 0.5}, [1.0, 0.5, 0.5, 0.5]),
    ],
)
def test_schedules(name: str, options: dict[str, object], expected: list[float]) -> None:
    schedule = SCHEDULES[name](SCHEDULES.config(name)(**options))
    found = [schedule(Step(index, 4, 2)) for index in range(4)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert set(SCHEDULES) == {"cosine", "cosine_7_16", "multistep"}, "a new schedule belongs above"


@pytest.mark.parametrize(
    ("milestones", "index", "expected"),
    [((2, 4), 2, 1.0), ((2, 4), 3, 0.1), ((2, 4), 8, 0.1), ((2, 4), 9, 0.01), ((0.5, 4), 6, 0.1)],
)
def test_milestones_above_1_are_epochs_from_1_on(milestones, index, expected) -> None:
    """Of 3 steps each: the rate of epoch 2 is the first that has fallen."""
    schedule = SCHEDULES["multistep"](SCHEDULES.config("multistep")(milestones=milestones))
    assert schedule(Step(index, 12, 3)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("milestones", "said"),
    [
        ((0.5, 1.5), "shares of the run, 0 to 1, or whole epochs above 1; got 0.5 1.5"),
        ((-0.5,), "got -0.5"),
        ((2, 80), "milestones 2 80: the run ends with epoch 4"),
    ],
)
def test_milestones_outside_the_run_are_refused(milestones, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        SCHEDULES["multistep"](SCHEDULES.config("multistep")(milestones=milestones))(Step(0, 12, 3))


def test_groups_are_one_unless_asked_otherwise() -> None:
    network = CNN13(3, width=0.05)
    (group,) = groups_of(network)
    assert [*map(id, group.parameters)] == [*map(id, network.parameters())]
    extra = nn.Parameter(torch.ones(1))
    (joined,) = merged([group, Group([extra])])
    assert joined.parameters[-1] is extra and joined.rate_scale == 1.0


def test_layer_decay_and_norms_without_weight_decay() -> None:
    network = CNN13(3, width=0.05)
    groups = groups_of(network, layer_decay=0.5, decay_norms=False)
    of = {
        id(p): (group.rate_scale, group.weight_decay) for group in groups for p in group.parameters
    }
    assert len(of) == len([*network.parameters()])
    assert of[id(network.body[0].weight)] == (0.125, None)  # three stages below the head
    assert of[id(network.body[1].weight)] == of[id(network.body[1].bias)] == (0.125, 0.0)
    assert of[id(network.body[-3].weight)] == (0.5, None)
    assert of[id(network.head.weight)] == (1.0, None) and of[id(network.head.bias)] == (1.0, 0.0)


def test_a_parameter_that_no_stage_names_is_refused() -> None:
    network = CNN13(3, width=0.05)
    network.stages = lambda: [list(network.head.parameters())]
    with pytest.raises(ValueError, match=r"CNN13\.stages\(\) must name each parameter once"):
        groups_of(network)
