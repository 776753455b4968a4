"""The real command line in processes that have PyTorch and the data loaded before they begin.

Most of a short run's time is its imports. So one process a test worker loads them once, and then forks
for each command: the child gets the arguments, folder and streams of its command and runs ``cli.main``
as ``python run.py`` does. What happens before and during the imports, or depends on the environment, is
another matter, and its tests start Python itself (``tests.commands.RUN``).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]


class WarmStart:
    """The process that forks; it ends with this one."""

    def __init__(self, environment: Mapping[str, str], launcher: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*launcher, sys.executable, __file__],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.process.communicate)  # its stdin closes, and it ends

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        prelude: str = "",
        stdout: Path | None = None,
        watch: Callable[[int], None] = lambda pid: None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with these variables beside those of the start.

        The child runs the Python of ``prelude`` first, and may print to another file; ``watch`` is
        given the process and may strike it.
        """
        assert self.process.stdin and self.process.stdout
        with TemporaryDirectory() as folder:
            streams = [str(stdout or f"{folder}/out"), f"{folder}/err"]
            child = [arguments, str(cwd), streams, dict(environment or {}), prelude]
            print(json.dumps(child), file=self.process.stdin, flush=True)
            pid = int(self.process.stdout.readline())
            try:
                watch(pid)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise
            finally:
                code = int(self.process.stdout.readline())
            out, err = ("" if stdout == Path(f) else Path(f).read_text() for f in streams)
        return subprocess.CompletedProcess(arguments, code, out, err)


def _serve() -> None:
    from ssl_isda import cli

    _load()
    gc.freeze()  # a collection in a child would copy every page
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(cli, *json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _load() -> None:
    """What commands import on their way: a run on digits, and an export of one."""
    ours = ("assembly.start", "commands.export", "commands.train_one", "results.embedding")
    others = ("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "yaml")
    for name in (
        *(f"ssl_isda.{part}" for part in ours),
        *(
            "ssl_isda.methods",
            "ssl_isda.datasets",
            "filelock",
            "sklearn.datasets",
            "sklearn.manifold",
            "sklearn.metrics",
        ),
        *("matplotlib.figure", *others),
    ):
        importlib.import_module(name)
    importlib.import_module("ssl_isda.settings.components").read_components()


def _become(
    cli: Any,
    arguments: Sequence[str],
    cwd: str,
    streams: Sequence[str],
    environment: Mapping[str, str],
    prelude: str,
) -> None:
    """Be the process of one command, to its end."""
    os.environ.update(environment)
    os.chdir(cwd)
    exec(prelude, {})
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv[1:] = arguments
    cli._make_printable()
    code = cli.main(arguments)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # without taking apart, page by page, what was loaded before the fork


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _serve()
