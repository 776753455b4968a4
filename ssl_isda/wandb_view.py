"""Weights & Biases as a view of a run: never a prompt, never a hang, never a reason to stop.

Online where a key is there and the server answers; offline otherwise. Whatever W&B does, training
goes on: metrics.jsonl is the truth.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

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

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """The run is over; waits a bounded time for what is still on its way."""

        def close() -> None:
            for name, value in summary.items():
                self._run.summary[f"final/{name}"] = value
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


def open_view(
    mode: Mode,
    *,
    project: str,
    folder: Path,
    group: str,
    name: str,
    config: Mapping[str, Any],
    warn: Callable[[str], None],
) -> WandbView | None:
    """Start a W&B run in ``folder``: one warning at most, and None where there is nothing to show to.

    ``group`` is the experiment that all seeds share, ``name`` the seed.
    """
    wish = os.environ.get("WANDB_MODE")
    if mode == "disabled" or wish == "disabled":
        return None
    try:
        import wandb
    except ImportError:
        warn("wandb is not installed; metrics.jsonl has everything that it would show")
        return None
    online = mode == "online" or (mode == "auto" and wish != "offline" and _has_key())
    arguments: dict[str, Any] = {
        "project": project,
        "dir": str(folder),
        "group": group,
        "name": name,
        "config": dict(config),
        "settings": wandb.Settings(
            silent=True,
            console="off",
            init_timeout=START_SECONDS,
            login_timeout=START_SECONDS,
            finish_timeout=FINISH_SECONDS,
            disable_git=True,
            disable_code=True,
        ),
    }
    for attempt in ("online", "offline") if online else ("offline",):
        try:
            run = wandb.init(mode=attempt, **arguments)
        except Exception as error:  # no network, a wrong key, no space: none is worth a lost run
            warn(f"W&B {attempt} failed ({_first_line(error)})")
            continue
        run.define_metric("*", step_metric="epoch")
        return WandbView(run, folder / "wandb", warn)
    return None


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
