"""The flags of ``generate sample``. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.settings.options import Place, read_command
from ssl_isda.settings.setting import UsablePath


class SampleConfig(Place):
    """What is made, and where it goes."""

    out: UsablePath | None = None
    """Folder for samples.png, samples.npz and, with --network, distances.json."""
    count: int = Field(1000, ge=2)
    """Images; of all classes in turn, if the generator knows them."""
    one_class: str | None = Field(None, alias="class")
    """The one class to make, by name; unset: all."""
    sample_seed: int = Field(0, ge=0)
    """Chooses the noise."""
    network: UsablePath | None = None
    """Run folder whose features measure the distance to the images that it was trained and tested on."""
    inception: UsablePath | None = None
    """Of --network: torch-fidelity's weights of Inception, for the FID and the KID to the same images."""


def read_sample(arguments: Sequence[str]) -> tuple[Path, SampleConfig]:
    """The command line of ``generate sample``.

    Raises
    ------
    UsageError
        A flag is wrong, or the folder is missing.
    """
    words, options, _ = read_command(arguments, SampleConfig)
    if len(words) != 1:
        raise UsageError(
            "generate sample needs one folder of generate train, such as "
            "runs/generators/digits-all/wgan/seed0"
        )
    if options.inception and not options.network:
        raise UsageError("--inception needs --network, whose images are compared with")
    if options.out is None:
        raise UsageError("generate sample needs --out FOLDER for its picture and its images")
    return Path(words[0]), options
