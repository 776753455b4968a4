"""The walk through a user's folder: images, what is passed over, and links. Imports no torch.

No file is opened, except for one whose name has no extension: it is an image if it begins as one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.data.images import formats

OF_SYSTEMS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})
"""Folders that systems put beside images without being asked; copies of images may lie in them."""
ODD_KINDS = {
    stat.S_IFIFO: "a pipe and no file: remove it",
    stat.S_IFSOCK: "a socket and no file: remove it",
    stat.S_IFCHR: "a device and no file: remove it",
    stat.S_IFBLK: "a device and no file: remove it",
}


@dataclass(frozen=True)
class ImageFile:
    """One file: its name relative to the data folder, with ``/``; class index, or -1 for none.

    ``size`` (bytes) and ``times`` (of the last change of its content and of its entry, nanoseconds)
    tell whether it has changed since it was last read.
    """

    name: str
    label: int
    size: int
    times: tuple[int, int]


class Walk:
    """One walk through a data folder, part by part, and what it met on the way.

    Parameters
    ----------
    root : the data folder
    follow_links : whether links may lead out of it, and to folders
    """

    def __init__(self, root: Path, *, follow_links: bool) -> None:
        self.root, self.follow_links = root, follow_links
        self.real_root = os.path.realpath(root)
        self.own_cache = os.path.join(root, ".cache")
        self.without_extension: list[str] = []
        """Files that have no image's extension."""
        self.hidden: list[str] = []
        """Hidden files and folders, and those that systems put there."""
        self.unreadable: dict[str, str] = {}
        """Of what is called an image and cannot be opened: name, and what it is and what to do."""
        self.leading_out: list[str] = []
        """Links that lead out of the folder, where they are not followed."""

    def folders(self, part: str) -> list[str]:
        """The folders in ``part``, sorted.

        Raises
        ------
        UsageError
            An image lies beside them, or a link that leads nowhere and has no extension.
        """
        found: list[str] = []
        if self._is_closed(part):
            return found
        with os.scandir(self.root / part) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{part}/{entry.name}"
                if self._is_hidden(entry):
                    continue
                if entry.is_symlink() and self._leads_astray(entry, name, []):
                    self._refuse_lost_folder(name)
                    continue
                if entry.is_dir():
                    found.append(entry.name)
                elif self._facts_of_image(entry, name):
                    raise UsageError(
                        f"{shown(self.root / name)} lies outside a class folder; expected "
                        f"{part}/<class>/<images>"
                    )
        return found

    def images(self, folder: str, label: int) -> list[ImageFile]:
        """The images below a folder ("": all), sorted by name, whatever the locale."""
        if self._is_closed(folder):
            return []
        found = self._below(folder, label, [os.path.realpath(self.root / folder)])
        return sorted(found, key=lambda file: file.name)

    def look_at_table(self, name: str) -> None:
        """Note a table of labels if it is a link that may not be followed; else it is not passed over."""
        is_within = _is_within(os.path.realpath(self.root / name), self.real_root)
        if not self.follow_links and not is_within:
            self.leading_out.append(name)
        self.without_extension = [other for other in self.without_extension if other != name]

    def refuse_leading_out(self) -> None:
        """Say which links lead out of the folder, if any was met that may not."""
        if self.leading_out:
            more = len(self.leading_out) - 1
            raise UsageError(
                f"{shown(self.root / self.leading_out[0])} is a link that leads out of {shown(self.root)}"
                f"{f', as {more} more do' if more else ''}: --follow-links reads what such links "
                "lead to, or copy the images there"
            )

    def _is_closed(self, folder: str) -> bool:
        """Whether the folder itself is a link that may not be followed."""
        path = self.root / folder
        if self.follow_links or not folder or not path.is_symlink():
            return False
        self._refuse_link_to_folder(folder, os.path.realpath(path))
        return True

    def _below(self, folder: str, label: int, above: list[str]) -> Iterator[ImageFile]:
        """``above`` are the true paths of the folders that the walk is in."""
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                if self._is_hidden(entry):
                    continue
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_symlink() and self._leads_astray(entry, name, above):
                    continue
                if entry.is_dir():
                    yield from self._below(name, label, [*above, os.path.realpath(entry.path)])
                elif facts := self._facts_of_image(entry, name):
                    times = (facts.st_mtime_ns, facts.st_ctime_ns)
                    yield ImageFile(name, label, facts.st_size, times)

    def _is_hidden(self, entry: os.DirEntry[str]) -> bool:
        is_hidden = entry.name[0] == "." or entry.name.lower() in OF_SYSTEMS
        if is_hidden and entry.path != self.own_cache:
            self.hidden.append(entry.path)
        return is_hidden

    def _facts_of_image(self, entry: os.DirEntry[str], name: str) -> os.stat_result | None:
        """Of a file that is to be decoded; whatever else it is, it is noted."""
        ending = formats.extension(entry.name)
        facts = entry.stat()
        kind = stat.S_IFMT(facts.st_mode)
        is_called_one = ending in formats.ALL
        if kind == stat.S_IFREG and (is_called_one or (not ending and _begins_as_one(entry.path))):
            return facts
        if is_called_one:
            self.unreadable[name] = ODD_KINDS.get(kind, "no regular file: remove it")
        else:
            self.without_extension.append(name)
        return None

    def _leads_astray(self, entry: os.DirEntry[str], name: str, above: list[str]) -> bool:
        """Whether a link is not gone after: one to nowhere, or out of the folder."""
        try:
            target = os.path.realpath(entry.path, strict=True)
        except OSError:
            self._note_dead_link(entry, name)
            return True
        if not self.follow_links and not _is_within(target, self.real_root):
            is_other = not entry.is_dir() and _is_other(entry.name)
            (self.without_extension if is_other else self.leading_out).append(name)
            return True
        if entry.is_dir():
            if not self.follow_links:
                self._refuse_link_to_folder(name, target)
            self._refuse_circle(name, target, above)
        return False

    def _note_dead_link(self, entry: os.DirEntry[str], name: str) -> None:
        if _is_other(entry.name):
            self.without_extension.append(name)
        else:  # an image, or a folder of images
            self.unreadable[name] = _about_dead_link(os.readlink(entry.path))

    def _refuse_lost_folder(self, name: str) -> None:
        if name in self.unreadable:
            raise UsageError(f"{shown(self.root / name)} is {self.unreadable[name]}")

    def _refuse_link_to_folder(self, name: str, target: str) -> None:
        if not _is_within(target, self.real_root):
            self.leading_out.append(name)
            return
        raise UsageError(
            f"{shown(self.root / name)} is a link to a folder: --follow-links reads what is in it, or "
            "put the images themselves there"
        )

    def _refuse_circle(self, name: str, target: str, above: list[str]) -> None:
        if any(_is_within(folder, target) for folder in above):
            raise UsageError(
                f"{shown(self.root / name)} is a link that leads in a circle, back to {shown(target)}: "
                "remove it"
            )


def shown(path: str | bytes | Path) -> str:
    """A path that is safe to print on one line, whatever bytes its name has."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def _is_other(name: str) -> bool:
    """Whether a name has an extension, and not an image's."""
    ending = formats.extension(name)
    return bool(ending) and ending not in formats.ALL


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _begins_as_one(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return formats.begins_as_image(file.read(formats.NUM_FIRST_BYTES))
    except OSError:
        return False


def _about_dead_link(target: str) -> str:
    command = None
    if "/annex/objects/" in target:
        command = "git annex get"
    elif "/.dvc/cache/" in target or "/files/md5/" in target:
        command = "dvc pull"
    advice = (
        f"'{command}' fetches the file" if command else "bring the file back or remove the link"
    )
    return f"a link that leads nowhere: {advice}"
