"""Every pair that is registered: its images, its losses against float64 references, its gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.generators.contract import GANS, Draw, Gan, Losses, images_of, pixels_of
from ssl_isda.generators.distances import frechet_distance, kernel_distance
from ssl_isda.generators.gradient_penalty import gradient_penalty

SHAPES = [(1, 8, 8), (1, 8, 16), (3, 16, 16), (3, 32, 32)]
NUM_CLASSES, N = 3, 5


def pair(name: str, shape: tuple[int, ...] = (1, 8, 8), **options: object) -> Gan:
    torch.manual_seed(0)
    config = GANS.config(name)(channels=4, **options)
    return GANS[name](config, num_classes=NUM_CLASSES, shape=shape)


def batch(gan: Gan, shape: tuple[int, ...], one: bool = False) -> tuple[Tensor, Tensor, Draw]:
    generator = torch.Generator().manual_seed(1)
    real = 2 * torch.rand(N, *shape, generator=generator) - 1
    labels = torch.full((N,), 2) if one else torch.arange(N) % NUM_CLASSES
    classes = labels if one else labels.flip(0)
    mixture = torch.rand(N, 1, 1, 1, generator=generator)
    return real, labels, Draw(gan.generator.draw(N, generator), classes, mixture)


def wgan(gan: Gan, real: Tensor, labels: Tensor, draw: Draw) -> tuple[Losses, Losses]:
    """Image by image, the penalty's slope by finite differences along itself and two more axes."""
    score = lambda images: gan.critic(images, labels)  # noqa: E731
    fake = gan.generator(draw.z, draw.classes).detach()
    penalty = sum((numerical_slope(score, real, fake, draw, i) - 1) ** 2 for i in range(N)) / N
    return (
        {"critic": score(fake).mean() - score(real).mean(), "penalty": 10 * penalty},
        {"generator": -sum(score(fake)) / N},
    )


def numerical_slope(
    score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, draw: Draw, i: int
) -> Tensor:
    """The norm of the score's central differences in every pixel of image i."""
    u = draw.mixture[i]
    image = u * real[i] + (1 - u) * fake[i]
    steps = 1e-6 * torch.eye(image.numel(), dtype=image.dtype).unflatten(1, image.shape)
    above, below = ([gan_score(score, image + k * step) for step in steps] for k in (1, -1))
    return ((torch.stack(above) - torch.stack(below)) / 2e-6).norm()


def gan_score(score: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    return score(image.expand(N, *image.shape))[0].detach()


def cgan(gan: Gan, real: Tensor, labels: Tensor, draw: Draw) -> tuple[Losses, Losses]:
    fake = gan.generator(draw.z, draw.classes)
    of_real = gan.critic(real, labels).sigmoid()
    of_fake = gan.critic(fake, draw.classes).sigmoid()
    return (
        {"real": -of_real.log().mean(), "generated": -(1 - of_fake).log().mean()},
        {"generator": -of_fake.log().mean()},
    )


def acgan(gan: Gan, real: Tensor, labels: Tensor, draw: Draw) -> tuple[Losses, Losses]:
    of_real, classes, _ = gan.critic(real)
    fake, fake_classes, _ = gan.critic(gan.generator(draw.z, draw.classes))
    named = -torch.stack([classes.softmax(1)[i, labels[i]].log() for i in range(N)]).mean()
    asked = [fake_classes.softmax(1)[i, draw.classes[i]].log() for i in range(N)]
    critic = {"real": -of_real.sigmoid().log().mean()}
    critic["generated"] = -(1 - fake.sigmoid()).log().mean()
    critic |= {"class_of_real": named, "class_of_generated": -torch.stack(asked).mean()}
    generator = {"generator": -fake.sigmoid().log().mean(), "class": -torch.stack(asked).mean()}
    return critic, generator


def infogan(gan: Gan, real: Tensor, labels: Tensor, draw: Draw) -> tuple[Losses, Losses]:
    critic, generator = acgan(gan, real, labels, draw)
    *_, code = gan.critic(gan.generator(draw.z, draw.classes))
    normal = torch.distributions.Normal(code, 0.5**0.5)
    constant = torch.distributions.Normal(0.0, 0.5**0.5).log_prob(torch.zeros(())).double()
    distance = 0.1 * (constant - normal.log_prob(draw.z[:, 100:])).sum(1).mean()
    return critic | {"code_of_generated": distance}, generator | {"code": distance}


REFERENCES = {"wgan": wgan, "cgan": cgan, "acgan": acgan, "infogan": infogan}


@pytest.mark.parametrize("name", GANS)
def test_losses_are_those_of_the_papers_in_float64(name: str) -> None:
    gan = pair(name).double()
    real, labels, draw = batch(gan, (1, 8, 8))
    real, draw = real.double(), Draw(draw.z.double(), draw.classes, draw.mixture.double())
    expected = REFERENCES[name](gan, real, labels, draw)
    found = gan.critic_losses(real, labels, draw), gan.generator_losses(draw)
    for ours, reference in zip(found, expected, strict=True):
        assert ours.keys() == reference.keys()
        for term in ours:
            assert ours[term].item() == pytest.approx(reference[term].item(), rel=1e-6), term


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", [*GANS, "each class"])
def test_images_have_the_asked_shape_and_both_parts_learn(
    name: str, shape: tuple[int, ...]
) -> None:
    one = name == "each class"
    gan = pair("wgan", shape, each_class=True) if one else pair(name, shape)
    real, labels, draw = batch(gan, shape, one)
    images = gan.generated(draw)
    assert images.shape == real.shape and images.abs().max() <= 1
    for part, losses in (
        (gan.critic, gan.critic_losses(real, labels, draw)),
        (gan.generator, gan.generator_losses(draw)),
    ):
        parameters = [p for n, p in part.named_parameters() if not one or n.startswith("of.2.")]
        found = torch.autograd.grad(torch.stack([*losses.values()]).sum(), parameters)
        assert all(each.isfinite().all() and each.abs().sum() > 0 for each in found)


@pytest.mark.parametrize("name", ["cgan", "acgan", "infogan"])
def test_an_image_depends_on_its_class_and_code(name: str) -> None:
    generator = pair(name).generator.eval()
    z = generator.draw(1, torch.Generator().manual_seed(0)).expand(2, -1).clone()
    assert generator.knows_classes
    one, other = generator(z, torch.tensor([0, 1]))
    assert not torch.equal(one, other)
    z[1, -1] += 0.5
    assert not torch.equal(*generator(z, torch.tensor([0, 0])))
    assert generator.num_code == (2 if name == "infogan" else 0)


def test_a_pair_for_each_class_keeps_the_rows_in_order() -> None:
    generator = pair("wgan", each_class=True).generator.eval()
    z, classes = torch.randn(6, 100), torch.tensor([2, 0, 1, 0, 2, 0])
    together = generator(z, classes)
    for row, c in enumerate(classes.tolist()):
        alone = generator.of[c](z[row : row + 1], classes[row : row + 1])
        assert torch.allclose(together[row], alone[0], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 8), (1, 9, 9), (64,)], ids=str)
def test_images_that_no_generator_can_make_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"even sides of more than 4 pixels|vectors of 64"):
        pair("wgan", shape)


def test_gradient_penalty_against_an_independent_double_backward() -> None:
    """Of a critic with a known slope: D(x) = tanh(a . x), whose gradient in a is written out here."""
    torch.manual_seed(0)
    a = torch.randn(12, dtype=torch.float64, requires_grad=True)
    real, fake, u = torch.randn(4, 3, 2, 2).double(), torch.randn(4, 3, 2, 2).double(), 0.3
    mixture = torch.full((4, 1, 1, 1), u, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: (x.flatten(1) @ a).tanh(), real, fake, mixture)
    (found,) = torch.autograd.grad(penalty, a)
    x = (u * real + (1 - u) * fake).flatten(1)
    t = (x @ a.detach()).tanh()
    norm_of_a, slope = a.detach().norm(), (1 - t**2) * a.detach().norm()
    of_slope = (1 - t**2)[:, None] * (-2 * (t * norm_of_a)[:, None] * x + a.detach() / norm_of_a)
    assert penalty.item() == pytest.approx(((slope - 1) ** 2).mean().item())
    assert torch.allclose(found, (2 * (slope - 1)[:, None] * of_slope).mean(0), rtol=1e-9)
    assert torch.autograd.gradcheck(
        lambda w: gradient_penalty(lambda x: (x.flatten(1) @ w).tanh(), real, fake, mixture), a
    )


def test_pixels_and_images_are_each_others_inverse() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(pixels_of(images_of(pixels)), pixels)
    assert pixels_of(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_distances_of_two_normal_distributions() -> None:
    """Of commuting covariances the root is that of the product; equal samples have distance 0."""
    torch.manual_seed(0)
    rows = torch.randn(400, 3).double()
    rows = (rows - rows.mean(0)) @ torch.linalg.cholesky(torch.linalg.inv(torch.cov(rows.T)))
    scales, shift = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([1.0, 0.0, -2.0])
    expected = float(shift.square().sum() + (scales - 1).square().sum())
    assert frechet_distance(rows, rows * scales + shift) == pytest.approx(expected)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    kernel = lambda x, y: (float(x @ y) / 3 + 1) ** 3  # noqa: E731
    x, y = rows[:4], rows[4:7] + 1
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    within = sum(kernel(x[i], x[j]) for i, j in pairs) / 12
    others = sum(kernel(y[i], y[j]) for i in range(3) for j in range(3) if i != j) / 6
    across = sum(kernel(a, b) for a in x for b in y) / 12
    assert kernel_distance(x, y) == pytest.approx(within + others - 2 * across)


def test_batchnorm_is_in_no_critic_with_a_penalty() -> None:
    def norms(module: nn.Module) -> int:
        return sum(isinstance(each, nn.BatchNorm2d) for each in module.modules())

    assert norms(pair("wgan", (3, 32, 32)).critic) == 0 < norms(pair("cgan", (3, 32, 32)).critic)
