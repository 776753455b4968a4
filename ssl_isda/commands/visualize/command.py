"""``run.py visualize``: from the words of the command to its picture, page and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import printed
from ssl_isda.results.writing import make_folder, write_report
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.options import Place, read_options
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.settings.setting import UsablePath

if TYPE_CHECKING:
    from ssl_isda.commands.visualize.trained_run import TrainedRun
    from ssl_isda.generators.saved import Saved

USAGE = """\
usage: python run.py visualize RUN --neighbours --out FOLDER [flags]
       python run.py visualize RUN --generator GENERATOR --out FOLDER [flags]

Shows what a class varies along in the feature space of a trained run.
--neighbours: along the first principal directions of each class's covariance, the training images that
lie furthest each way.
--generator: images, and what becomes of them when their features move along a draw from the covariance
of their class, or as far in a random direction: the reverse mapping of the paper's Appendix E. GENERATOR
is a folder of generate train, a file of torch.export.save that ends in .pt2, biggan with the folder of
its published weights as --generator-weights, or a name that --plugin registers.
A run without ISDA keeps no covariances; then they are estimated from its training images. FOLDER gets
pictures, a page to look at and the numbers.

  python run.py visualize runs/digits-20/vat+isda/seed0 --neighbours --out shown
  python run.py visualize runs/digits-20/vat+isda/seed0 --out shown \\
      --generator runs/generators/digits-all/wgan/seed0 --images 500 --iterations 1000
"""

DEFAULT_STRENGTH = 0.5


class VisualizeConfig(Place):
    """What is shown of a run."""

    out: UsablePath | None = None
    """Folder for the pictures, the pages and the numbers."""
    neighbours: bool = False
    """Show the training images that lie furthest along each class's directions."""
    generator: UsablePath | None = None
    """Show images whose features were augmented, as this generator can make them."""
    generator_weights: UsablePath | None = None
    """Of --generator biggan: folder of its config.json and pytorch_model.bin."""
    generator_classes: tuple[int, ...] = ()
    """Of --generator biggan: ImageNet's number of each class of the run, in their order, from 0 to 999;
    unset: found by the classes' names."""
    one_class: str | None = Field(None, alias="class")
    """The one class to show, by name; unset: all."""
    directions: int = Field(3, ge=1)
    """Of --neighbours: principal directions of each class."""
    furthest: int = Field(6, ge=1)
    """Of --neighbours: images at each end of a direction."""
    images: int = Field(16, ge=1)
    """Of --generator: test images, of all classes in turn; with 500 the rates below the picture tell."""
    training: bool = False
    """Of --generator: show labeled training images, not test images."""
    iterations: int = Field(10_000, ge=4)
    """Of --generator: iterations of each of the two steps."""
    draws: int = Field(1, ge=1)
    """Of --generator: augmented features of each image, and as many in random directions."""
    strength: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Of --generator: lambda of the draws from N(0, lambda Sigma); unset: the run's lambda_0, or 0.5."""
    eta: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Of --generator: weight of the pixels beside the features in step I."""
    batch_size: int = Field(256, ge=1)
    """Of --generator: images that descend at once."""
    draw_seed: int = Field(0, ge=0)
    """Of --generator: chooses the draws and where the descent starts."""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``visualize``."""
    given = read_options(arguments, USAGE, VisualizeConfig)
    if given is None:
        return 0
    words, options = given
    if len(words) != 1:
        raise UsageError("visualize needs one run's folder, such as runs/digits-20/vat+isda/seed0")
    if not (options.neighbours or options.generator):
        raise UsageError(
            "visualize needs to know what to show: --neighbours, or --generator with a trained one"
        )
    if options.out is None:
        raise UsageError("visualize needs --out FOLDER for its pictures, page and numbers")
    path = Path(words[0])
    resolved = settings_of_run(path, options)
    if options.out.exists():
        make_folder(options.out)  # complains of a file
    _show(path, resolved, options, options.out)
    return 0


def _show(path: Path, resolved: Resolved, options: VisualizeConfig, out: Path) -> None:
    """Whatever is asked for; what cannot be is refused before anything is computed."""
    from ssl_isda.commands.visualize.trained_run import TrainedRun

    run = TrainedRun(path, resolved, training=options.training)
    classes = run.classes_named(options.one_class)
    saved = _generator(run, options.generator, options) if options.generator else None
    if saved and saved.unfinished:
        show(f"{saved.name}: its training has not ended, it is {saved.unfinished}")
    show(f"{printed(run.path)}: covariances {run.covariances.told}")
    if options.neighbours:
        _show_neighbours(run, classes, options, out)
    if saved:
        _show_pixels(run, saved, classes, options, out)


def _show_neighbours(
    run: TrainedRun, classes: Sequence[int], options: VisualizeConfig, out: Path
) -> None:
    from ssl_isda.commands.visualize.neighbours import FILES, files, lines_of

    lines = lines_of(run, classes, options.directions, options.furthest)
    if not lines:
        raise UsageError(
            f"{printed(run.path)}: no class shown has a direction: its covariance is zero or fewer than "
            "two training images belong to it"
        )
    write_report(files(run, lines), out)
    show(f"{printed(out)}: {', '.join(FILES)}")


def _generator(run: TrainedRun, place: Path, options: VisualizeConfig) -> Saved:
    from ssl_isda.generators.saved import Asked, read_generator, refuse_misfit

    names, shape = tuple(run.class_names), run.preparation.shape
    asked = Asked(names, shape, options.generator_weights, options.generator_classes)
    saved = read_generator(place, run.device, asked)
    if saved.generator.knows_classes and saved.class_names not in ((), names):
        raise UsageError(
            f"--generator {saved.name} knows other classes than {printed(run.path)}: "
            f"{', '.join(saved.class_names[:5])}, there {', '.join(names[:5])}"
        )
    refuse_misfit(saved, shape, len(names), options.batch_size)
    return saved


def _show_pixels(
    run: TrainedRun, saved: Saved, classes: Sequence[int], options: VisualizeConfig, out: Path
) -> None:
    from ssl_isda.commands.visualize.page import FILES, files, numbers_of
    from ssl_isda.commands.visualize.rates import in_words
    from ssl_isda.commands.visualize.regaining import How, mapped

    strength = options.strength or run.lambda_0 or DEFAULT_STRENGTH
    settings = (options.eta, options.iterations, options.batch_size, options.draw_seed)
    how = How(strength, options.draws, *settings)
    found = mapped(run, saved, run.places_to_show(classes, options.images), how)
    numbers = numbers_of(run, saved, found, how)
    write_report(files(run, found, numbers), out)
    kept = numbers["class_kept"]["pictures"]
    show(
        f"{printed(out)}: {', '.join(FILES)}; class kept along Sigma {in_words(kept['semantic'])}, in "
        f"random directions {in_words(kept['random'])}"
    )
