"""A generator as ``generate train`` leaves it, or as somebody else wrote it, ready to make images."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import UNREADABLE_ARCHIVE
from ssl_isda.base.words import nearest, printed
from ssl_isda.generators.contract import GANS, GENERATORS, NUM_NOISE, Gan, Generator
from ssl_isda.runs import checkpoint

FILE_NAME = "generator.json"
FORMAT = "ssl-isda generator 1"
NEEDED = ("gan", "options", "shape", "class_names", "steps")
EXPORTED = ".pt2"
"""How a file of ``torch.export.save`` ends."""
NUM_LOOKED_AT = 16


class Saved(NamedTuple):
    """A generator in evaluation mode, without gradients for its weights.

    class_names : of the images that it was trained on; empty where nothing says so
    num_steps : that it was trained for; None where nothing says so
    unfinished : "at step 300 of 5,000" if its training has not ended; else empty
    """

    generator: Generator
    name: str
    class_names: tuple[str, ...] = ()
    num_steps: int | None = None
    unfinished: str = ""


class Asked(NamedTuple):
    """What is asked of a registered generator, which names as its parameters what it takes of it.

    class_names, shape : of the run, whose images are (C, H, W)
    weights, classes : ``--generator-weights`` and ``--generator-classes``
    """

    class_names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    weights: Path | None = None
    classes: tuple[int, ...] = ()


NOTHING_ASKED = Asked()


class Foreign(Generator):
    """A module that maps z, or z and classes, to images, as a ``Generator``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.num_noise = int(getattr(module, "num_noise", NUM_NOISE))
        self.knows_classes = bool(getattr(module, "knows_classes", False))

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        images: Tensor = self.module(z, classes) if self.knows_classes else self.module(z)
        return images


def read_words(folder: Path) -> dict[str, Any]:
    """What a folder of ``generate train`` says of its generator.

    Raises
    ------
    UsageError
        It is no such folder, or the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        seeds = [printed(each.parent) for each in sorted(folder.glob(f"seed*/{FILE_NAME}"))]
        hint = f"; give one of its seeds, such as {seeds[0]}" if seeds else ""
        raise UsageError(
            f"{printed(folder)} is no folder of generate train: it has no {FILE_NAME}{hint}"
        )
    try:
        words: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if words["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        if missing := [name for name in NEEDED if name not in words]:
            raise ValueError(f"it says nothing of {missing[0]}")
    except UNREADABLE_ARCHIVE as error:
        raise UsageError(f"{printed(path)} cannot be read: {error}") from error
    return words


def built(words: Mapping[str, Any]) -> Gan:
    """The pair that the words describe, with fresh weights.

    Raises
    ------
    UsageError
        There is no such pair, or it does not fit the images.
    """
    if words["gan"] not in GANS:
        raise UsageError(f"the pair {words['gan']!r} is not registered: --plugin reads its file")
    config = GANS.config(words["gan"])(**words["options"])
    try:
        return GANS[words["gan"]](
            config, num_classes=len(words["class_names"]), shape=tuple(words["shape"])
        )
    except ValueError as error:
        raise UsageError(f"--gan {words['gan']}: {error}") from error


def read_generator(place: Path, device: torch.device, asked: Asked = NOTHING_ASKED) -> Saved:
    """The generator of a folder of ``generate train``, or of a file of ``torch.export.save``; or one that
    is registered under this name.

    Raises
    ------
    UsageError
        There is none, or it does not take what is asked of it.
    """
    if str(place) in GENERATORS:
        return _ready(Foreign(_registered(str(place), asked)), str(place), device)
    _refuse_what_is_not_taken(printed(place), asked, ())
    if place.suffix == EXPORTED and place.is_file():
        return _ready(_exported(place), printed(place), device)
    if not place.is_dir():
        usable = [name for name in GENERATORS if asked.shape or not _taken_by(name)]
        named = f", no generator's name ({', '.join(usable)})" if usable else ""
        raise UsageError(
            f"{printed(place)}: no such folder of generate train, no file that ends in {EXPORTED}{named}"
            f"{nearest(str(place), usable)}"
        )
    return _trained_here(place, device)


def _trained_here(place: Path, device: torch.device) -> Saved:
    """Of a folder of ``generate train``, whose training may not have ended."""
    words = read_words(place)
    try:
        pair, whole = built(words), int(words["steps"])
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UsageError(f"{printed(place / FILE_NAME)} describes no pair: {error}") from error
    try:
        state, _ = checkpoint.load_latest(place / "checkpoint.pt")
        if state is None:
            raise UsageError(f"{printed(place)} has no checkpoint yet: train it first")
        pair.load_state_dict(state["student"])
    except (checkpoint.CheckpointDamaged, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{printed(place)}: its checkpoint cannot be used: {reason}") from error
    done = int(state["next_step"])
    return _ready(pair.generator, printed(place), device)._replace(
        class_names=tuple(words["class_names"]),
        num_steps=done,
        unfinished=f"at step {done:,} of {whole:,}" if done < whole else "",
    )


def refuse_misfit(
    saved: Saved, shape: tuple[int, ...], num_classes: int, at_once: int = NUM_LOOKED_AT
) -> None:
    """Make images of up to 16 classes, the first and the last among them, and look at them.

    Parameters
    ----------
    at_once : images that are made together

    Raises
    ------
    UsageError
        The generator fails, or its images are not of this shape or have pixels outside -1 to 1.
    """
    where = next((each.device for each in saved.generator.parameters()), torch.device("cpu"))
    count = min(num_classes, NUM_LOOKED_AT)
    classes = torch.linspace(0, num_classes - 1, count).round().long().split(at_once)
    z = saved.generator.draw(count, torch.Generator().manual_seed(0)).split(at_once)
    try:
        with torch.no_grad():
            pairs = zip(z, classes, strict=True)
            images = torch.cat([saved.generator(*(x.to(where) for x in pair)) for pair in pairs])
    except Exception as error:  # somebody's own code may fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UsageError(f"--generator {saved.name} makes no images of z: {reason}") from error
    if tuple(images.shape) != (count, *shape):
        made = " x ".join(map(str, images.shape[1:]))
        raise UsageError(
            f"--generator {saved.name} makes images of {made}, and those of the run are "
            f"{' x '.join(map(str, shape))} (channels, height, width)"
        )
    if not bool((images.abs() <= 1).all()):
        raise UsageError(
            f"--generator {saved.name} makes pixels from {images.min():.3g} to {images.max():.3g}; "
            "they must be from -1 to 1"
        )


def _taken_by(name: str) -> tuple[str, ...]:
    return tuple(inspect.signature(GENERATORS[name]).parameters)


def _registered(name: str, asked: Asked) -> nn.Module:
    taken = _taken_by(name)
    _refuse_what_is_not_taken(name, asked, taken)
    return GENERATORS[name](
        **{word: value for word, value in asked._asdict().items() if word in taken}
    )


def _refuse_what_is_not_taken(name: str, asked: Asked, taken: tuple[str, ...]) -> None:
    for word, value in (("weights", asked.weights), ("classes", asked.classes)):
        if value and word not in taken:
            raise UsageError(f"--generator-{word} is no flag for --generator {name}: leave it out")


def _exported(place: Path) -> Foreign:
    """The program's first example input says how many numbers z has."""
    try:
        with _silent("torch.export"):  # it logs the error that it then raises
            program = torch.export.load(place)
        foreign = Foreign(program.module())
        (z, *others), _ = program.example_inputs
    except Exception as error:  # unchecked bytes: the reader may fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UsageError(f"--generator {printed(place)} cannot be read: {reason}") from error
    foreign.num_noise, foreign.knows_classes = z.shape[1], bool(others)
    return foreign


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    log = logging.getLogger(logger)
    log.disabled, before = True, log.disabled
    try:
        yield
    finally:
        log.disabled = before


def _ready(generator: Generator, name: str, device: torch.device) -> Saved:
    _to_evaluation(generator.module if isinstance(generator, Foreign) else generator)
    return Saved(generator.to(device).requires_grad_(False), name)


def _to_evaluation(module: nn.Module) -> None:
    with suppress(NotImplementedError):  # an exported program has the mode that it was exported in
        module.eval()
