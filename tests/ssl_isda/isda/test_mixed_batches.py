"""Methods that mix labeled images, trained with ISDA: which bound, and what the covariances see."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.propositions import isda_cross_entropy
from ssl_isda.losses import label_smoothing
from ssl_isda.training.batchnorm import separate_pass
from ssl_isda.training.method import Batch, Method, Targets
from ssl_isda.training.objective import Objective
from tests.methods import tiny

ISDA = IsdaConfig(lambda_0=2.0)
EXPLICIT = IsdaConfig(lambda_0=2.0, augmentation="explicit", augmentation_samples=4000)


class Mixup(Method):
    """Each labeled image with the next one."""

    views = ()

    def mix(self, student, batch, step) -> Batch:
        one_hot = F.one_hot(batch.labels, tiny.C).double()
        images, labels = (0.7 * x + 0.3 * x.roll(1, 0) for x in (batch.images, one_hot))
        return Batch(images, labels, batch.views, batch.indices)


class OwnTerm(Mixup):
    """The same, as a supervised term of its own."""

    def labeled(self, student, batch, prediction, step) -> Targets:
        weight = torch.full((len(batch.labels),), 2.0).double()
        return Targets(prediction.logits, batch.labels, weight)


@pytest.mark.parametrize("method", [Mixup, OwnTerm])
@pytest.mark.parametrize("isda", [ISDA, EXPLICIT], ids=["implicit", "explicit"])
def test_mixed_images_are_bounded_with_the_covariances_of_unmixed_ones(method, isda) -> None:
    network, batch, step = tiny.student(), tiny.batch(0, 0), tiny.step(6)
    objective = Objective(method(), isda, tiny.C, tiny.A).double()
    loss = objective(network, batch, step).losses["supervised"]
    twin = Objective(Mixup(), isda, tiny.C, tiny.A).double().covariance
    twin.update(separate_pass(network, batch.images, step).features, batch.labels)
    for name, buffer in objective.covariance.state_dict().items():
        torch.testing.assert_close(buffer, twin.state_dict()[name])
    assert objective.covariance.count.sum() == len(batch.labels)
    mixed = Mixup().mix(network, batch, step)
    logits, _ = network(mixed.images)
    strength = isda.strength(step.progress)
    bound = isda_cross_entropy(logits, mixed.labels, network.head.weight, twin, strength)
    bound = bound * (2 if method is OwnTerm else 1)
    plain = bound - loss
    if isda is ISDA:
        torch.testing.assert_close(loss, bound)
        assert min(tiny.gradient_norms(loss, network)) > 0
    else:
        assert 0 < plain < 0.5 * bound


def test_without_isda_nothing_passes_twice() -> None:
    network, passes = tiny.student(), []
    network.register_forward_hook(lambda *_: passes.append(1))
    given = (network, tiny.batch(0, 0), tiny.step(6))
    Objective(Mixup(), None, tiny.C, tiny.A)(*given)
    learned = IsdaConfig(covariance="learned", uncertainty_weight=1.0)
    Objective(Mixup(), learned, tiny.C, tiny.A).double()(*given)
    assert len(passes) == 2
    Objective(Mixup(), ISDA, tiny.C, tiny.A).double()(*given)
    assert len(passes) == 4


def test_another_loss_of_mixed_images_needs_draws() -> None:
    loss = label_smoothing.LabelSmoothing(
        label_smoothing.Config(), num_classes=tiny.C, num_features=tiny.A
    )
    given = (tiny.student(), tiny.batch(0, 0), tiny.step(6))
    explicit = Objective(Mixup(), EXPLICIT, tiny.C, tiny.A, loss=loss).double()
    assert explicit(*given).losses["supervised"].isfinite()
    with pytest.raises(UsageError, match="use --loss cross_entropy, or --augmentation explicit"):
        Objective(Mixup(), ISDA, tiny.C, tiny.A, loss=loss).double()(*given)
