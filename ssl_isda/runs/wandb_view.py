"""Weights & Biases as a view of a run: never a prompt, never a hang, never a reason to stop.

Online where a key is there and the server answers; offline otherwise. Whatever W&B does, training
goes on: metrics.jsonl is the truth.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import netrc
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ssl_isda.runs.run_folder import cell_name
from ssl_isda.settings.config import Resolved, experiment_settings

Mode = Literal["auto", "offline", "online", "disabled"]
START_SECONDS, FINISH_SECONDS = 20, 50
FULL_BYTES = 100_000
"""With less room than this left, W&B drops what it is told, and says nothing."""


class WandbView:
    """A run at W&B that is shown the metrics."""

    def __init__(self, run: Any, folder: Path, warn: Callable[[str], None]) -> None:
        self._run, self._folder, self._warn = run, folder, warn
        self._is_full = False

    def log(self, metrics: Mapping[str, float | int]) -> None:
        """One point on every curve, at the metrics' epoch."""
        self._quietly(lambda: self._run.log(dict(metrics)))
        self._warn_if_full()

    def show_image(self, name: str, file: Path) -> None:
        """A picture under ``name``."""

        def send() -> None:
            import wandb

            self._run.log({name: wandb.Image(str(file))})

        self._quietly(send)
        self._warn_if_full()

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """The run is over; waits a bounded time for what is still on its way.

        What was selected by validation is shown as ``best/...``, the rest as ``final/...``.
        """

        def close() -> None:
            for name, value in summary.items():
                kind, _, rest = name.partition("selected_")
                self._run.summary[f"final/{name}" if kind else f"best/{rest}"] = value
            self._run.finish(exit_code=exit_code)

        self._quietly(close)
        self._warn_if_full()

    def _warn_if_full(self) -> None:
        if self._run is None or self._is_full:
            return
        with contextlib.suppress(OSError):  # W&B may have chosen another folder
            self._is_full = shutil.disk_usage(self._folder).free < FULL_BYTES
        if self._is_full:
            self._warn(
                f"disk full: W&B cannot keep what it is shown in {self._folder}; "
                "metrics.jsonl has everything"
            )

    def _quietly(self, action: Callable[[], None]) -> None:
        if self._run is None:
            return
        try:
            action()
        except Exception as error:  # whatever fails in W&B must not end a training run
            self._warn(f"W&B stopped ({_first_line(error)}); the run goes on without it")
            self._run = None


def run_id(project: str, name: str, settings: Mapping[str, Any]) -> str:
    """The same for the same experiment and seed, however often it is stopped: 16 hexadecimal digits."""
    text = json.dumps([project, name, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_run_view(
    run: Resolved,
    folder: Path,
    *,
    history: Iterable[Mapping[str, float | int]],
    warn: Callable[[str], None],
    mode: Mode | None = None,
    job_type: str = "train",
    data_digest: str = "",
) -> WandbView | None:
    """``open_view`` for what is done with one run, under its cell; ``mode`` unset: the run's own.

    The digest of the images is shown among the settings: a page groups runs by it, too.
    """
    config, cell = run.config, cell_name(run)
    name = f"{cell}/seed{config.seed}" + (f"/{job_type}" if job_type != "train" else "")
    return open_view(
        mode or config.wandb,
        project=config.wandb_project,
        folder=folder,
        group=cell,
        name=name,
        identity=run_id(config.wandb_project, name, experiment_settings(run)),
        tags=[config.method, config.dataset, *["isda"] * config.isda],
        config={
            **config.model_dump(mode="json"),
            **experiment_settings(run),
            "data_digest": data_digest,
        },
        history=history,
        warn=warn,
        job_type=job_type,
    )


def open_view(
    mode: Mode,
    *,
    project: str,
    folder: Path,
    group: str,
    name: str,
    identity: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    history: Iterable[Mapping[str, float | int]],
    warn: Callable[[str], None],
    job_type: str = "train",
) -> WandbView | None:
    """Start a W&B run in ``folder``: one warning at most, and None where there is nothing to show to.

    W&B replaces a run by a later one with the same ``identity``, online and when offline runs are
    synchronized. So every start shows the whole ``history`` anew, and each epoch stands there once.

    Parameters
    ----------
    group : the experiment that all seeds share
    name : of the seed
    history : the metrics of the epochs that are done
    """
    wish = os.environ.get("WANDB_MODE")
    if mode == "disabled" or wish == "disabled":
        return None
    os.environ.setdefault("WANDB_SILENT", "true")  # its login speaks before our settings reach it
    try:
        import wandb
    except ImportError:
        warn("wandb is not installed; metrics.jsonl has everything that it would show")
        return None
    online = wish != "offline" and (mode == "online" or (mode == "auto" and _has_key()))
    arguments: dict[str, Any] = {
        "project": project,
        "dir": str(folder),
        "group": group,
        "name": name,
        "id": identity,
        "job_type": job_type,
        "tags": list(tags),
        "config": dict(config),
    }
    for attempt in ("online", "offline") if online else ("offline",):
        try:
            run = wandb.init(mode=attempt, settings=_settings(wandb), **arguments)
            run.define_metric("*", step_metric="epoch")
        except Exception as error:  # no network, a wrong key, no space: none is worth a lost run
            warn(f"W&B {attempt} failed ({_first_line(error)})")
            with contextlib.suppress(Exception):
                wandb.teardown()  # it would hold on to the identity
            continue
        view = WandbView(run, folder / "wandb", warn)
        for metrics in history:
            view.log(metrics)
        return view
    return None


def _settings(wandb: Any) -> Any:
    """Nothing printed, nothing asked, every wait bounded; a kill loses a second at most."""
    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=START_SECONDS,
        login_timeout=START_SECONDS,
        finish_timeout=FINISH_SECONDS,
        reinit="finish_previous",  # which a view that failed has left open
        x_file_stream_transmit_interval=1,
        x_transaction_log_flush_interval=1,
        disable_git=True,
        disable_code=True,
    )


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split(":")[0]
    try:
        return netrc.netrc().authenticators(host.rstrip("/")) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
