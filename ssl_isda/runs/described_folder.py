"""The folder of a training that is no run of a method: its words, and who may write into it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_json
from ssl_isda.base.words import printed
from ssl_isda.runs.owned import empty, owned
from ssl_isda.runs.tracking import Tracker
from ssl_isda.runs.wandb_view import Mode, WandbView, open_view, run_id

NOT_SETTINGS = ("format",)


class DescribedFolder:
    """A folder and the words that describe what is trained there.

    Parameters
    ----------
    file_name : of the words, as JSON
    kind : what is trained: "a generator"
    """

    def __init__(self, path: Path, words: Mapping[str, Any], file_name: str, kind: str) -> None:
        self.path, self.words, self.kind = path, words, kind
        self.words_file = path / file_name
        self.result_file = path / "result.json"

    @contextmanager
    def opened(self, *, fresh: bool) -> Iterator[None]:
        """Own the folder, with the words recorded.

        Raises
        ------
        UsageError
            It cannot be written, or holds what was trained otherwise.
        FolderInUse
            Another process has it.
        """
        from ssl_isda.runs.checkpoint import remove_stray_files

        with owned(self.path):
            if fresh:
                empty(self.path)
            self._refuse_other_words()
            write_json(self.words_file, self.words)
            remove_stray_files(self.path)
            yield

    def result(self) -> dict[str, Any] | None:
        """Of a training that is done; else None."""
        if not self.result_file.is_file():
            return None
        found: dict[str, Any] = json.loads(self.result_file.read_text("utf-8"))
        return found

    def view(
        self, mode: Mode, project: str, tracker: Tracker, tags: Sequence[str], job_type: str
    ) -> WandbView | None:
        """W&B's, where it is asked for; called like the last four folders of the path."""
        *group, seed = self.path.parts[-4:]
        name = "/".join([*group, seed])
        return open_view(
            mode,
            project=project,
            folder=self.path,
            group="/".join(group),
            name=name,
            identity=run_id(project, name, self.words),
            tags=tags,
            config=self.words,
            history=tracker.shown(),
            warn=tracker.warn,
            job_type=job_type,
        )

    def _refuse_other_words(self) -> None:
        if not any(self.path.glob("checkpoint.pt*")):
            return
        try:
            there = dict(json.loads(self.words_file.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"{printed(self.words_file)} cannot be read: --fresh starts over"
            ) from error
        now = json.loads(json.dumps(self.words))
        differing = [
            f"{name}: {there.get(name)} there, {now[name]} now"
            for name in now
            if name not in NOT_SETTINGS and there.get(name) != now[name]
        ]
        if differing:
            raise UsageError(
                f"{printed(self.path)} holds {self.kind} that was trained otherwise "
                f"({'; '.join(differing)[:200]}): take another --runs-dir, or --fresh to delete it"
            )
