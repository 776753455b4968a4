"""Images that are decoded when a step needs them, for sets that are larger than the memory.

A batch is the same whether its images were expected or not, and nothing has to be saved to go on:
what the threads have decoded is a cache and no state of the run.
"""

from __future__ import annotations

import copy
import math
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.memory import available_bytes
from ssl_isda.data.decoding_threads import DecodingThreads
from ssl_isda.data.source import Shape, send

KEPT_BYTES = 1 << 30
"""Decoded pixels that are kept at once, beyond the batch in hand; or a quarter of the free memory."""
STREAMED_BEYOND = 1 << 30
"""Bytes of pixels of a folder beyond which it is streamed, unless somebody says otherwise: what is kept
decoded anyway. ``tests/benchmarks/streaming.py`` measures what either way costs."""
NUM_THREADS = min(8, os.cpu_count() or 1)
"""Pillow decodes and resizes outside the interpreter's lock: threads outrun as many processes, which
would have to send what they decode (``tests/benchmarks/loader.py``), and none of them can die alone."""
STALLED_SECONDS = 300.0
"""Without a single image, after which a disk counts as gone."""

Images = TypeVar("Images", bound="Streaming")
Result = TypeVar("Result")


class Streaming:
    """Images that threads decode ahead of the steps, at most ``KEPT_BYTES`` of them kept.

    Parameters
    ----------
    decode : gives image k as (C, H, W) uint8; called in threads; the same k gives the same pixels
    shape : (C, H, W) of every image
    labels : (N,) int64, -1 where an image has none
    fingerprint : what tells these images and labels from all others
    name : of image k, for people
    """

    lookahead = 2

    def __init__(
        self,
        decode: Callable[[int], np.ndarray],
        shape: Shape,
        labels: Tensor,
        fingerprint: str,
        name: Callable[[int], str] = "image {}".format,
    ) -> None:
        self.shape = shape
        self.labels: Tensor | None = labels
        self.fingerprint = fingerprint
        self.device = torch.device("cpu")
        free = available_bytes()
        kept = KEPT_BYTES if free is None else min(KEPT_BYTES, free // 4)
        self.most_kept = max(1, kept // math.prod(shape))
        self._num_images = len(labels)
        self._decode, self._name = decode, name
        self._functions: tuple[Callable[[Tensor], Tensor], ...] = ()
        self._threads = DecodingThreads(NUM_THREADS)
        self._kept: OrderedDict[int, Future[np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return self._num_images

    @property
    def num_kept(self) -> int:
        """Images that are decoded or being decoded."""
        return len(self._kept)

    def fetch(self, indices: Tensor) -> Tensor:
        """As in ``DataSource``.

        Raises
        ------
        UsageError
            What ``decode`` says of a file that cannot be read, or nothing is read any more.
        """
        waiting = [self._decoding(place) for place in indices.tolist()]
        pixels = np.empty((len(waiting), *self.shape), dtype=np.uint8)
        for k, (place, decoding) in enumerate(zip(indices.tolist(), waiting, strict=True)):
            pixels[k] = self._awaited(place, decoding)
        self._forget()
        images = torch.from_numpy(pixels)
        for function in self._functions:
            images = function(images)
        return send(images, self.device)

    def expect(self, indices: Tensor) -> None:
        for place in [*dict.fromkeys(indices.tolist())][: self.most_kept]:
            self._decoding(place)
        self._forget()

    def mapped(self: Images, function: Callable[[Tensor], Tensor]) -> Images:
        other = copy.copy(self)  # shares the threads and what they have decoded
        other.labels = None
        other._functions = (*self._functions, function)
        return other

    def to(self: Images, device: torch.device | str) -> Images:
        if torch.device(device) == self.device:
            return self
        other = copy.copy(self)
        other.device = torch.device(device)
        return other

    def _decoding(self, place: int) -> Future[np.ndarray]:
        """The image's pixels, present or to come; it is now the last to be forgotten."""
        if place not in self._kept:
            self._kept[place] = self._threads.submit(self._decode, place)
        self._kept.move_to_end(place)
        return self._kept[place]

    def _awaited(self, place: int, to_come: Future[Result]) -> Result:
        """What is made of this image, waited for as long as anything is made of others meanwhile."""
        while True:
            before = self._threads.last_end
            try:
                return to_come.result(STALLED_SECONDS)
            except TimeoutError as error:
                if to_come.done():
                    return to_come.result()
                if self._threads.last_end == before:
                    raise UsageError(self._stalled(place)) from error

    def _stalled(self, place: int) -> str:
        return (
            f"{self._name(place)}: no image could be read for {STALLED_SECONDS:g} s; once the disk "
            "answers again, the same command goes on from the last checkpoint"
        )

    def _forget(self) -> None:
        """Those that nothing has asked for longest, until few enough are kept."""
        while len(self._kept) > self.most_kept:
            self._kept.popitem(last=False)[1].cancel()
