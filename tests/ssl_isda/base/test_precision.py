"""bf16 where the processor has instructions for it."""

from pathlib import Path

import pytest
import torch

from ssl_isda.base import precision
from ssl_isda.base.precision import autocast, fastest_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f", "fp32"),
        ("fpu avx512f avx512_bf16", "bf16"),
        ("fpu amx_bf16 amx_tile", "bf16"),
    ],
)
def test_the_cpu_decides_by_its_flags(flags, expected, tmp_path: Path, monkeypatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nprocessor\t: 1\n")
    found = precision._cpu_flags(cpuinfo)
    monkeypatch.setattr(precision, "_cpu_flags", lambda: found)
    assert fastest_precision(CPU) == expected


def test_a_machine_that_tells_nothing_computes_in_fp32(tmp_path: Path) -> None:
    assert precision._cpu_flags(tmp_path / "absent") == set()
    (tmp_path / "arm").write_text("Features : fp asimd bf16\n")
    assert precision._cpu_flags(tmp_path / "arm") == set()


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_within_autocast(name, dtype) -> None:
    with autocast(CPU, name):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_gpu_decides_by_its_own_instructions_not_emulated_ones(monkeypatch) -> None:
    asked = []

    def supported(including_emulation: bool) -> bool:
        asked.append(including_emulation)
        return False

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert fastest_precision(torch.device("cuda")) == "fp32"
    assert asked == [False]
