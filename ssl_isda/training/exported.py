"""A trained network in one file, with its classes and its preparation of images, as safetensors.

The tensors are called ``network.*`` and ``preparation.*``; the metadata are those of ``words_of``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.images.sizes import in_words
from ssl_isda.data.preparation import Preparation
from ssl_isda.models.contract import MODELS, Network

FORMAT = "ssl-isda network 1"
NETWORK, PREPARATION = "network.", "preparation."


def words_of(
    preparation: Preparation, model: str, options: Any, precision: str = "auto"
) -> dict[str, str]:
    """What every exported file says of itself: plain text, or JSON where it is a list or a mapping.

    Parameters
    ----------
    model, options : the network's registered name, and its dataclass of options
    precision : that the run asked for
    """
    is_image = len(preparation.shape) == 3
    numbers = "uint8 images, 0 to 255" if is_image else "float32 vectors"
    return {
        "format": FORMAT,
        "classes": json.dumps(preparation.class_names),
        "shape": json.dumps(preparation.shape),
        "input": f"{numbers}, (n, {', '.join(map(str, preparation.shape))})",
        "resizing": in_words(preparation.interpolation) * is_image,
        "preparation": preparation.name,
        "precision": precision,
        "bits": str(preparation.bits),
        "interpolation": preparation.interpolation,
        "columns": json.dumps(preparation.columns),
        "label_column": preparation.label_column,
        "model": model,
        "options": json.dumps(asdict(options)),
    }


def safetensors_bytes(
    network: nn.Module, preparation: Preparation, words: Mapping[str, str]
) -> bytes:
    """The file.

    Raises
    ------
    UsageError
        The network is not the one that ``words`` say, so that nobody could build it again.
    """
    from safetensors.torch import save

    tensors = {f"{NETWORK}{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"{PREPARATION}{k}": torch.from_numpy(v) for k, v in preparation.arrays.items()}
    # Each on its own: the format has neither views nor strides.
    copies = {name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()}
    _built(words, copies, "this network")
    return bytes(save(copies, dict(words)))


def is_exported(path: Path) -> bool:
    """Whether it is a file of ``safetensors_bytes``, as far as its beginning says."""
    if path.suffix != ".safetensors" or not path.is_file() or find_spec("safetensors") is None:
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def read_safetensors(path: Path) -> tuple[Network, Preparation, str]:
    """The network, on the CPU, its preparation of images, and the precision that the run asked for.

    Raises
    ------
    UsageError
        It is no such file, is damaged, or needs a network that is not registered.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            words = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{shown(path)} is no file of export-model: {error}") from error
    if words.get("format") != FORMAT:
        raise UsageError(f"{shown(path)} is no file of export-model, format {FORMAT!r}")
    shape, class_names = (tuple(json.loads(words[name])) for name in ("shape", "classes"))
    arrays = {
        name.removeprefix(PREPARATION): each.numpy()
        for name, each in tensors.items()
        if name.startswith(PREPARATION)
    }
    preparation = Preparation(
        words["preparation"],
        shape,
        class_names,
        arrays,
        bits=int(words["bits"]),
        interpolation=words.get("interpolation", "bilinear"),
        columns=tuple(json.loads(words.get("columns", "[]"))),
        label_column=words.get("label_column", ""),
    )
    return _built(words, tensors, shown(path)), preparation, words["precision"]


def _built(words: Mapping[str, str], tensors: Mapping[str, Tensor], where: str) -> Network:
    """The registered network with these weights."""
    shape, model = tuple(json.loads(words["shape"])), words["model"]
    if model not in MODELS:
        raise UsageError(
            f"{where} needs the network {model!r}: --plugin reads the file that has it"
        )
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(words["options"]).items()
    }
    weights = {k.removeprefix(NETWORK): v for k, v in tensors.items() if k.startswith(NETWORK)}
    try:
        network = MODELS[model](
            MODELS.config(model)(**options),
            num_classes=len(json.loads(words["classes"])),
            shape=shape,
        )
        network.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{where} is another network than {model!r}: {reason}") from error
    return network.eval()
