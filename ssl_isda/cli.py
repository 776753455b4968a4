"""The command line: which command a word stands for, and the exit code of every way to end.

A command is imported when it is asked for, so that help and errors answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

from ssl_isda.base.errors import OutOfMemory, RunError, UsageError, missing_package
from ssl_isda.base.memory import is_lack_of_memory
from ssl_isda.base.progress import show
from ssl_isda.parallel.launch import local_rank


class Command(NamedTuple):
    """What the first word of a command line can stand for."""

    help: str
    module: str
    """Its ``command(arguments)`` answers the words that follow, with an exit code."""


COMMANDS: Mapping[str, Command] = {
    "predict": Command(
        "RUN photos   # the class of each image, as a table and a page to look at",
        "ssl_isda.commands.predict.command",
    ),
    "visualize": Command(
        "RUN --neighbours --out FOLDER   # what its classes vary along",
        "ssl_isda.commands.visualize.command",
    ),
    "generate": Command(
        "train --gan wgan   # a generator of images, and images of it",
        "ssl_isda.commands.generate.command",
    ),
    "detect": Command(
        "--data-dir coco   # Faster R-CNN and Mask R-CNN on a trained backbone",
        "ssl_isda.commands.detect.command",
    ),
    "export-model": Command(
        "RUN     # the network as one file: safetensors, torch.export or ONNX",
        "ssl_isda.commands.export_model",
    ),
    "export": Command(
        "RUN ...       # features and t-SNE of trained runs", "ssl_isda.commands.export"
    ),
    "report": Command(
        "runs          # tables and figures of all runs in a folder",
        "ssl_isda.commands.report.command",
    ),
    "grid": Command(
        "FILE.yaml       # many runs, here or on a Ray cluster", "ssl_isda.commands.grid.command"
    ),
    "search": Command(
        "--method vat     # lambda_0 and eta_1 by held-out labels", "ssl_isda.commands.search"
    ),
    "analyze": Command(
        "comparison runs   # what ISDA changes; the paper's analyses",
        "ssl_isda.commands.analyze.command",
    ),
    "models": Command(
        "               # every network: parameters, multiply-adds, source",
        "ssl_isda.commands.models",
    ),
    "dashboard": Command(
        "--entity ME   # a W&B page with a mean and a band over the seeds",
        "ssl_isda.commands.dashboard",
    ),
}
"""What may stand first instead of a flag. Each has a --help of its own."""


def main(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        return _command(arguments)
    except RunError as error:
        first_here = local_rank() == 0  # each machine has data and folders of its own
        if first_here or error.of_one_process:
            show(f"run.py: {error}", stream=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        show(f"run.py: {missing_package(error)}", stream=sys.stderr)
        return UsageError.exit_code
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        show(f"run.py: out of memory: {' '.join(str(error).split())[:200]}", stream=sys.stderr)
        return OutOfMemory.exit_code
    except KeyboardInterrupt:
        show("run.py: interrupted", stream=sys.stderr)
        return 130


def _command(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        module = importlib.import_module(COMMANDS[arguments[0]].module)
        return cast(Callable[[Sequence[str]], int], module.command)(arguments[1:])
    from ssl_isda.settings.resolve import answer, resolve

    helps = {word: command.help for word, command in COMMANDS.items()}
    text = answer(arguments, commands=helps)
    if text is not None:
        show(text.rstrip("\n"))
        return 0
    resolved = resolve(arguments, commands=helps)
    from ssl_isda.commands.train import train

    return train(resolved)


def _make_printable() -> None:
    """A closed stdout or stderr swallows what is printed; a letter that it does not know is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)


def program() -> int:
    """The whole program: what ``run.py`` and the command ``ssl-isda`` do."""
    _make_printable()
    return main(sys.argv[1:])
