"""A folder of images of 224 x 224 pixels, decoded when a step needs them, against all in memory.

Each way is a process of its own that reads the folder, makes batches and trains a narrow CNN-13, from
the command to its first step and ``NUM_STEPS`` further ones: the first start in memory decodes all
images, the next one reads what the first has kept. A streaming start keeps nothing. The preparation is
one that needs no look at all images, as that of a pretrained network. Memory is the most that a process
has resident, the files that it maps among it.

The ratio of two first steps falls with the number of images; where it passes 1, streaming begins sooner.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from tests.benchmarks.loader import MARGIN, SIDE, make_folder
from tests.benchmarks.measurement import Row, Settings

COUNTS = (500, 2_000, 8_000)
BATCH, NUM_STEPS, DIFFERENT = 16, 3, 64
WAYS = {"streaming": "--streaming", "memory": "--no-streaming", "memory again": "--no-streaming"}


def measure(settings: Settings, counts: tuple[int, ...] = COUNTS) -> Iterator[Row]:
    """Three rows for each number of images: to the first step against memory's first start and against
    its next one, and a step against a step in memory."""
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            make_large_folder(Path(place), count)
            found = {name: measured(place, flag, settings) for name, flag in WAYS.items()}
        ours = found["streaming"]
        for other, what in (("memory", "decoded"), ("memory again", "kept on disk")):
            times = [ours["first"]], [found[other]["first"]]
            memory = int(ours["memory"]), int(found[other]["memory"])
            case = f"{count:,} images, to the first step / {what}"
            yield Row("streaming", case, *times, memory=memory)
        times = [ours["step"]], [found["memory again"]["step"]]
        yield Row("streaming", f"{count:,} images, a step", *times, images=BATCH)


def make_large_folder(place: Path, count: int) -> None:
    """``DIFFERENT`` pictures under ``count`` names, told apart by bytes behind their ends."""
    make_folder(place, min(count, DIFFERENT))
    contents = [path.read_bytes() for path in sorted((place / "train").rglob("*.jpg"))]
    for k in range(len(contents), count):
        content = contents[k % len(contents)] + k.to_bytes(8, "big")
        (place / "train" / "ab"[k % 2] / f"{k}.jpg").write_bytes(content)


def measured(place: str, flag: str, settings: Settings) -> dict[str, float]:
    words = [place, flag, settings.device.type, str(torch.get_num_threads())]
    command = [sys.executable, "-m", "tests.benchmarks.streaming", *words]
    began = time.time()
    answer = subprocess.run([*command, str(began)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def trained(place: Path, flag: str, device: torch.device, began: float) -> dict[str, float]:
    """Seconds to the end of the first step, seconds of a further one, and bytes of memory."""
    from ssl_isda.base.step import Step
    from ssl_isda.data.augmentations.weak import Weak
    from ssl_isda.data.batches import TwoStreamBatches
    from ssl_isda.data.preprocessing import prepare
    from ssl_isda.data.splits import Split
    from ssl_isda.datasets.folder import Config, folder
    from ssl_isda.models import CNN13

    data = folder(Config(image_size=SIDE, streaming=flag == "--streaming"), place)
    assert data.train.labels is not None
    batches = TwoStreamBatches(
        prepare("scale", data, place).train,
        data.train.labels,
        Split("folder", "", 0, labeled=(0, 1)),
        labeled_batch_size=2,
        unlabeled_batch_size=BATCH,
        seed=0,
        augmentation=Weak(flip=True, max_translation=MARGIN),
        device=device,
    )
    network = CNN13(2, width=1 / 16).to(device, memory_format=torch.channels_last)
    times = []
    for k in range(1 + NUM_STEPS):
        batch = batches.batch(Step(k, 1 << 20, 1 << 10))
        F.cross_entropy(network(batch.views[0]).logits, batch.indices % 2).backward()
        times.append(time.time() - began)
    step = (times[-1] - times[0]) / NUM_STEPS
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"first": times[0], "step": step, "memory": memory}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    given = Path(sys.argv[1]), sys.argv[2], torch.device(sys.argv[3]), float(sys.argv[5])
    print(json.dumps(trained(*given)))
