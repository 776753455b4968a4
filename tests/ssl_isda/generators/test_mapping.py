"""The way back from features to pixels, against PyTorch's own optimizer, image by image."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.generators.contract import GANS, Generator
from ssl_isda.generators.mapping import Descent, Target, normalised, regain
from ssl_isda.optim.sgd import SGD

N, SHAPE = 3, (1, 8, 8)


def parts() -> tuple[Generator, nn.Module, Target, Tensor]:
    """A generator that knows classes and has a code, a network with BatchNorm, targets, a start."""
    torch.manual_seed(0)
    pair = GANS["infogan"](GANS.config("infogan")(channels=2), num_classes=2, shape=SHAPE)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    for module in (pair.generator, network):
        module.double().eval().requires_grad_(False)
    target = Target(torch.randn(N, 144).double(), torch.tensor([0, 1, 1]))
    return pair.generator, network, target, torch.randn(N, 102).double()


@pytest.mark.parametrize("with_pixels", [False, True])
def test_a_batch_descends_as_pytorchs_sgd_does_image_by_image(with_pixels: bool) -> None:
    generator, network, target, start = parts()
    if with_pixels:
        target = target._replace(images=torch.rand(N, *SHAPE).double(), eta=0.7)
    states = [copy.deepcopy(each.state_dict()) for each in (generator, network)]
    found = regain(generator, network, target, start, Descent(10.0, 8))
    for i in range(N):
        z = start[i].clone().requires_grad_()
        optimizer = SGD([z], momentum=0.9, weight_decay=1e-4)
        for iteration in range(8):
            optimizer.param_groups[0]["lr"] = [10.0, 1.0, 0.1, 0.01][iteration // 2]
            noise = (z[:100] - z[:100].mean()) / z[:100].std()
            image = generator(
                torch.cat([noise, z[100:].clamp(-1, 1)])[None], target.classes[i : i + 1]
            )
            loss = nn.functional.mse_loss(network(image)[0], target.features[i])
            if target.images is not None:
                loss = loss + 0.7 * nn.functional.mse_loss(image[0], target.images[i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert torch.allclose(found.z[i], z.detach(), rtol=1e-9, atol=1e-12)
    after = (network(found.images) - target.features).square().mean(1)
    assert torch.allclose(found.after, after) and torch.equal(network(found.images), found.features)
    assert not torch.equal(found.before, found.after)
    for module, state in zip((generator, network), states, strict=True):
        assert all(torch.equal(value, state[k]) for k, value in module.state_dict().items())


def test_rates_fall_tenfold_after_every_quarter() -> None:
    rates = [Descent(10.0).rate_at(k) for k in (0, 2_499, 2_500, 4_999, 5_000, 7_500, 9_999)]
    assert rates == pytest.approx([10, 10, 1, 1, 0.1, 0.01, 0.01])
    assert [Descent(1.0, 6).rate_at(k) for k in range(6)] == pytest.approx(
        [1, 1, 0.1, 0.01, 0.01, 0.001]
    )


def test_z_is_made_standard_by_its_own_noise_alone() -> None:
    z = 5 * torch.randn(4, 12).double() + 3
    found = normalised(z, 10)
    assert torch.allclose(found[:, :10].mean(1), torch.zeros(4).double(), atol=1e-12)
    assert torch.allclose(found[:, :10].std(1), torch.ones(4).double())
    assert torch.equal(found[:, 10:], z[:, 10:].clamp(-1, 1))


def test_features_that_the_generator_can_make_are_found_again() -> None:
    generator, network, target, start = parts()
    for parameter in generator.parameters():
        parameter.normal_(0, 0.2)  # of fresh weights all images are nearly grey
    wanted = network(generator(normalised(torch.randn(N, 102).double(), 100), target.classes))
    found = regain(generator, network, target._replace(features=wanted), start, Descent(10.0, 200))
    assert found.after.mean() < 0.25 * found.before.mean()
