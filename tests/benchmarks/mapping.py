"""The reverse mapping of 64 images in one batch against the same one by one."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ssl_isda.generators.contract import GANS
from ssl_isda.generators.mapping import Descent, Target, regain
from ssl_isda.models import MODELS
from tests.benchmarks.measurement import Row, Settings, interleaved

NUM_IMAGES, CHANNELS = 64, 32
SHAPE = (3, 32, 32)
ITERATIONS = 4
"""Of each step, in place of the 10,000, which all cost the same."""


def measure(settings: Settings, num_images: int = NUM_IMAGES) -> Iterator[Row]:
    """Both steps with a WGAN's generator and a ResNet-20 for 32 x 32 pixels, in fp32: the time for all
    images, divided by their number, of a batch (ours) and of image by image (reference)."""
    torch.manual_seed(0)
    device = settings.device
    channels = max(1, round(CHANNELS * settings.width))
    config = GANS.config("wgan")(channels=channels)
    generator = GANS["wgan"](config, num_classes=10, shape=SHAPE).generator.eval().to(device)
    options = MODELS.config("resnet20")(width=settings.width)
    network = MODELS["resnet20"](options, num_classes=10, shape=SHAPE).eval().to(device)
    for module in (generator, network):
        module.requires_grad_(False)
    images = 2 * torch.rand(num_images, *SHAPE, device=device) - 1
    classes = torch.zeros(num_images, dtype=torch.int64, device=device)
    features = network.features(images)
    start = generator.draw(num_images, torch.Generator().manual_seed(0)).to(device)

    def both_steps(rows: slice) -> None:
        first = Target(features[rows], classes[rows], images[rows], 1.0)
        found = regain(generator, network.features, first, start[rows], Descent(10.0, ITERATIONS))
        second = first._replace(features=first.features + 0.1, images=None)
        regain(generator, network.features, second, found.z, Descent(1.0, ITERATIONS))

    def one_by_one() -> None:
        for k in range(num_images):
            both_steps(slice(k, k + 1))

    calls = {"ours": lambda: both_steps(slice(None)), "one by one": one_by_one}
    seconds = interleaved(calls, settings)
    per_image = {
        name: [each / num_images / (2 * ITERATIONS) for each in times]
        for name, times in seconds.items()
    }
    case = f"an image's iteration, {num_images} together / alone"
    yield Row("mapping", case, per_image["ours"], per_image["one by one"])
