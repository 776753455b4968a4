"""A run's labeled and unlabeled batches, with the views that its method declares."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_isda.assembly.parts import options_of
from ssl_isda.assembly.workspace import Workspace, labels_of
from ssl_isda.base.errors import UsageError
from ssl_isda.data.augmentations.resized_crop import cropped
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.generated import Generated
from ssl_isda.data.masks.building import mask_batches
from ssl_isda.data.masks.mask_data import MaskData
from ssl_isda.data.splits import Split
from ssl_isda.data.vectors.augmentation import VectorAugmentation
from ssl_isda.data.views import AUGMENTATIONS, AnyAugmentation, names_for_vectors
from ssl_isda.generators.joining import BatchShare, joining
from ssl_isda.parallel.launch import num_launched
from ssl_isda.settings.config import Resolved, RunConfig
from ssl_isda.training import dense
from ssl_isda.training.method import Method


def batches_of(
    resolved: Resolved, workspace: Workspace, split: Split, method: Method
) -> TwoStreamBatches:
    """The run's labeled and unlabeled batches, with the views that its method declares.

    Raises
    ------
    UsageError
        A translation or a batch size that these images or processes do not allow.
    """
    config = resolved.config
    shape = workspace.data.train.shape
    is_vectors = len(shape) == 1
    if isinstance(workspace.data, MaskData):
        return _batches_of_masks(resolved, workspace, workspace.data, split, method)
    if is_vectors:
        refuse_settings_of_images(resolved)
    _refuse_settings_of_other_placements(resolved)
    largest = 0 if is_vectors else largest_translation(resolved, method, shape)
    own, named = augmentations_of(resolved, method, is_vectors, largest)
    generated = generated_of(resolved, workspace, split)
    batches = TwoStreamBatches(
        workspace.train_images,
        labels_of(workspace.data.train),
        split,
        labeled_batch_size=config.batch_size - (generated.count if generated else 0),
        unlabeled_batch_size=config.unlabeled_batch_size,
        seed=config.seed,
        partial=config.partial_batches,
        augmentation=own,
        views=method.views,
        labeled_views=method.labeled_views,
        named=named,
        device=workspace.device,
        generated=generated,
    )
    _refuse_batch_sizes(config, batches)
    return batches


def augmentations_of(
    resolved: Resolved, method: Method, is_vectors: bool, largest: int
) -> tuple[AnyAugmentation, dict[str, AnyAugmentation]]:
    """The run's own augmentation, and those that the method's views name; a weak view of vectors is the
    run's own.

    Parameters
    ----------
    largest : translation, in pixels

    Raises
    ------
    UsageError
        One is made for images and the run is on vectors, or the other way round.
    """
    config = resolved.config

    def augmentation(name: str) -> AnyAugmentation:
        options = options_of(AUGMENTATIONS, name, resolved)
        made = AUGMENTATIONS[name](options, flip=config.flip, max_translation=largest)
        if isinstance(made, VectorAugmentation) != is_vectors:
            _refuse_augmentation(config, name, is_vectors)
        return made if is_vectors else _placed(config, name, made)

    views = (*method.views, *method.labeled_views)
    names = dict.fromkeys(v.augmentation for v in views if v.augmentation is not None)
    of_vectors = {"weak": config.policy} if is_vectors else {}
    named = {name: augmentation(of_vectors.get(name, name)) for name in names}
    return augmentation(config.policy), named


def generated_of(resolved: Resolved, workspace: Workspace, split: Split) -> Generated | None:
    """The images of ``--generated``, if it is given. Raises as ``joining``."""
    config = resolved.config
    if config.generated is None:
        return None
    if num_launched() > 1:
        raise UsageError("--generated works on one process; leave it out under torchrun")
    of_seed = config.generated / f"seed{config.seed}"
    place = of_seed if of_seed.is_dir() else config.generated
    size = BatchShare(config.batch_size, config.generated_share)
    return joining(place, size, workspace.data, split, workspace.preparation, workspace.device)


def _batches_of_masks(
    resolved: Resolved, workspace: Workspace, data: MaskData, split: Split, method: Method
) -> TwoStreamBatches:
    config = resolved.config
    dense.refuse_policy(config)
    views = (*method.views, *method.labeled_views)
    batches = mask_batches(
        data,
        options_of(AUGMENTATIONS, "crops", resolved),
        options_of(AUGMENTATIONS, "strong", resolved),
        flip=config.flip,
        names=[view.augmentation for view in views if view.augmentation is not None],
        prepared=workspace.train_images,
        labels=labels_of(data.train),
        split=split,
        labeled_batch_size=config.batch_size,
        unlabeled_batch_size=config.unlabeled_batch_size,
        seed=config.seed,
        partial=config.partial_batches,
        views=method.views,
        device=workspace.device,
    )
    _refuse_batch_sizes(config, batches)
    return batches


def _placed(config: RunConfig, name: str, made: AnyAugmentation) -> AnyAugmentation:
    """With resized crops in place of translation, where the settings say so.

    Raises
    ------
    UsageError
        The augmentation does not translate.
    """
    if config.resized_crop == "none" or (config.resized_crop == "strong" and name == "weak"):
        return made
    crop = cropped(made, config.smallest_crop)
    if crop is None:
        raise UsageError(f"--resized-crop: {name} places images itself; leave the flag out")
    return crop


def _refuse_batch_sizes(config: RunConfig, batches: TwoStreamBatches) -> None:
    if config.compile and num_launched() > 1:
        raise UsageError("--compile works on one process; leave it out under torchrun")
    sampler, sizes = batches.sampler, batches.sampler.batch_sizes
    generated = config.batch_size - sampler.labeled_batch_size
    asked = [("--batch-size", config.batch_size, min(sizes["labeled"]) + generated)]
    if batches.views:
        unlabeled = sampler.unlabeled_batch_size
        asked.append(("--unlabeled-batch-size", unlabeled, min(sizes["unlabeled"])))
    for flag, size, smallest in asked:
        if size % num_launched():
            raise UsageError(
                f"{flag} must be a multiple of the {num_launched()} processes, got {size}"
            )
        if smallest % num_launched() or smallest == 1 < size:
            whom = f"{num_launched()} processes" if num_launched() > 1 else "BatchNorm"
            raise UsageError(
                f"--partial-batches leaves {smallest} for the last batch of a pass, too few for "
                f"{whom}: choose another {flag}"
            )


def largest_translation(resolved: Resolved, method: Method, shape: Sequence[int]) -> int:
    """In pixels, for images of this shape: the run's setting, or the method's share of the shorter side.

    Raises
    ------
    UsageError
        It does not fit these images, or is given for a method that has its own.
    """
    config, smaller_side = resolved.config, min(shape[1:])
    if method.translation is not None:
        if resolved.sources["max_translation"] == "flag":
            raise UsageError(
                f"--max-translation: {config.method} translates by a share of the image's side; give "
                f"--translation instead, such as {method.translation:g}"
            )
        return round(method.translation * smaller_side)
    if config.max_translation >= smaller_side:
        raise UsageError(
            f"--max-translation must be 0 to {smaller_side - 1} for these images, "
            f"got {config.max_translation}"
        )
    return config.max_translation


def refuse_settings_of_images(resolved: Resolved) -> None:
    for name in ("flip", "max_translation", "resized_crop", "smallest_crop"):
        if resolved.sources[name] == "flag":
            raise UsageError(
                f"--{name.replace('_', '-')} is for images, and {_vectors_of(resolved.config)}: leave it "
                "out"
            )


def _refuse_settings_of_other_placements(resolved: Resolved) -> None:
    crop, given = resolved.config.resized_crop, resolved.sources
    if crop == "none" and given["smallest_crop"] == "flag":
        raise UsageError("--smallest-crop is for resized crops: add --resized-crop strong, or all")
    for name in ("max_translation", "translation"):
        if crop == "all" and given.get(name) == "flag":
            raise UsageError(
                f"--{name.replace('_', '-')}: with --resized-crop all nothing is translated; leave one "
                "of them out"
            )


def _refuse_augmentation(config: RunConfig, name: str, is_vectors: bool) -> None:
    """One that is made for images does not change vectors, nor the other way round."""
    made_for = "images" if is_vectors else "vectors"
    given = _vectors_of(config) if is_vectors else f"{config.dataset} has images"
    if name == config.policy:
        fitting = f"one of {', '.join(names_for_vectors())}" if is_vectors else "weak"
        raise UsageError(f"--policy {name} is made for {made_for}, and {given}: take {fitting}")
    raise UsageError(
        f"--method {config.method} needs {name}, which is made for {made_for}, and {given}: take another "
        "method"
    )


def _vectors_of(config: RunConfig) -> str:
    """Why the run is on vectors."""
    if config.freeze:
        return "a frozen backbone has features"
    return f"{config.dataset} has vectors"
