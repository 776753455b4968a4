"""``run.py generate train``: from what was asked to a folder with its result.

generator.json  split.json  metrics.jsonl  timing.jsonl  log.txt  checkpoint.pt  samples.png  result.json
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ssl_isda import plugins
from ssl_isda.assembly.devices import device_named
from ssl_isda.assembly.step_training import trained
from ssl_isda.assembly.workspace import images_of
from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import show
from ssl_isda.base.randomness import global_draws
from ssl_isda.base.words import printed
from ssl_isda.commands.generate.loop import GanTrainer, LengthAndRates
from ssl_isda.commands.generate.making import picture
from ssl_isda.commands.generate.options import Asked
from ssl_isda.commands.generate.real_images import RealImages
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.splits import Split, load_split, make_split
from ssl_isda.generators.contract import Gan
from ssl_isda.generators.saved import FILE_NAME, FORMAT, built
from ssl_isda.runs.described_folder import DescribedFolder
from ssl_isda.runs.tracking import Tracker
from ssl_isda.runs.wandb_view import WandbView


def train(asked: Asked) -> int:
    """Train the generator, or go on with it; one that is done is left as it is."""
    config = asked.config
    if config.threads:
        torch.set_num_threads(config.threads)
    device = device_named(config.device)
    plugins.load(config.plugin)
    data = images_of(asked.data)
    words = _words(asked, data)
    with global_draws(config.seed, 0, "initial weights", torch.device("cpu")):
        gan = built(words).to(device)
    split = _split_of(asked, data, needs_labels=gan.generator.knows_classes)
    real = RealImages(
        *(data.train, torch.tensor(split.labeled), data.class_names),
        batch_size=config.batch_size,
        seed=config.seed,
        each_class=gan.each_class,
        critic_steps=gan.critic_steps,
        device=device,
    )
    words["images_learned"] = hashlib.sha256(str(split.labeled).encode()).hexdigest()
    folder = DescribedFolder(asked.path, words, FILE_NAME, "a generator")
    with folder.opened(fresh=config.fresh):
        result = folder.result() or _trained(folder, asked, split, gan, real)
    show(f"{printed(folder.path)}: {_in_words(result)}")
    return 0


def _words(asked: Asked, data: ImageData) -> dict[str, Any]:
    """What the generator is and what it depends on."""
    config = asked.config
    return {
        "format": FORMAT,
        "gan": config.gan,
        "options": asked.gan_options,
        "shape": list(data.train.shape),
        "class_names": list(data.class_names),
        "dataset": config.dataset,
        "labels": config.labels,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "log_steps": config.log_steps,
        "seed": config.seed,
        "data_digest": data.digests[0],
    }


def _trained(
    folder: DescribedFolder, asked: Asked, split: Split, gan: Gan, real: RealImages
) -> dict[str, Any]:
    config, options = asked.config, asked.gan_options
    split.save(folder.path / "split.json")
    rates = {name: options[name] for name in ("learning_rate", "beta_1", "beta_2")}
    minutes = config.checkpoint_minutes
    length = LengthAndRates(
        config.steps, config.log_steps, config.seed, **rates, checkpoint_minutes=minutes
    )
    trainer = GanTrainer(gan, real, length, Tracker(folder.path))

    def finished() -> Mapping[str, Any]:
        samples = folder.path / "samples.png"
        write_atomically(samples, picture(gan.generator, folder.words["class_names"], real.device))
        if isinstance(trainer.tracker.view, WandbView):
            trainer.tracker.view.show_image("samples", samples)
        return _result(folder, trainer, split)

    return trained(
        *(folder, trainer, config, ["generate", "train", *asked.arguments]),
        opening=_opening_line(asked, split, trainer),
        tags=[config.gan, config.dataset, "generator"],
        finished=finished,
    )


def _split_of(asked: Asked, data: ImageData, *, needs_labels: bool) -> Split:
    """Whose images are learned: the labeled ones of a run, or all, which stand as labeled ones."""
    labels = data.train.labels
    assert labels is not None
    belongs: dict[str, Any] = {"dataset": data.name, "checksum": data.train.fingerprint}
    belongs["test"] = data.drawn_test
    config = asked.config
    if config.split:
        return load_split(config.split, labels=labels, **belongs)
    if config.labels:
        return make_split(
            labels,
            num_classes=len(data.class_names),
            amounts=Amounts(labels=config.labels),
            seed=config.seed,
            **belongs,
        )
    places = _all(labels, needs_labels)
    if not len(places):
        raise UsageError(f"{data.name} has no labeled training image, and --gan needs classes")
    return Split(seed=config.seed, labeled=tuple(places.tolist()), **belongs)


def _all(labels: Tensor, needs_labels: bool) -> Tensor:
    return (labels >= 0).nonzero().flatten() if needs_labels else torch.arange(len(labels))


def _opening_line(asked: Asked, split: Split, trainer: GanTrainer) -> str:
    config, sizes = asked.config, {}
    for name, parameters in trainer.parts.items():
        sizes[name] = sum(parameter.numel() for parameter in parameters)
    return (
        f"{config.gan} on {config.dataset}: {len(split.labeled):,} images; generator with "
        f"{sizes['generator']:,} parameters, critic with {sizes['critic']:,}; {config.steps:,} steps on "
        f"{trainer.real.device.type} in fp32"
    )


def _result(folder: DescribedFolder, trainer: GanTrainer, split: Split) -> dict[str, Any]:
    last = trainer.tracker.history()[-1]
    losses = {
        f"{name}_loss": value for name, value in last.items() if name not in ("epoch", "step")
    }
    return {
        "steps": last["step"],
        **losses,
        "images_learned": len(split.labeled),
        "generator_parameters": sum(p.numel() for p in trainer.parts["generator"]),
        "critic_parameters": sum(p.numel() for p in trainer.parts["critic"]),
        "data_digest": folder.words["data_digest"],
    }


def _in_words(result: Mapping[str, Any]) -> str:
    losses = [
        f"{name.removesuffix('_loss').replace('_', ' ')} {value:.4f}"
        for name, value in result.items()
        if name.endswith("_loss")
    ]
    return f"{result['steps']:,} steps; last losses: {', '.join(losses)}; samples.png shows images"
