"""The folder of one run: who may write into it, and what stands in it.

config.yaml  split.json  preparation.npz  metrics.jsonl  timing.jsonl  log.txt  checkpoint.pt  result.json
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically, write_json
from ssl_isda.base.words import printed
from ssl_isda.parallel.launch import is_restart
from ssl_isda.runs import extension
from ssl_isda.runs.data_digest import refuse_other_images
from ssl_isda.runs.owned import empty, owned
from ssl_isda.settings.config import Resolved, differences
from ssl_isda.settings.label_words import for_folder, name_of_data

TRACES = ("checkpoint.pt", "checkpoint.pt.new", "checkpoint.pt.previous", "metrics.jsonl")
"""What a run leaves that has begun: the checkpoint by any of its names, or the first epoch."""


def cell_name(resolved: Resolved) -> str:
    """What all seeds of an experiment share: ``cifar10-4000/vat+isda``, and after it the network, loss,
    view and task where they are not the data set's own: ``cifar10-4000/vat+isda-resnet32``; and where it
    starts, if not from drawn weights: ``digits-20/vat-from_supervised``, of a frozen backbone
    ``digits-20/mean_teacher-frozen-from_supervised``; and whose generated images it takes."""
    config = resolved.config
    dataset = name_of_data(config.dataset, config.data_dir.resolve()) or config.dataset
    labels = for_folder(resolved.values)
    method = f"{config.method}{'+isda' if config.isda else ''}"
    start = [] if config.weights is None else [f"from_{_name_of_weights(config.weights)}"]
    if config.generated is not None:
        start.append(f"generated_{_name_of_weights(config.generated)}")
    start += ["pretrained"] * bool(resolved.values.get("pretrained"))
    frozen = ["frozen"] if config.freeze else []
    return f"{dataset}-{labels}/{'-'.join([method, *resolved.unusual, *frozen, *start])}"


def _name_of_weights(path: Path) -> str:
    """A run's cell, or a file's name: ``supervised`` for runs/digits-20/supervised/seed3."""
    path = path.resolve()
    return path.parent.name if re.fullmatch("seed[0-9]+", path.name) else path.stem


def sha256_of_weights(place: Path) -> str | None:
    """Of the file that ``--weights`` means, a run's newest checkpoint or the file; None if it is gone."""
    names = [*(f"checkpoint.pt{end}" for end in (".new", "", ".previous")), ""]
    file = next((file for name in names if (file := place / name).is_file()), None)
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def _remove(made: Sequence[Path]) -> None:
    """A folder and what is in it, then those of its parents, in their order, that are empty now."""
    with suppress(OSError):
        shutil.rmtree(made[0])
        for parent in made[1:]:
            parent.rmdir()


class RunFolder:
    """``runs_dir/<dataset>-<labels>/<method>[+isda]/seed<k>``, or wherever it was moved to."""

    def __init__(self, resolved: Resolved, path: Path | None = None) -> None:
        self.resolved = resolved
        self.fresh = resolved.config.fresh and not is_restart()
        name = f"seed{resolved.config.seed}"
        self.path = path or resolved.config.runs_dir / cell_name(resolved) / name
        self.config_file = self.path / "config.yaml"
        self.split_file = self.path / "split.json"
        self.result_file = self.path / "result.json"
        self.weights_file = self.path / "weights.json"

    def finished(self, data_digests: Sequence[str] = ()) -> dict[str, Any] | None:
        """The result of a run that is done, read without touching anything; else None.

        Parameters
        ----------
        data_digests : of the images that are there now, as far as they are known, in every version

        Raises
        ------
        UsageError
            The run that stands there was made with other settings or other images, or cannot be read.
        """
        if self.fresh:
            return None
        try:
            is_extended = self._refuse_other_settings()
            if not self.result_file.exists():
                return None
            result: dict[str, Any] = json.loads(self.result_file.read_text())
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror}") from error
        except ValueError as error:
            raise UsageError(
                f"{self.result_file} is damaged: delete it, and the same command writes it again"
            ) from error
        refuse_other_images(
            *(str(result.get("data_digest") or ""), data_digests),
            f"{self.path} holds a run on other images",
            self.resolved.config.data_dir,
            "take another --runs-dir, or --fresh to delete it",
        )
        self._refuse_other_weights(result.get("weights"))
        return None if is_extended else result

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Own the folder: alone, writable, with the settings recorded. A folder that was made for a run
        which is refused before it begins goes again.

        Raises
        ------
        UsageError
            It cannot be made or written, or its settings differ by more than a length to extend it to.
        FolderInUse
            Another process has it.
        """
        from ssl_isda.runs.checkpoint import remove_stray_files  # needs torch

        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            with owned(self.path):
                if self.fresh:
                    empty(self.path)
                if self._refuse_other_settings():
                    self._extend()
                if not self.has_begun():
                    self.split_file.unlink(missing_ok=True)
                    self.weights_file.unlink(missing_ok=True)
                    write_atomically(self.config_file, self.resolved.to_yaml().encode())
                remove_stray_files(self.path)
                yield
        except UsageError:
            if made and not self.has_begun():
                _remove(made)
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the folder, which is there, and change nothing in it.

        Raises
        ------
        UsageError
            It cannot be written.
        FolderInUse
            Another process has it.
        """
        with owned(self.path):
            yield

    def keep_origin(self, place: Path) -> None:
        """Note which weights the run starts from, as they are now: beside its settings, and in them as a
        comment."""
        origin = {"place": str(place), "sha256": sha256_of_weights(place)}
        write_json(self.weights_file, origin)
        note = f"# It starts from weights of SHA-256 {origin['sha256']}.\n"
        settings = self.config_file.read_text("utf-8")
        if note not in settings:
            write_atomically(self.config_file, (settings + note).encode())

    def origin(self) -> dict[str, Any]:
        """What a result says of the weights that the run started from; empty if they were drawn."""
        if not self.weights_file.is_file():
            return {}
        return {"weights": json.loads(self.weights_file.read_text())}

    def _refuse_other_weights(self, origin: Any) -> None:
        place = self.resolved.config.weights
        began = origin.get("sha256") if isinstance(origin, dict) else None
        now = sha256_of_weights(place) if began and place else None
        if now and now != began:
            raise UsageError(
                f"{self.path} holds a run that started from other weights than {place} has now "
                f"(digest {began} there, {now} now): take another --runs-dir, or --fresh to delete it"
            )

    def write_result(self, result: dict[str, Any]) -> None:
        """The run is done."""
        write_json(self.result_file, result)

    def write_unreadable(self, reasons: Mapping[str, str]) -> None:
        """Keep which images the run leaves out because they cannot be read, if any, and why."""
        if reasons:
            lines = [f"{printed(name)}\t{reason}\n" for name, reason in sorted(reasons.items())]
            text = "".join(lines).encode()
            write_atomically(self.path / "unreadable.txt", text)

    def recorded_digest(self) -> str:
        """Of the images that the result was made on; empty where no result says so."""
        try:
            result = json.loads(self.result_file.read_text())
            return str(result.get("data_digest") or "")
        except (OSError, ValueError, AttributeError):
            return ""

    def has_begun(self) -> bool:
        """Whether a run began here. A folder whose run never started may be used with other settings."""
        return any((self.path / name).exists() for name in TRACES)

    def _refuse_other_settings(self) -> bool:
        """Whether the run is finished and is to go on to a greater length."""
        config = self.resolved.config
        if not self.has_begun():
            if config.extend:
                raise UsageError(f"--extend: {self.path} holds no run that could go on")
            return False
        differing = differences(self.config_file, self.resolved)
        if differing:
            done = extension.finished_length(self.path, self.result_file, self.config_file)
            extension.refuse_other_settings(self.path, config, differing, done)
        return bool(differing)

    def _extend(self) -> None:
        """Begin to go on from the end, if the state of the end is there."""
        from ssl_isda.runs import checkpoint

        try:
            state, _ = checkpoint.load_latest(self.path / "checkpoint.pt")
        except checkpoint.CheckpointDamaged as error:
            raise UsageError(f"--extend: {error}") from error
        if state is None:
            raise UsageError(f"--extend: {self.path} is done, but its checkpoint is not here")
        extension.put_aside(self.path, self.result_file, state.get("next_step"))
        write_atomically(self.config_file, self.resolved.to_yaml().encode())
