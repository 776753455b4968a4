"""What holds for every optimizer and schedule, and how a network's parameters are grouped."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.models import CNN13
from ssl_isda.optim import OPTIMIZERS, SCHEDULES
from ssl_isda.optim.contract import Group
from ssl_isda.optim.groups import groups_of, merged
from ssl_isda.optim.warmup import warmed_up

CPU = torch.device("cpu")
SGD = {"momentum": 0.9, "weight_decay": 1e-4}
PLAIN = [
    ("sgd", {}, lambda p: torch.optim.SGD(p, 0.02, **SGD, nesterov=True)),
    ("sgd", {"nesterov": False}, lambda p: torch.optim.SGD(p, 0.02, **SGD)),
    ("adamw", {}, lambda p: torch.optim.AdamW(p, 0.02)),
]


def test_every_optimizer_is_held_against_pytorch() -> None:
    assert {name for name, *_ in PLAIN} == set(OPTIMIZERS), "a new optimizer belongs above"


@pytest.mark.parametrize(("name", "options", "of_pytorch"), PLAIN)
def test_steps_and_states_are_those_of_pytorch(name, options, of_pytorch) -> None:
    """Over five steps, the state saved and loaded in between; a group's own weight decay counts."""
    ours, theirs = (nn.Parameter(torch.arange(6.0)) for _ in range(2))
    fixed, free = (nn.Parameter(torch.ones(3)) for _ in range(2))
    groups = [Group([ours]), Group([fixed], weight_decay=0.0), Group([free], weight_decay=0.5)]
    build = OPTIMIZERS[name](OPTIMIZERS.config(name)(**options))
    optimizer, plain = build(groups, CPU), of_pytorch([theirs])
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
        ("polynomial", {}, [1.0, 0.75**0.9, 0.5**0.9, 0.25**0.9]),
        ("polynomial", {"power": 1.0}, [1.0, 0.75, 0.5, 0.25]),
    ],
)
def test_schedules(name: str, options: dict[str, object], expected: list[float]) -> None:
    schedule = SCHEDULES[name](SCHEDULES.config(name)(**options))
    found = [schedule(Step(index, 4, 2)) for index in range(4)]
    assert found == pytest.approx(expected, abs=1e-6)
    known = {"cosine", "cosine_7_16", "multistep", "polynomial"}
    assert set(SCHEDULES) == known, "a new schedule belongs above"


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
        groups_of(network, layer_decay=0.5)


def test_what_a_network_says_is_not_decayed_either() -> None:
    """As timm's transformers do."""

    class WithToken(CNN13):
        def __init__(self) -> None:
            super().__init__(3, width=0.05)
            self.token = nn.Parameter(torch.zeros(1, 1, 4))

        def no_weight_decay(self) -> set[str]:
            return {"token", "absent"}

    network = WithToken()
    undecayed = [g for g in groups_of(network, decay_norms=False) if g.weight_decay == 0]
    assert any(p is network.token for group in undecayed for p in group.parameters)
    (all_of_them,) = groups_of(network)
    assert any(p is network.token for p in all_of_them.parameters)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_warms_up_linearly(name: str) -> None:
    schedule = SCHEDULES[name](SCHEDULES.config(name)())
    steps = [Step(index, 12, 3) for index in range(12)]
    found = [warmed_up(schedule, 4)(step) for step in steps]
    factors = [0.25, 0.5, 0.75, 1.0, *[1.0] * 8]
    assert found == [f * schedule(step) for f, step in zip(factors, steps, strict=True)]


def plain_adamw(
    weights: dict[str, Tensor], rates: dict[str, float], decays: dict[str, float], gradients
) -> None:
    """Alg. 2 of Loshchilov & Hutter, number by number, with PyTorch's default betas."""
    means = {name: torch.zeros_like(w) for name, w in weights.items()}
    squares = {name: torch.zeros_like(w) for name, w in weights.items()}
    for t in range(1, 6):
        for name, g in gradients(t).items():
            rate = rates[name] * min(1.0, t / 3)  # a warm-up of three steps
            means[name] = 0.9 * means[name] + 0.1 * g
            squares[name] = 0.999 * squares[name] + 0.001 * g * g
            step = (means[name] / (1 - 0.9**t)) / ((squares[name] / (1 - 0.999**t)).sqrt() + 1e-8)
            weights[name] = weights[name] * (1 - rate * decays[name]) - rate * step


def test_adamw_with_layer_decay_and_warm_up_is_the_plain_one() -> None:
    network = CNN13(3, width=0.05).double()

    def gradients(t: int) -> dict[str, Tensor]:
        g = torch.Generator().manual_seed(t)
        named = network.named_parameters()
        return {n: torch.randn(p.shape, generator=g, dtype=p.dtype) for n, p in named}

    depth = {id(p): 3 - k for k, stage in enumerate(network.stages()) for p in stage}
    expected = {name: p.detach().clone() for name, p in network.named_parameters()}
    rates = {name: 0.01 * 0.65 ** depth[id(p)] for name, p in network.named_parameters()}
    decays = {name: 0.05 * (p.ndim > 1) for name, p in network.named_parameters()}
    plain_adamw(expected, rates, decays, gradients)

    groups = groups_of(network, layer_decay=0.65, decay_norms=False)
    optimizer = OPTIMIZERS["adamw"](OPTIMIZERS.config("adamw")(weight_decay=0.05))(
        groups, torch.device("cpu")
    )
    schedule = warmed_up(lambda step: 1.0, 3)
    for t in range(1, 6):
        for group, described in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = 0.01 * schedule(Step(t - 1, 5, 5)) * described.rate_scale
        given = gradients(t)
        for name, parameter in network.named_parameters():
            parameter.grad = given[name]
        optimizer.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-12, atol=1e-14)
