"""``run.py generate``: which of its two words is meant, and their help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import nearest, shown
from ssl_isda.commands.generate.options import TrainConfig, options_of_gans, read_train
from ssl_isda.commands.generate.sample_options import SampleConfig, read_sample
from ssl_isda.settings.flags import Parser
from ssl_isda.settings.setting import settings_of

USAGE = """\
usage: python run.py generate train [flags]
       python run.py generate sample FOLDER --out FOLDER [flags]

train: trains a generator of images against a critic, and leaves a folder with its checkpoint, its losses,
a picture of what it makes and a result. The same command again resumes it, exactly. The pairs are wgan
(with gradient penalty; --each-class: one for each class), and cgan, acgan and infogan, which make images
of the classes that they are asked for.
sample: images of a trained generator, as a picture and as an .npz file; with --network RUN also how far
they are from the real ones in the features of that run.

  python run.py generate train --dataset digits --gan wgan --steps 5000
  python run.py generate sample runs/generators/digits-all/wgan/seed0 --count 1000 --out digits
"""
WORDS = ("train", "sample")


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``generate``."""
    if not arguments or "--help" in arguments or "-h" in arguments:
        if not arguments:
            raise UsageError("generate needs a word: generate train, or generate sample FOLDER")
        show(_help())
        return 0
    word, *rest = arguments
    if word == "train":
        asked = read_train(rest)
        from ssl_isda.commands.generate.training import train

        return train(asked)
    if word == "sample":
        place, options = read_sample(rest)
        from ssl_isda.commands.generate.sample import sample

        return sample(place, options)
    raise UsageError(
        f"unknown word {shown(word)} after generate{nearest(word, WORDS)} (known: {', '.join(WORDS)})"
    )


def _help() -> str:
    """In sections: a flag may stand in several of them."""
    sections = {"Flags of train": [*settings_of(TrainConfig).values()]}
    sections |= {f"Options of {name}": options for name, options in options_of_gans().items()}
    sections["Flags of sample"] = [*settings_of(SampleConfig).values()]
    texts = [USAGE.rstrip("\n")]
    for title, options in sections.items():
        parser = Parser(argparse.SUPPRESS)
        parser.add(title, options)
        texts.append(parser.format_help().strip("\n"))
    return "\n\n".join(texts)
