"""The runs of a grid as Ray tasks: on this machine, or on the cluster that RAY_ADDRESS names.

A task starts an ordinary command as a child process, on any node that has the project at the same path
and the same runs folder. Ray starts the task again, maybe elsewhere, when its worker or node is lost;
the command resumes.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.commands.grid.attempts import TICK, Outcome
from ssl_isda.commands.grid.progress import Progress
from ssl_isda.commands.grid.stopping import hear_sigterm
from ssl_isda.runs.grid_expansion import GridRun
from ssl_isda.settings.options import Options
from ssl_isda.settings.places import PACKAGE, program

LOST = -1
"""In place of an exit code, where a run has none because Ray could not keep it running."""
CONNECT_TIMEOUT = 10.0
"""Seconds for the cluster's head to answer."""
GRACE = 120.0
"""Seconds for all runs to save after Ctrl-C."""
OBJECT_STORE = 100 * 2**20
"""Bytes; a task takes a command and gives back a line."""


class Share(Options):
    """What each run gets, and how many run at once."""

    workers: int | None = Field(None, ge=1)
    """Most runs at a time; 1: one after another in one process, without Ray; unset: as many as find
    room."""
    cpus_per_run: float = Field(1.0, gt=0)
    """CPU cores that Ray sets aside for a run, which gets as many threads."""
    gpus_per_run: float | None = Field(None, ge=0, le=1)
    """Share of a GPU for a run: with 0.5 two run on each; unset: 1 where there are GPUs."""
    retries: int = Field(3, ge=0)
    """With Ray: times a killed run is started again, and times that it may lose its worker or machine."""


def is_installed() -> bool:
    """Whether Ray is there."""
    from importlib.util import find_spec

    return find_spec("ray") is not None


def on_ray(runs: Sequence[GridRun], share: Share, progress: Progress) -> None:
    """Hand all runs to Ray and wait; if something interrupts the wait, all are asked to save.

    Raises
    ------
    UsageError
        Ray does not start, the cluster cannot be reached, or no node is large enough for a run.
    """
    with _connected(share) as ray:
        hear_sigterm()  # Ray has put its own answer there
        task = ray.remote(_task(share.retries)).options(
            num_cpus=share.cpus_per_run,
            num_gpus=_gpus(ray, share),
            max_retries=share.retries,
            name="run.py",
        )
        most = share.workers or len(runs)
        waiting, running = list(reversed(runs)), dict[Any, GridRun]()
        with _saving(ray, running, progress):
            while waiting or running:
                while waiting and len(running) < most:
                    run = waiting.pop()
                    running[task.remote(run.arguments)] = run
                for ref in ray.wait(list(running), num_returns=1, timeout=TICK)[0]:
                    progress.ended(running.pop(ref), _outcome(ray, ref))
                progress.tick()


def _task(retries: int) -> Callable[[Sequence[str]], tuple[int, str]]:
    """What a worker does with the arguments of a run; it takes everything along but this project."""
    project, words, cwd = str(PACKAGE.parent), program(), os.getcwd()

    def task(arguments: Sequence[str]) -> tuple[int, str]:
        import sys

        sys.path.insert(0, project)
        from ssl_isda.commands.grid.attempts import run_to_end

        exit_code, reason = run_to_end([*words, *arguments], cwd, retries)
        return exit_code, reason

    return task


@contextmanager
def _saving(ray: Any, running: Mapping[Any, GridRun], progress: Progress) -> Iterator[None]:
    """If something interrupts, ask what is ``running`` to save, and wait for it."""
    try:
        yield
    except BaseException:
        for ref in running:
            ray.cancel(ref)
        if running:
            _, late = ray.wait(list(running), num_returns=len(running), timeout=GRACE)
            if late:
                progress.say(
                    f"runs that did not save within {GRACE:.0f} s: {len(late)}; "
                    "they go on from their last checkpoint"
                )
        raise


@contextmanager
def _connected(share: Share) -> Iterator[Any]:
    """Ray, started here or joined, without its usage report."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        options |= {"address": "local", "num_cpus": _num_cpus(share)}
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        if address:
            _knock(address)
        ray.init(**options)
    except Exception as error:  # no cluster, another version, a wrong token: Ray's own words
        reason = " ".join(str(error).split())[:300]
        if not address:
            raise UsageError(f"Ray does not start here: {reason}") from error
        raise UsageError(
            f"the Ray cluster at RAY_ADDRESS={address} cannot be joined: {reason}; if it has a token, "
            "docs/scaling.md says how to show it"
        ) from error
    # In the background Ray prints what it retries; that would tear the table of progress apart.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            yield ray
        finally:
            ray.shutdown()


def _num_cpus(share: Share) -> int:
    """The CPUs that affinity and container leave to this process; more only where a single run asks."""
    from joblib import cpu_count

    return max(int(cpu_count()), math.ceil(share.cpus_per_run))


def _knock(address: str) -> None:
    """Try the cluster's port: Ray itself takes ten minutes to notice that there is no answer.

    Raises
    ------
    OSError
        There is no answer.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()


def _gpus(ray: Any, share: Share) -> float:
    """The part of a GPU that a run gets.

    Raises
    ------
    UsageError
        No node has what a run asks for, so the run would never start.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = share.gpus_per_run
    if gpus is None:
        gpus = float(any(node.get("GPU", 0) for node in nodes))
    if any(
        node.get("CPU", 0) >= share.cpus_per_run and node.get("GPU", 0) >= gpus for node in nodes
    ):
        return gpus
    raise UsageError(
        f"no node has {share.cpus_per_run:g} CPUs and {gpus:g} of a GPU for a run; "
        "lower --cpus-per-run or --gpus-per-run"
    )


def _outcome(ray: Any, ref: Any) -> Outcome:
    try:
        return Outcome(*ray.get(ref))
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        text = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else " ".join(lines)
        return Outcome(LOST, f"{type(error).__name__}: {text[:300]}")
