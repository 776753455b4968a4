"""Whatever a file holds, a command ends well or in one line with a documented exit code."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

import pytest
import torch

from ssl_isda import cli
from ssl_isda.runs import checkpoint
from tests.commands import CELL, SUPERVISED

ROOT = Path(__file__).parents[1]
EXIT_CODES = {0, 2, 70, 74}
CASES = 200
SNIPPETS = [
    *(
        b"\n",
        b"\t",
        b": ",
        b"- ",
        b"#",
        b"'",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"&a ",
        b"*a",
        b"!!int ",
    ),
    *(b"!!python/object/apply:os.getcwd []", b"null", b"true", b".nan", b"1e999", b"0x10", b"\xff"),
    *(
        "é".encode(),
        b"\x00",
        b"---\n",
        b"...",
        b"<<: *a",
        b"? ",
        b"| ",
        b"labels: 10\n",
        b"-1",
        b"9" * 400,
    ),
]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """1 to 4 changes, each to a stretch of up to 60 bytes."""
    for _ in range(draw.randint(1, 4)):
        begin = draw.randrange(len(content) + 1)
        end = min(len(content), begin + draw.choice([1, 2, 8, 60]))
        content = content[:begin] + changed(content[begin:end], draw) + content[end:]
    return content


def changed(piece: bytes, draw: random.Random) -> bytes:
    """A bit flipped, the piece cut out, doubled, turned round, led by or replaced with a snippet."""
    flipped = bytes(byte ^ (1 << draw.randrange(8)) for byte in piece[:1]) + piece[1:]
    snippet = draw.choice(SNIPPETS)
    return draw.choice([flipped, b"", piece + piece, piece[::-1], snippet + piece, snippet])


def assert_ends_well(arguments: list[str], capsys: pytest.CaptureFixture[str], *codes: int) -> int:
    """In this process, where a traceback would be an exception; ``codes``: those that may be."""
    code = cli.main(arguments)
    stderr = capsys.readouterr().err
    assert code in (codes or EXIT_CODES)
    assert stderr.count("\n") == bool(code) and len(stderr) < 1200, stderr
    return code


@pytest.mark.fault(26)
def test_fault_26_mutated_yaml(tmp_path: Path, capsys) -> None:
    originals = [path.read_bytes() for path in sorted((ROOT / "configs").glob("*.yaml"))]
    draw, codes = random.Random(0), []
    for _ in range(CASES):
        file = tmp_path / "my.yaml"
        file.write_bytes(mutated(draw.choice(originals), draw))
        arguments = ["--config", str(file), "--method", "vat", "--print-config"]
        codes.append(assert_ends_well(arguments, capsys, 0, 2))
    assert {0, 2} == set(codes)  # neither are all refused nor are all taken


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run whose result is gone: resuming it takes no step, only the checkpoint."""
    folder = tmp_path_factory.mktemp("finished")
    flags = [*SUPERVISED, "--checkpoint-epochs", "1", "--runs-dir", str(folder / CELL.parts[0])]
    assert cli.main(flags) == 0
    (folder / CELL / "result.json").unlink()
    (folder / CELL / "checkpoint.pt.previous").unlink()
    return folder


def with_its_checksum(payload: bytes) -> bytes:
    """So that the damage reaches the reader of tensors."""
    digest = hashlib.sha256(payload).hexdigest().encode()
    return b"%s %d %s\n" % (checkpoint.MAGIC, checkpoint.VERSION, digest) + payload


@pytest.mark.fault(6)
@pytest.mark.slow
@pytest.mark.parametrize("sealed", [False, True], ids=["damaged", "damaged, then sealed"])
def test_fault_6_mutated_checkpoints(finished: Path, tmp_path: Path, capsys, sealed: bool) -> None:
    """Half of them with a right SHA-256 over the wrong bytes."""
    original = (finished / CELL / "checkpoint.pt").read_bytes()
    draw, codes = random.Random(int(sealed)), []
    for k in range(CASES // 2):
        content = original.partition(b"\n")[2] if sealed else original
        content = mutated(content, draw)
        folder = shutil.copytree(finished, tmp_path / str(k))
        file = folder / CELL / "checkpoint.pt"
        file.write_bytes(with_its_checksum(content) if sealed else content)
        before = file.read_bytes()
        flags = [*SUPERVISED, "--runs-dir", str(folder / CELL.parts[0])]
        codes.append(assert_ends_well(flags, capsys))
        if codes[-1]:
            assert file.read_bytes() == before, "a refused checkpoint was changed"
        elif not sealed:
            assert before == original, "a changed checkpoint was taken"
        shutil.rmtree(folder)
    assert 2 in codes


@pytest.mark.fault(16)
@pytest.mark.slow
def test_fault_16_states_that_no_run_has(finished: Path, tmp_path: Path, capsys) -> None:
    """Every entry of a state, taken away, and put in with another type.

    What is taken says nothing else: a method without a state has an empty one, no losses are summed at
    an epoch's end, and nothing needs to be known of where a run was computed.
    """
    whole = checkpoint.load(finished / CELL / "checkpoint.pt")
    others = [None, -1, "text", [], {}, torch.zeros(2)]
    states = {f"no {name}": {k: v for k, v in whole.items() if k != name} for name in whole}
    states |= {f"{name} = {o}": {**whole, name: o} for name in whole for o in others}
    taken = set()
    for k, (what, state) in enumerate(states.items()):
        folder = shutil.copytree(finished, tmp_path / str(k))
        checkpoint.save(folder / CELL / "checkpoint.pt", state)
        (folder / CELL / "checkpoint.pt.previous").unlink()
        flags = [*SUPERVISED, "--runs-dir", str(folder / CELL.parts[0])]
        if assert_ends_well(flags, capsys, 0, 2) == 0:
            taken.add(what)
        shutil.rmtree(folder)
    empty = {f"{name} = {{}}" for name in ("objective", "loss_sums", "gradient_norms")}
    assert taken == empty | {"computed_on = {}", "computed_on = []"}
