"""``run.py export-model``: a trained network as one file, to be used elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import show
from ssl_isda.base.words import printed
from ssl_isda.results.writing import make_folder, refuse_as_file
from ssl_isda.settings.options import Options, Place, read_options
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.settings.setting import UsablePath

if TYPE_CHECKING:
    from torch import nn

    from ssl_isda.data.preparation import Preparation

USAGE = """\
usage: python run.py export-model RUN [--format FORMAT] [--out FILE]

Writes the trained network of a run, the one that its method tests, as one file that carries its weights,
the names of its classes, the size of its images and how they are prepared:

  safetensors             weights; ssl_isda.load and run.py predict read it, with this package
  torch-export            a graph with the preparation inside; torch.export.load reads it
  onnx                    the same for onnxruntime and other programs, without PyTorch

  python run.py export-model runs/digits-20/vat+isda/seed0 --format onnx --out digits.onnx
"""
SUFFIXES = {"safetensors": ".safetensors", "torch-export": ".pt2", "onnx": ".onnx"}
NEEDS: Mapping[str, Sequence[str]] = {
    "safetensors": ["safetensors"],
    "torch-export": [],
    "onnx": ["onnx", "onnxscript"],
}
"""Packages that a format is written with."""


class ExportModelConfig(Options):
    """Which file is written, and where to."""

    format: Literal["safetensors", "torch-export", "onnx"] = "safetensors"
    """What the file is: see above."""
    out: UsablePath | None = None
    """The file; unset: model.safetensors, model.pt2 or model.onnx in the run's folder."""
    data_dir: UsablePath | None = None
    """Where the data set lies, for a run of version 0.1 alone, which did not keep its preparation."""
    plugin: str | None = None
    """Python file or module with the run's parts, whose code is run."""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``export-model``."""
    given = read_options(arguments, USAGE, ExportModelConfig)
    if given is None:
        return 0
    words, options = given
    if len(words) != 1:
        raise UsageError("export-model needs one run's folder, such as runs/digits-20/vat/seed0")
    run = Path(words[0])
    place = Place(data_dir=options.data_dir, plugin=options.plugin, device="cpu", threads=None)
    resolved = settings_of_run(run, place)
    out = options.out or run / f"model{SUFFIXES[options.format]}"
    refuse_as_file("out", out)
    _refuse_missing(options.format)

    from ssl_isda.assembly.parts import options_of
    from ssl_isda.assembly.trained import evaluated_network
    from ssl_isda.models import MODELS
    from ssl_isda.training.exported import words_of

    network, preparation, _ = evaluated_network(run, place)
    model = resolved.config.model
    options_of_model = options_of(MODELS, model, resolved)
    about = words_of(preparation, model, options_of_model, resolved.config.precision)
    content = _content(options.format, network.eval(), preparation, about)
    make_folder(out.parent)
    write_atomically(out, content)
    classes = f"{len(preparation.class_names)} classes, {about['input']}"
    show(f"{printed(out)}: {len(content) / 1e6:.1f} MB, {classes}")
    return 0


def _refuse_missing(form: str) -> None:
    missing = [name for name in NEEDS[form] if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"export-model --format {form} needs the package {missing[0]!r}: install ssl-isda with its "
            "extra, pip install '.[export]' in a clone"
        )


def _content(
    form: str, network: nn.Module, preparation: Preparation, about: Mapping[str, str]
) -> bytes:
    if form == "safetensors":
        from ssl_isda.training.exported import safetensors_bytes

        return safetensors_bytes(network, preparation, about)
    from ssl_isda.training.graph import Graph, onnx_bytes, torch_export_bytes

    graph = Graph(network, preparation)
    write = onnx_bytes if form == "onnx" else torch_export_bytes
    return write(graph, preparation.shape, about)
