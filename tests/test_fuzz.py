"""Whatever a file holds, a command ends well or in one line with a documented exit code."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

import pytest
import torch

from ssl_isda.runs import checkpoint
from tests.commands import CELL, ROOT, SUPERVISED, answer, train

CASES = 200
SNIPPETS = [
    *b"\n|\t|: |- |#|'|\"|{|}|[|]|&a |*a|!!int |null|true|.nan|1e999|0x10|-1|---\n|...".split(b"|"),
    *(b"!!python/object/apply:os.getcwd []", b"\xff", b"\x00", "é".encode(), b"<<: *a", b"? "),
    *(b"| ", b"labels: 10\n", b"9" * 400),
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


def ended_well(arguments: list[str], folder: Path, *codes: int) -> int:
    """One of ``codes``, with one line if it is no success; a traceback would be an exception."""
    code, _, err = answer(arguments, folder)
    assert code in codes
    assert err.count("\n") == bool(code) and len(err) < 1200, err
    return code


@pytest.mark.fault(26)
def test_fault_26_mutated_yaml(tmp_path: Path) -> None:
    originals = [path.read_bytes() for path in sorted((ROOT / "configs").glob("*.yaml"))]
    draw, codes = random.Random(0), set()
    asked = "--config my.yaml --method vat --print-config".split()
    for _ in range(CASES):
        (tmp_path / "my.yaml").write_bytes(mutated(draw.choice(originals), draw))
        codes.add(ended_well(asked, tmp_path, 0, 2))
    assert codes == {0, 2}  # neither are all refused nor are all taken


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run whose result is gone: resuming it takes no step, only the checkpoint."""
    folder = tmp_path_factory.mktemp("finished")
    train(*SUPERVISED, "--checkpoint-epochs", "1", cwd=folder)
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
def test_fault_6_mutated_checkpoints(finished: Path, tmp_path: Path, sealed: bool) -> None:
    """Half of them with a right SHA-256 over the wrong bytes."""
    original = (finished / CELL / "checkpoint.pt").read_bytes()
    draw, codes = random.Random(int(sealed)), set()
    for k in range(CASES // 2):
        content = mutated(original.partition(b"\n")[2] if sealed else original, draw)
        folder = shutil.copytree(finished, tmp_path / str(k))
        file = folder / CELL / "checkpoint.pt"
        file.write_bytes(with_its_checksum(content) if sealed else content)
        before = file.read_bytes()
        codes.add(code := ended_well(SUPERVISED, folder, 0, 2, 70, 74))
        if code:
            assert file.read_bytes() == before, "a refused checkpoint was changed"
        elif not sealed:
            assert before == original, "a changed checkpoint was taken"
        shutil.rmtree(folder)
    assert 2 in codes


@pytest.mark.fault(16)
@pytest.mark.slow
def test_fault_16_states_that_no_run_has(finished: Path, tmp_path: Path) -> None:
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
        if ended_well(SUPERVISED, folder, 0, 2) == 0:
            taken.add(what)
        shutil.rmtree(folder)
    empty = {f"{name} = {{}}" for name in ("objective", "loss_sums", "gradient_norms")}
    assert taken == empty | {"computed_on = {}", "computed_on = []"}
