"""A run whose backbone is frozen: features that are computed once take the place of images."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch

from ssl_isda import plugins
from ssl_isda.assembly.batches import augmentations_of, refuse_settings_of_images
from ssl_isda.assembly.networks import method_of, student_of
from ssl_isda.assembly.parts import options_of
from ssl_isda.assembly.workspace import Workspace
from ssl_isda.base.errors import UsageError
from ssl_isda.base.memory import in_words
from ssl_isda.base.progress import duration, show
from ssl_isda.data.array_cache import cached_arrays
from ssl_isda.data.vectors.prepared import PreparedVectors
from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network
from ssl_isda.models.linear import Linear
from ssl_isda.parallel.distributed import from_first
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.config import Resolved
from ssl_isda.training import frozen
from ssl_isda.training.weights import Weights


def ready_to_train(
    folder: RunFolder, workspace: Workspace, weights: Weights | None = None
) -> tuple[Workspace, list[str]]:
    """The workspace that a run trains on, and what there is to say of it: with ``--freeze backbone`` that
    of the images' features, under the backbone that the run keeps, or ``weights`` if it begins.

    Raises
    ------
    UsageError
        The network gives no features to train a head on, or the run's backbone is gone.
    """
    resolved = folder.resolved
    if resolved.config.freeze is None:
        return workspace, []
    network = student_of(resolved, workspace)
    frozen.refuse_head(network, resolved.config.model)
    has_begun = from_first(folder.has_begun)
    kept = from_first(lambda: frozen.read_backbone(folder.path)) if has_begun else None
    lines = []
    if kept:
        network.load_state_dict(kept["network"])
    elif weights:
        lines.append(weights.load_into(network, workspace.data.class_names))
    arrays, line = _features(resolved, workspace, network)
    parts = [torch.from_numpy(arrays[name]) for name in ("train", "test")]
    backbone = frozen.standardising(network, parts[0])
    if kept is None:
        from_first(lambda: backbone.save(folder.path))
    ready = copy.copy(workspace)
    ready.backbone, ready.data = backbone, frozen.of_features(workspace.data, *parts)
    ready.train_images, ready.test_images = (
        PreparedVectors(part, backbone.std, backbone.mean).to(workspace.device)
        for part in (ready.data.train, ready.data.test)
    )
    return ready, [*lines, line]


def _features(
    resolved: Resolved, workspace: Workspace, network: Network
) -> tuple[dict[str, np.ndarray], str]:
    """Of the training and the test images, kept beside them, or in the folder of runs; and in words."""
    config, began = resolved.config, time.monotonic()
    parts = {"train": workspace.train_images, "test": workspace.test_images}
    about = (config.model, options_of(MODELS, config.model, resolved))
    how = (workspace.preparation, workspace.data, workspace.precision)
    key = frozen.key_of(network, about, *how)
    place = config.data_dir if config.data_dir.is_dir() else config.runs_dir
    folder = place / ".cache" / f"features-{key[:16]}"
    seconds: list[float] = []

    def compute() -> dict[str, np.ndarray]:
        show("computing the features of all images, once ...")
        found = frozen.computed(network, parts, workspace.precision)
        seconds.append(time.monotonic() - began)
        return found

    arrays = cached_arrays(folder, key, compute)
    size = in_words(sum(each.nbytes for each in arrays.values()))
    count, width = sum(map(len, arrays.values())), arrays["train"].shape[1]
    how_long = f"computed in {duration(seconds[0])}" if seconds else "read"
    return (
        arrays,
        f"features of {count:,} images, {width:,} numbers each, {size}: {how_long}, {folder}",
    )


def refuse_to_freeze(resolved: Resolved) -> None:
    """Refuse ``--freeze backbone`` where there is nothing to freeze, or features cannot stand in for
    images.

    Raises
    ------
    UsageError
        The network has no weights yet, or the method does with images what features do not show.
    """
    config = resolved.config
    if config.freeze is None:
        return
    plugins.load(config.plugin)
    if config.weights is None and not resolved.values.get("pretrained"):
        raise UsageError(
            "--freeze backbone trains the last layer of a network that has learned already: add "
            "--weights RUN_OR_FILE, or --pretrained to a network of a library"
        )
    method = method_of(resolved, Linear(2, 1), num_images=1)
    if method.needs_images:
        raise UsageError(
            f"--freeze backbone: {config.method} {method.needs_images}, which features that are computed "
            "once cannot show; take another method, or leave the flag out"
        )
    refuse_settings_of_images(resolved)
    augmentations_of(resolved, method, is_vectors=True, largest=0)
