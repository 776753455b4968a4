"""The command line: measures the parts asked for and prints one table."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ssl_isda.base.precision import fastest_precision
from ssl_isda.models import MODELS
from tests.benchmarks import __doc__ as description
from tests.benchmarks.loss import MOST_ROUNDS
from tests.benchmarks.measurement import Row, Settings

PARTS = (
    "step",
    "isda",
    "loss",
    "augmentation",
    "loader",
    "streaming",
    "imagenet",
    "startup",
    "vectors",
    "checkpoint",
    "report",
    "small_runs",
    "full_run",
    "frozen",
    "networks",
    "fit",
    "mapping",
)
COLUMNS = "{:<13}{:<43}{:>11}{:>11}  {:<22}{:<16}{:>9}{:>9}  {}"
BATCH_SIZES = {"cuda": 128, "cpu": 64}
"""On a CPU core 128 + 128 images are slow: ten minutes for one method's rows with ten rounds."""
NOTE = f"""\
ratio: ours / reference, median over the rounds [quartiles]. references: step, networks, the bare forward
and backward passes that the method needs and the SGD step; on / off and isda, the same step without ISDA;
fp32 NCHW, the bare passes in fp32 and NCHW order, never compiled; loss, the per-sample formulation, at
most {MOST_ROUNDS} rounds where that needs gigabytes; augmentation, torchvision's transforms, image by
image; loader and imagenet, torchvision's DataLoader; streaming, all images in memory; frozen, a run of
all layers; startup, vectors and mapping, see the case; checkpoint, the ten minutes of training before it
(nominal, not measured); report, an idle Python; full_run, see the case: steps and the end of every epoch,
extrapolated;
utilisation, the time that the run's products and convolutions take at the pace of the product above.
images/s: labeled + unlabeled images of ours; TFLOP/s: products and convolutions of the bare passes over
the time of the reference; memory: the most that a call holds at once, ours / reference. A target is
empty where none is set for the device."""


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write JSON if asked to."""
    parsed = _parse(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(parsed.threads)
    device = torch.device(parsed.device)
    settings = Settings(
        rounds=parsed.rounds,
        width=parsed.width,
        batch_size=parsed.batch_size or BATCH_SIZES[device.type],
        device=device,
        precision=parsed.precision or fastest_precision(device),
        compile=parsed.compile,
        models=tuple(parsed.models),
    )
    header = describe(settings)
    print("\n".join(f"{name:<10} {value}" for name, value in header.items()), end="\n\n")
    print(
        COLUMNS.format(
            *("part", "case", "ours ms", "ref. ms", "ratio", "target", "images/s", "TFLOP/s"),
            "memory",
        )
    )
    rows = []
    for part in parsed.only:
        for row in importlib.import_module(f"tests.benchmarks.{part}").measure(settings):
            print(line(row), flush=True)
            rows.append(row)
    print(f"\n{NOTE}")
    if parsed.json:
        figures = [{**asdict(row), "ratio_quartiles": row.quartiles} for row in rows]
        parsed.json.write_text(json.dumps({"header": header, "rows": figures}, indent=1) + "\n")


def describe(settings: Settings) -> dict[str, str]:
    """On what and how it was measured."""
    seconds = "CPU time of the process" if settings.uses_cpu_time else "wall clock"
    return {
        "processor": _processor(settings.device),
        "threads": str(torch.get_num_threads()),
        **_versions(settings.device),
        "precision": f"{settings.precision}, channels_last",
        "network": f"CNN-13 (or the row's), width {settings.width:g}{', compiled' * settings.compile}",
        "batch": f"{settings.batch_size} labeled + {settings.batch_size} unlabeled images",
        "rounds": f"{settings.rounds}; {seconds}",
    }


def line(row: Row) -> str:
    """One row as text."""
    low, middle, high = row.quartiles
    ours, reference = statistics.median(row.ours), statistics.median(row.reference)
    return COLUMNS.format(
        row.part,
        row.case,
        f"{1e3 * ours:,.2f}",
        f"{1e3 * reference:,.2f}",
        f"{middle:.3f} [{low:.3f} {high:.3f}]",
        _judged(middle, row.target),
        f"{row.images / ours:,.0f}" if row.images else "",
        f"{row.flops / reference / 1e12:,.2f}" if row.flops else "",
        _memory(*row.memory, row.memory_target) if row.memory else "",
    ).rstrip()


def _judged(ratio: float, target: float | None) -> str:
    return "" if target is None else f"<= {target:.3g} {'met' if ratio <= target else 'MISSED'}"


def _memory(ours: int, reference: int, target: float | None) -> str:
    ratio = ours / reference
    sizes = f"{ours / 1e6:,.1f} / {reference / 1e6:,.1f} MB = {ratio:.3f}"
    return f"{sizes} {_judged(ratio, target)}"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--rounds", type=_at_least_1, default=5)
    parser.add_argument("--width", type=float, default=1.0, help="factor on the networks' channels")
    parser.add_argument(
        "--models",
        nargs="+",
        type=_network,
        default=(),
        metavar="NAME",
        help="those of the part networks, such as resnet20 or timm:resnet18; unset: all of the project",
    )
    parser.add_argument(
        "--batch-size",
        type=_at_least_1,
        help="of each of the two streams; unset: 128, on a CPU 64",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="unset: the faster one")
    parser.add_argument("--threads", type=_at_least_1, default=1)
    parser.add_argument(
        "--compile", action="store_true", help="compile ours and the bare passes, as run.py"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measured times too")
    return parser.parse_args(arguments)


def _network(text: str) -> str:
    if text.partition(":")[0] not in MODELS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(sorted(MODELS))}")
    return text


def _at_least_1(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _versions(device: torch.device) -> dict[str, str]:
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        versions["cuda"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return versions


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        cpuinfo = []
    names = [text.split(": ", 1)[1] for text in cpuinfo if text.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main(sys.argv[1:])
