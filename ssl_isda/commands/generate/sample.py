"""``run.py generate sample``: images of a trained generator, and how far they are from the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ssl_isda import plugins
from ssl_isda.assembly.devices import device_named
from ssl_isda.assembly.trained import evaluated_network
from ssl_isda.assembly.workspace import workspace_of
from ssl_isda.base.errors import UsageError
from ssl_isda.base.precision import Precision, autocast
from ssl_isda.base.progress import show
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.commands.generate.inception import fid_and_kid, refuse_missing
from ssl_isda.commands.generate.making import make, picture
from ssl_isda.commands.generate.sample_options import SampleConfig
from ssl_isda.data.preparation import Preparation
from ssl_isda.data.source import DataSource
from ssl_isda.generators.distances import frechet_distance, kernel_distance
from ssl_isda.generators.saved import Saved, read_generator
from ssl_isda.results.features import npz_bytes
from ssl_isda.results.writing import write_report
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.recorded import settings_of_run

AT_ONCE = 500


def sample(place: Path, options: SampleConfig) -> int:
    """Make the images and write them."""
    assert options.out is not None
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.inception:
        refuse_missing(options.inception)
    device = device_named(options.device or "auto")
    plugins.load(options.plugin)
    saved = read_generator(place, device)
    if saved.unfinished:
        show(f"{saved.name}: its training has not ended, it is {saved.unfinished}")
    classes = _classes(saved, options)
    images = make(saved.generator, classes, options.sample_seed, device)
    content: dict[str, object] = {"X": images.numpy()}
    if saved.generator.knows_classes:
        content["y"] = classes.numpy()
    files: dict[str, str | bytes] = {
        "samples.png": picture(saved.generator, saved.class_names, device),
        "samples.npz": npz_bytes(**content),
    }
    if options.network:
        found = distances(options.network, images, options)
        files["distances.json"] = json.dumps(found, indent=2) + "\n"
        show(_in_words(found))
    write_report(files, options.out)
    show(f"{printed(options.out)}: {', '.join(files)}; {len(images):,} images")
    return 0


def _classes(saved: Saved, options: SampleConfig) -> Tensor:
    """(n,): all classes in turn, or the one that is asked for."""
    names = saved.class_names
    if options.one_class is None:
        return torch.arange(options.count) % max(1, len(names))
    if not saved.generator.knows_classes:
        raise UsageError(f"--class: {saved.name} knows no classes; leave the flag out")
    if options.one_class not in names:
        hint = nearest(options.one_class, names)
        raise UsageError(f"--class: {saved.name} has no class {shown(options.one_class)}{hint}")
    return torch.full((options.count,), names.index(options.one_class))


def distances(run: Path, images: Tensor, options: SampleConfig) -> dict[str, object]:
    """Of generated images (n, C, H, W) uint8 to the training and the test images of a run, in the
    features of its network; and of these to each other, which is what chance alone would give."""
    workspace = workspace_of(RunFolder(settings_of_run(run, options), run))
    network, prepare, precision = evaluated_network(run, options)
    if tuple(images.shape[1:]) != tuple(prepare.shape):
        raise UsageError(
            f"--network {printed(run)} takes images of {' x '.join(map(str, prepare.shape))}, and the "
            f"generator makes {' x '.join(map(str, images.shape[1:]))}"
        )
    sets = {"training": workspace.data.train, "test": workspace.data.test}
    pixels = {n: _spread(source, len(images)) for n, source in sets.items() if len(source) > 1}
    real = {name: _features(network, prepare, precision, each) for name, each in pixels.items()}
    made = _features(network, prepare, precision, images)
    pairs = {f"generated_to_{name}": (made, each) for name, each in real.items()}
    if len(real) == 2:
        pairs["training_to_test"] = (real["training"], real["test"])
    found: dict[str, object] = {"features_of": printed(run), "generated_images": len(images)}
    for name, pair in pairs.items():
        found[f"frechet_{name}"] = frechet_distance(*pair)
        found[f"kernel_{name}"] = kernel_distance(*pair)
    for name, each in pixels.items() if options.inception else ():
        assert options.inception
        fid, kid = fid_and_kid(images, each, options.inception)
        found |= {f"fid_generated_to_{name}": fid, f"kid_generated_to_{name}": kid}
    return found


def _spread(source: DataSource, most: int) -> Tensor:
    """Up to ``most`` of its images, evenly spread."""
    places = torch.linspace(0, len(source) - 1, min(most, len(source))).round().long().unique()
    return source.fetch(places)


@torch.no_grad()
def _features(
    network: nn.Module, prepare: Preparation, precision: Precision, images: Tensor
) -> Tensor:
    network.eval()
    where = next(network.parameters()).device
    parts = []
    for batch in images.split(AT_ONCE):
        with autocast(where, precision):
            parts.append(network(prepare(batch, where))[1].float().cpu())
    return torch.cat(parts)


def _in_words(found: dict[str, object]) -> str:
    told = [
        f"{name.removeprefix('frechet_').replace('_', ' ')} {value:.4g}"
        for name, value in found.items()
        if name.startswith("frechet")
    ]
    told += [f"FID {n[4:].replace('_', ' ')} {v:.4g}" for n, v in found.items() if n[:4] == "fid_"]
    features = found["features_of"]
    return f"Frechet distance in the features of {features}, which is no FID: {', '.join(told)}"
