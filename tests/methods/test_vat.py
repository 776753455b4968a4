"""VAT against its equations, and its direction against the true curvature."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_isda.losses.consistency import softmax_kl
from ssl_isda.methods.vat import default_xi
from ssl_isda.models import CNN13
from ssl_isda.training.method import separate_pass
from tests.methods import tiny

CONVOLUTION_BACKWARD = torch.ops.aten.convolution_backward.default


def kl(p: Tensor, q: Tensor) -> Tensor:
    return sum(p[i, k] * (p[i, k] / q[i, k]).log() for i in range(len(p)) for k in range(tiny.C))


def unit(x: Tensor) -> Tensor:
    return torch.stack([row / row.square().sum().sqrt() for row in x])


def reference(network, batch, step, epsilon=8.0, xi=1e-6, iterations=1) -> Tensor:
    x = batch.views[0]
    g = step.generator("vat direction")
    d = unit(torch.randn(x.shape, generator=g).double())
    p = network(x)[0].softmax(1).detach()
    for _ in range(iterations):
        r = (xi * d).requires_grad_()
        (gradient,) = torch.autograd.grad(kl(p, network(x + r)[0].softmax(1)), r)
        d = unit(gradient)
    q = network(x + epsilon * d)[0].softmax(1)
    return kl(p, q) / len(p)


@pytest.mark.parametrize("iterations", [1, 3])
def test_equals_its_equations_over_many_steps(iterations: int) -> None:
    # xi = 1e-4: the loop below and the log-softmax of ours round differently at 1e-6.
    options = {"epsilon": 2.0, "xi": 1e-4, "num_power_iterations": iterations}
    network, _, losses = tiny.train("vat", steps=8, **options)
    obvious, expected = tiny.train_reference(
        lambda net, b, s: reference(net, b, s, 2.0, 1e-4, iterations), num_views=1, steps=8
    )
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected), rtol=1e-6, atol=0)
    for p, q in zip(network.parameters(), obvious.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_entropy_term_is_the_entropy_of_clean_predictions() -> None:
    network, b = tiny.student(), tiny.batch(0, 1)
    views = [network(b.views[0])]
    plain = tiny.build("vat", network)(network, b, views, tiny.step(0))
    both = tiny.build("vat", network, entropy_weight=0.5)(network, b, views, tiny.step(0))
    logits = views[0].logits
    p = logits.softmax(1)
    entropy = -(p * p.log()).sum() / len(p)
    torch.testing.assert_close(both - plain, 0.5 * entropy)
    assert min(tiny.gradient_norms(both - plain, network)) > 0


def test_gradient_reaches_the_student_and_not_the_clean_prediction() -> None:
    network, b = tiny.student(), tiny.batch(0, 1)
    method = tiny.build("vat", network)
    views = [network(b.views[0])]
    logits = views[0].logits
    loss = method(network, b, views, tiny.step(0))
    assert min(tiny.gradient_norms(loss, network)) > 0
    (gradient,) = torch.autograd.grad(loss, logits, allow_unused=True)
    assert gradient is None


def test_direction_is_the_curvature_times_the_draw() -> None:
    """g / xi -> H d with H = J^T (diag p - p p^T) J, formed in full, image by image."""
    network, b, s = tiny.student(), tiny.batch(0, 1), tiny.step(0)
    images = b.views[0]
    method = tiny.build("vat", network, epsilon=1.0)
    r = method.adversarial_perturbation(network, images, network(images)[0], s)
    draws = torch.randn(images.shape, generator=s.generator("vat direction")).double()
    for image, direction, d in zip(images, r, draws, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda x: network(x.view(1, *tiny.PIXELS))[0][0], image.flatten()
        )
        p = network(image[None])[0].softmax(1)[0].detach()
        exact = jacobian.T @ (p.diag() - torch.outer(p, p)) @ jacobian @ d.flatten()
        cosine = torch.nn.functional.cosine_similarity(exact, direction.flatten(), dim=0)
        assert cosine > 0.9999


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_perturbation_has_norm_epsilon_and_is_adversarial(epsilon: float) -> None:
    network, b = tiny.student(), tiny.batch(0, 1)
    images = b.views[0]
    method = tiny.build("vat", network, epsilon=epsilon)
    r = method.adversarial_perturbation(network, images, network(images)[0], tiny.step(0))
    assert not r.requires_grad
    torch.testing.assert_close(r.flatten(1).norm(dim=1), torch.full((6,), epsilon).double())
    clean = network(images)[0]
    random = epsilon * unit(torch.randn(6, 32, dtype=torch.float64)).view_as(images)
    assert softmax_kl(clean, network(images + r)[0]) > softmax_kl(
        clean, network(images + random)[0]
    )


def direction(dtype: torch.dtype, xi: float | None = None, *, bf16: bool = False) -> Tensor:
    """Of a fresh narrow CNN-13 on eight images, computed in ``dtype``, with passes in bf16 if asked."""
    torch.manual_seed(0)
    network, images = CNN13(10, width=0.1).to(dtype), torch.randn(8, 3, 16, 16).to(dtype)
    method = tiny.build("vat", network, xi=xi, epsilon=4.0)
    s = tiny.step(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        clean = separate_pass(network, images, s).logits
        r = method.adversarial_perturbation(network, images, clean, s)
    return r.double()


def cosine(r: Tensor, exact: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(r.flatten(1), exact.flatten(1))


def test_fp32_direction_agrees_with_float64_where_the_papers_xi_is_lost_to_rounding() -> None:
    exact = direction(torch.float64)
    assert cosine(direction(torch.float32), exact).min() > 0.99
    assert cosine(direction(torch.float32, 1e-6), exact).mean() < 0.5


def test_bf16_direction_is_as_adversarial_as_the_exact_one() -> None:
    exact, in_bf16 = direction(torch.float64), direction(torch.float32, bf16=True)
    assert cosine(in_bf16, exact).mean() > 0.6
    assert cosine(direction(torch.float32, 1e-2, bf16=True), exact).mean() < 0.4

    torch.manual_seed(0)
    network, images = CNN13(10, width=0.1).double(), torch.randn(8, 3, 16, 16).double()

    def divergence(r: Tensor) -> Tensor:
        passes = (separate_pass(network, x, tiny.step(0)).logits for x in (images, images + r))
        return softmax_kl(*passes)

    random = 4 * unit(torch.randn(8, 768, dtype=torch.float64)).view_as(images)
    assert divergence(in_bf16) > 0.9 * divergence(exact) > 4 * divergence(random)


class Tf32(TorchDispatchMode):
    """Convolutions round what they are given as a GPU does: to 10 bits after the binary point."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator in (torch.ops.aten.convolution.default, CONVOLUTION_BACKWARD):
            args = [_rounded(a) if isinstance(a, Tensor) else a for a in args]
        return operator(*args, **(kwargs or {}))


def _rounded(x: Tensor) -> Tensor:
    bits = x.contiguous().view(torch.int32)
    return ((bits + (1 << 12)) >> 13 << 13).view(torch.float32)


def test_a_gpus_default_xi_survives_its_rounding_and_a_processors_does_not() -> None:
    exact = direction(torch.float64)
    with Tf32():
        on_gpu = direction(torch.float32, default_xi(OnGpu(), epsilon=4.0))
        as_on_cpu = direction(torch.float32)
    assert cosine(on_gpu, exact).mean() > 0.9
    assert cosine(as_on_cpu, exact).mean() < 0.6


class OnGpu:
    """What the default asks of images in a GPU's memory."""

    dtype, device, is_cuda = torch.float32, torch.device("cuda"), True


def test_all_unlabeled_passes_draw_the_same_dropout_masks() -> None:
    """With epsilon = 0 the adversarial pass repeats the clean one, masks and batch statistics."""
    network = tiny.student(noisy=True).train()
    from ssl_isda.training.objective import Objective

    method = tiny.build("vat", network, epsilon=0.0)
    objective = Objective(method, None, tiny.C, tiny.A).double()
    terms = objective(network, tiny.batch(0, 1), tiny.step(0))
    assert terms.losses["consistency"] == 0


def test_the_direction_asks_for_no_gradient_of_parameters() -> None:
    network = tiny.student()
    network.head.bias.requires_grad_(False)
    asked = []
    network.register_forward_hook(
        lambda module, *_: asked.append([p.requires_grad for p in module.parameters()])
    )
    before = [p.requires_grad for p in network.parameters()]
    method = tiny.build("vat", network, num_power_iterations=2)
    images = tiny.batch(0, 1).views[0]
    method.adversarial_perturbation(network, images, torch.zeros(6, tiny.C), tiny.step(0))
    assert len(asked) == 2 and not any(map(any, asked))
    assert [p.requires_grad for p in network.parameters()] == before


def test_only_the_labeled_pass_updates_running_statistics() -> None:
    from ssl_isda.training.objective import Objective

    network, b = tiny.student(noisy=True).train(), tiny.batch(0, 1)
    objective = Objective(tiny.build("vat", network), None, tiny.C, tiny.A).double()
    expected = 0.1 * network.body[:2](b.images).mean(0)
    objective(network, b, tiny.step(0))
    torch.testing.assert_close(network.body[2].running_mean, expected)
    assert network.body[2].num_batches_tracked == 1


@pytest.mark.fault(19)
def test_fault_19_flat_predictions_give_no_perturbation_and_a_finite_loss() -> None:
    network, b = tiny.student(), tiny.batch(0, 1)
    torch.nn.init.zeros_(network.head.weight)
    method = tiny.build("vat", network)
    views = [network(b.views[0])]
    logits = views[0].logits
    r = method.adversarial_perturbation(network, b.views[0], logits, tiny.step(0))
    assert torch.equal(r, torch.zeros_like(r))
    loss = method(network, b, views, tiny.step(0))
    assert loss == 0
    assert all(torch.isfinite(p).all() for p in torch.autograd.grad(loss, network.parameters()))


@pytest.mark.parametrize(
    ("entropy_weight", "isda", "graph"),
    [(0.0, False, False), (1.0, False, True), (0.0, True, True)],
)
def test_the_clean_pass_keeps_a_graph_where_someone_differentiates_it(
    entropy_weight: float, isda: bool, graph: bool
) -> None:
    from ssl_isda.isda.config import IsdaConfig
    from ssl_isda.training.objective import Objective

    network = tiny.student()
    method = tiny.build("vat", network, entropy_weight=entropy_weight, epsilon=0.0)
    objective = Objective(method, IsdaConfig() if isda else None, tiny.C, tiny.A).double()
    seen = []
    method.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2][0]))
    terms = objective(network, tiny.batch(0, 1), tiny.step(6))
    assert [clean.logits.requires_grad for clean in seen] == [graph]
    if entropy_weight:
        assert min(tiny.gradient_norms(terms.losses["consistency"], network)) > 0
    if isda:
        assert min(tiny.gradient_norms(terms.losses["semantic"], network)) > 0
