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
from ssl_isda.settings.options import Place, read_options
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.settings.setting import UsablePath

if TYPE_CHECKING:
    from ssl_isda.commands.visualize.trained_run import TrainedRun

USAGE = """\
usage: python run.py visualize RUN --neighbours --out FOLDER [flags]

Shows what a class varies along in the feature space of a trained run: along the first principal
directions of its covariance, the training images that lie furthest each way. A run without ISDA keeps no
covariances; then they are estimated from its training images.
FOLDER gets a picture, a page to look at and the numbers.

  python run.py visualize runs/digits-20/vat+isda/seed0 --neighbours --out what-digits-vary-along
"""


class VisualizeConfig(Place):
    """What is shown of a run."""

    out: UsablePath | None = None
    """Folder for the pictures, the pages and the numbers."""
    neighbours: bool = False
    """Show the training images that lie furthest along each class's directions."""
    one_class: str | None = Field(None, alias="class")
    """The one class to show, by name; unset: all."""
    directions: int = Field(3, ge=1)
    """Of --neighbours: principal directions of each class."""
    furthest: int = Field(6, ge=1)
    """Of --neighbours: images at each end of a direction."""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``visualize``."""
    given = read_options(arguments, USAGE, VisualizeConfig)
    if given is None:
        return 0
    words, options = given
    if len(words) != 1:
        raise UsageError("visualize needs one run's folder, such as runs/digits-20/vat+isda/seed0")
    if not options.neighbours:
        raise UsageError("visualize needs to know what to show: --neighbours")
    if options.out is None:
        raise UsageError("visualize needs --out FOLDER for its picture, page and numbers")
    path = Path(words[0])
    resolved = settings_of_run(path, options)
    if options.out.exists():
        make_folder(options.out)  # complains of a file

    from ssl_isda.commands.visualize.trained_run import TrainedRun

    _show_neighbours(TrainedRun(path, resolved), options, options.out)
    return 0


def _show_neighbours(run: TrainedRun, options: VisualizeConfig, out: Path) -> None:
    from ssl_isda.commands.visualize.neighbours import FILES, files, lines_of

    classes = run.classes_named(options.one_class)
    show(f"{printed(run.path)}: covariances {run.covariances.told}")
    lines = lines_of(run, classes, options.directions, options.furthest)
    if not lines:
        raise UsageError(
            f"{printed(run.path)}: no class shown has a direction: its covariance is zero or fewer than "
            "two training images belong to it"
        )
    write_report(files(run, lines), out)
    show(f"{printed(out)}: {', '.join(FILES)}")
