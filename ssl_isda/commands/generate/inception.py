"""FID and KID in Inception's features, by torch-fidelity, where its weights are at hand."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed

KID_SUBSET = 1000


class Pixels(Dataset[Tensor]):
    """(n, C, H, W) uint8 as torch-fidelity takes images: (3, H, W), grey ones three times."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Tensor:
        return self.images[place].expand(3, -1, -1)


def refuse_missing(weights: Path) -> None:
    """Before anything is computed.

    Raises
    ------
    UsageError
        There is no such file, or torch-fidelity is not installed.
    """
    if not weights.is_file():
        raise UsageError(
            f"--inception {printed(weights)}: no such file; torch-fidelity calls it "
            "pt_inception-2015-12-05-6726825d.pth"
        )
    try:
        import torch_fidelity  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "--inception needs a package that is missing here: pip install torch-fidelity"
        ) from error


def fid_and_kid(first: Tensor, second: Tensor, weights: Path) -> tuple[float, float]:
    """Of images (n, C, H, W) and (m, C, H, W) uint8, in the features of Inception as FID has them.

    Raises
    ------
    UsageError
        The file does not hold its weights.
    """
    from torch_fidelity import calculate_metrics

    try:
        found = calculate_metrics(
            input1=Pixels(first),
            input2=Pixels(second),
            fid=True,
            kid=True,
            kid_subset_size=min(KID_SUBSET, len(first), len(second)),
            feature_extractor_weights_path=str(weights),
            cuda=torch.cuda.is_available(),
            cache=False,
            save_cpu_ram=True,  # without worker processes
            verbose=False,
        )
    except (RuntimeError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(f"--inception {printed(weights)} cannot be used: {reason}") from error
    return (
        float(found["frechet_inception_distance"]),
        float(found["kernel_inception_distance_mean"]),
    )
