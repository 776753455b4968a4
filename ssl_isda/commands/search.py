"""``run.py search``: lambda_0 and eta_1 by the validation error, as in Sec. 6.1 of ISDA.

    lambda_0 in {0.1, 0.25, 0.5, 0.75, 1},  eta_1 in {0.5, 1, 2},  a quarter of the labels held out

Every setting is an ordinary run: the same command again skips what is done and resumes what is not.
The choice reads validation errors alone; test errors play no part in it.
"""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssl_isda.base.errors import TrainingFailed, UsageError
from ssl_isda.base.files import write_json
from ssl_isda.base.progress import show
from ssl_isda.base.words import printed
from ssl_isda.commands.train import train_seeds
from ssl_isda.results.paper import ETA_1, LAMBDA_0
from ssl_isda.results.run_files import Damaged, read_split
from ssl_isda.results.tables import Markup, Table, markdown_table
from ssl_isda.results.writing import make_folder
from ssl_isda.runs.data_digest import other_images, usual_digests
from ssl_isda.runs.metrics import ERROR_RATE, Headline, headline_of_validation
from ssl_isda.runs.run_folder import RunFolder, cell_name
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.places import shell_command
from ssl_isda.settings.resolve import resolve

USAGE = """\
usage: python run.py search --method METHOD [flags of a training] [--then-train | --print-commands]

Chooses lambda_0 and eta_1 of ISDA as the paper does. It trains with each pair of {0.1, 0.25, 0.5, 0.75,
1} and {0.5, 1, 2} while a quarter of the labeled images is held out, and takes the pair with the smallest
error on those, the mean of the last epochs; of equal ones the weakest. The test set plays no part. A
method without unlabeled images, or that mixes them, has no eta_1. With --seeds the errors are means over
the seeds. The same command resumes a search that was interrupted.

  python run.py search --config configs/cifar10_small.yaml --method vat

  RUNS_DIR/search/lambda_0=X,eta_1=Y/...   the runs
  RUNS_DIR/search/DATA/METHOD/search.json  all validation errors and the choice

  --then-train                    Train on all labels with the choice, as RUNS_DIR/DATA/METHOD.
                                  Without it the command for that is printed.
  --print-commands                Train nothing; print the command of each setting, for xargs or a SLURM
                                  array. Once they are done, the search itself only chooses.
  --lambda-0, --eta-1, --isda and --validation are set by the search. All other flags are those of a
  training: python run.py --help
"""
_OWN = ("--then-train", "--print-commands")
_SET_HERE = ("--lambda-0", "--eta-1", "--isda", "--validation")

Setting = Mapping[str, float]
"""lambda_0, and eta_1 where there are unlabeled images, by name."""


@dataclass(frozen=True)
class Tried:
    """One setting and what it came to."""

    setting: Setting
    errors: tuple[float, ...] | None
    """On the held-out images, in percent, seed by seed; None if the training failed."""
    data_digest: str = ""
    """Of the images, the same for all seeds."""
    headline: Headline = ERROR_RATE
    """What the numbers in ``errors`` are: errors, or mIoUs."""

    @property
    def error(self) -> float:
        """Their mean; infinite where the training failed."""
        return statistics.fmean(self.errors) if self.errors else math.inf

    @property
    def loss(self) -> float:
        """What is to be small: the error, or the mIoU with its sign changed."""
        return self.error if self.headline.lower_is_better or not self.errors else -self.error


def command(arguments: Sequence[str]) -> int:
    """Search as the words after ``search`` ask for; the exit code."""
    if "--help" in arguments or "-h" in arguments:
        show(USAGE.rstrip("\n"))
        return 0
    words = [word for word in arguments if word not in _OWN]
    _check(words)
    base = resolve([*words, "--isda"])
    if {*_OWN} <= {*arguments}:
        raise UsageError("search: --print-commands trains nothing: leave --then-train out")
    grid = settings(_uses_unlabeled(base))
    trainings = [(setting, _resolved(base, words, setting)) for setting in grid]
    if "--print-commands" in arguments:
        for _, resolved in trainings:
            show(shell_command(resolved.arguments))
        return 0
    tried = [_try(resolved, setting) for setting, resolved in trainings]
    chosen = choice(tried)
    num_held_out = _num_held_out(_resolved(base, words, chosen.setting))
    _write(base, tried, chosen, num_held_out)
    show(table(tried))
    show(_verdict(tried, chosen, num_held_out * len(base.seeds)))
    whole = ["--no-validation"] if base.config.validation else []
    final = [*words, "--isda", *whole, *_flags(chosen.setting)]
    if "--then-train" in arguments:
        train_seeds(resolve(final))
    else:
        show(f"python run.py {shlex.join(final)}")
    return 0


def _check(words: Sequence[str]) -> None:
    """What a training would take, and the search does not."""
    if words and not words[0].startswith("-"):
        raise UsageError(f"search takes flags alone, such as --method vat; got {printed(words[0])}")
    for given in (word.partition("=")[0] for word in words):
        if (flag := given.replace("--no-", "--", 1)) in _SET_HERE:
            raise UsageError(f"search sets {flag} itself: leave {given} out")
        if given in ("--print-config", "--version", "--extend"):
            raise UsageError(f"search has no {given}; it belongs to a training")


def _uses_unlabeled(run: Resolved) -> bool:
    """Whether ISDA has a term of its own on the method's unlabeled images."""
    from ssl_isda import plugins
    from ssl_isda.training.method import METHODS

    plugins.load(run.config.plugin)
    method = METHODS[run.config.method]
    return bool(method.views) and method.semantic


def settings(uses_unlabeled: bool) -> list[Setting]:
    """The paper's grid, from the weakest augmentation to the strongest."""
    if not uses_unlabeled:
        return [{"lambda_0": strength} for strength in LAMBDA_0]
    return [{"lambda_0": strength, "eta_1": eta_1} for strength in LAMBDA_0 for eta_1 in ETA_1]


def choice(tried: Sequence[Tried]) -> Tried:
    """The smallest validation error; of equal ones the first, which is the weakest.

    Raises
    ------
    TrainingFailed
        Nothing could be trained.
    UsageError
        The images changed while the search ran: errors on both cannot be compared.
    """
    _refuse_other_images(tried)
    best = min(tried, key=lambda one: one.loss)
    if best.errors is None:
        raise TrainingFailed("search: the training failed with every setting; see the lines above")
    return best


def _refuse_other_images(tried: Sequence[Tried]) -> None:
    usual = usual_digests(one.data_digest for one in tried).values()
    for one in tried:
        if other := other_images(one.data_digest, usual):
            raise UsageError(
                f"search: {in_words(one.setting)} was tried on other images than most settings (digest "
                f"{one.data_digest}, of most {other}): bring them back, or take another --runs-dir"
            )


def in_words(setting: Setting) -> str:
    """ "lambda_0=0.5,eta_1=1", which is also the name of its folder."""
    return ",".join(f"{name}={value:g}" for name, value in setting.items())


def table(tried: Sequence[Tried]) -> str:
    """Validation errors in percent, lambda_0 down and eta_1 across, as Markdown."""
    across = dict.fromkeys(one.setting.get("eta_1") for one in tried)
    heads = ["" if eta_1 is None else f"eta_1 {eta_1:g}" for eta_1 in across]
    judged = next((one.headline.words for one in tried if one.errors), "error")
    rows = [[f"validation {judged} (%)", *heads]]
    for strength in dict.fromkeys(one.setting["lambda_0"] for one in tried):
        row = [one for one in tried if one.setting["lambda_0"] == strength]
        texts = ["failed" if one.errors is None else f"{one.error:.2f}" for one in row]
        rows.append([f"lambda_0 {strength:g}", *texts])
    return markdown_table(Table([[Markup(text) for text in row] for row in rows]))


# ---- one setting


def _flags(setting: Setting) -> list[str]:
    return [f"--{name.replace('_', '-')}={value:g}" for name, value in setting.items()]


def _resolved(base: Resolved, words: Sequence[str], setting: Setting) -> Resolved:
    """The training of one setting by itself, as an ordinary command, in a folder of its own."""
    kept, rest = [], iter(words)
    for word in rest:
        if word == "--runs-dir":
            next(rest)
        elif not word.startswith("--runs-dir="):
            kept.append(word)
    folder = base.config.runs_dir / "search" / in_words(setting)
    own = ["--isda", "--validation", *_flags(setting), f"--runs-dir={folder}"]
    return resolve([*kept, *own])


def _try(resolved: Resolved, setting: Setting) -> Tried:
    """A setting that cannot be trained, such as one that diverges, is only not chosen."""
    show(f"search: {in_words(setting)}")
    try:
        results = train_seeds(resolved)
    except TrainingFailed as error:
        show(f"warning: {in_words(setting)}: {error}")
        return Tried(setting, None)
    headline = headline_of_validation(results[0])
    errors = tuple(result[headline.of_validation] for result in results)
    return Tried(setting, errors, str(results[0].get("data_digest") or ""), headline)


# ---- the outcome


def _num_held_out(resolved: Resolved) -> int:
    folder = RunFolder(resolved)
    try:
        return read_split(folder.split_file).num_validation
    except Damaged as error:
        raise UsageError(f"{folder.path}: {error}") from error


def _write(base: Resolved, tried: Sequence[Tried], chosen: Tried, num_held_out: int) -> None:
    path = base.config.runs_dir / "search" / cell_name(base) / "search.json"
    make_folder(path.parent)
    kept = chosen.headline.of_validation
    outcome = {
        "chosen": dict(chosen.setting),
        chosen.headline.of_validation: chosen.error,
        "held_out_images": num_held_out,
        "seeds": list(base.seeds),
        "tried": [{**one.setting, f"{kept}s": one.errors} for one in tried],
    }
    write_json(path, outcome)
    show(f"{printed(path)} written")


def _verdict(tried: Sequence[Tried], chosen: Tried, num_images: int) -> str:
    """The choice, and how far the held-out images can tell the settings apart; not by an mIoU, whose
    pixels are not independent."""
    if not chosen.headline.lower_is_better:
        return f"chosen: {in_words(chosen.setting)}, mIoU {chosen.error:.2f} % on held-out images"
    share = chosen.error / 100
    spread = 100 * math.sqrt(share * (1 - share) / max(num_images, 1))
    near = sum(one.error <= chosen.error + spread for one in tried) - 1
    return (
        f"chosen: {in_words(chosen.setting)}, {chosen.error:.2f} % on held-out images. "
        f"{num_images:,} of them measure an error to ± {spread:.2f} points (one standard error); "
        f"{near} other setting{'s' * (near != 1)} of {len(tried)} came as close"
    )
