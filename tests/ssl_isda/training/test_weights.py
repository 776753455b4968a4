"""``--weights``: a run starts from another's network or from a file, and nothing in the file is run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import ssl_isda
from ssl_isda.base.errors import UsageError
from ssl_isda.models.mlp import MLP
from ssl_isda.runs import checkpoint
from ssl_isda.training.weights import Weights, read_weights
from tests.commands import answer

STILL = {"learning_rate": 1e-30, "steps": 1}
SETTINGS: dict[str, Any] = {
    "dataset": "digits",
    "method": "supervised",
    "model": "linear",
    "threads": 1,
    "wandb": "disabled",
    "quiet": True,
}


def network(num_classes: int = 3, hidden: int = 4) -> MLP:
    return MLP(num_classes, 6, hidden=hidden, features=5)


def state(seed: int, **sizes: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return network(**sizes).state_dict()


@pytest.mark.parametrize("method", ["supervised", "mean_teacher"])
def test_a_run_starts_from_the_network_that_another_tests(method: str, tmp_path: Path) -> None:
    """Not from its student: at a learning rate of almost 0 it keeps the teacher's error."""
    settings = {**SETTINGS, "runs_dir": tmp_path, "steps": 40}
    first = ssl_isda.train(**{**settings, "method": method})
    second = ssl_isda.train(**{**settings, **STILL, "weights": first.path})
    assert second.path == tmp_path / f"digits-20/supervised-linear-from_{method}-linear/seed0"
    assert second.result["last_epoch_error"] == first.result["last_epoch_error"] < 60
    said = (second.path / "log.txt").read_text()
    assert f"starting from the weights of {first.path}\n" in said and "head" not in said
    assert second.result["weights"]["place"] == str(first.path)


def as_saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def as_safetensors(path: Path, content: Any) -> Path:
    save_file(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("w.pt", as_saved),
        ("w.safetensors", as_safetensors),
        ("w.pth", lambda path, state: as_saved(path, {"epoch": 3, "state_dict": state})),
        ("w.bin", lambda path, state: as_saved(path, {f"module.{k}": v for k, v in state.items()})),
    ],
)
def test_a_file_may_have_any_usual_form(
    name: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    student = network()
    line = read_weights(write(tmp_path / name, state(1))).load_into(student, "abc")
    assert line == f"starting from the weights of {tmp_path / name}"
    assert all(torch.equal(student.state_dict()[key], value) for key, value in state(1).items())


@pytest.mark.parametrize(
    ("there", "names", "why"),
    [
        (state(1, num_classes=7), None, "it has 7 classes there, 3 here"),
        (state(1), ("a", "b", "d"), "its classes have other names there"),
        ({k: v for k, v in state(1).items() if "head" not in k}, None, "there is none among them"),
    ],
)
def test_a_head_of_other_classes_is_new(
    there: dict[str, Tensor], names: tuple[str, ...] | None, why: str
) -> None:
    student = network()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert (
        Weights(Path("w"), there, names)
        .load_into(student, "abc")
        .endswith(f"the head is new: {why}")
    )
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name] if "head" in name else there[name]), name


WITHOUT = {k: v for k, v in state(1).items() if k != "body.2.bias"}


@pytest.mark.fault(50)
@pytest.mark.parametrize(
    ("there", "problem"),
    [
        (state(1, hidden=8), r"body\.1\.weight is \(8, 6\) there, \(4, 6\) here"),
        (WITHOUT, r"it lacks body\.2\.bias$"),
        ({**WITHOUT, "fc.bias": torch.zeros(4)}, r"it lacks body\.2\.bias, and has fc\.bias"),
        (
            {**state(1), "fc.bias": torch.zeros(4)},
            r"it has fc\.bias, which the network does not have",
        ),
        (
            {**state(1), "body.2.bias": torch.full((4,), torch.nan)},
            r"body\.2\.bias holds numbers that",
        ),
    ],
)
def test_fault_50_weights_of_another_network_are_refused_by_the_first_key(
    there: dict[str, Tensor], problem: str
) -> None:
    student = network()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(UsageError, match=f"--weights w does not fit this network: {problem}"):
        Weights(Path("w"), there).load_into(student, "abc")
    assert all(torch.equal(student.state_dict()[name], value) for name, value in before.items())


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.fault(50)
def test_fault_50_what_is_no_state_dict_is_refused_and_nothing_in_it_runs(tmp_path: Path) -> None:
    whole = as_saved(tmp_path / "whole.pt", state(1)).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.safetensors").write_bytes(
        as_safetensors(tmp_path / "whole.safetensors", state(1)).read_bytes()[:-1]
    )
    checkpoint.write(tmp_path / "checkpoint.pt", {"student": state(1)})
    as_saved(tmp_path / "code.pt", {"a": Malicious(tmp_path / "trace")})
    as_saved(tmp_path / "list.pt", [1, 2])
    as_saved(tmp_path / "number.pt", {"a": 1})
    for name, problem in {
        "cut.pt": r"cannot be read \(RuntimeError\)",
        "cut.safetensors": r"cannot be read \(SafetensorError\)",
        "checkpoint.pt": "is a run's checkpoint: give the run's folder",
        "code.pt": "holds more than tensors, .*: nothing in it was run",
        "list.pt": "holds no state dict but a list",
        "number.pt": "holds no state dict: 'a' is no tensor",
        "none.pt": "cannot be read: No such file or directory",
    }.items():
        with pytest.raises(UsageError, match=re.escape(f"--weights {tmp_path / name} ") + problem):
            read_weights(tmp_path / name)
    assert not (tmp_path / "trace").exists()


def test_a_run_that_goes_on_has_its_own_and_one_of_changed_weights_is_no_result(
    tmp_path: Path,
) -> None:
    head = {"head.weight": torch.zeros(10, 256), "head.bias": torch.zeros(10)}
    file = as_saved(tmp_path / "w.pt", head)
    settings = {**SETTINGS, "runs_dir": tmp_path, "weights": file, "steps": 3}
    run = ssl_isda.train(**settings)
    kept = (run.path / "checkpoint.pt").read_bytes()
    as_saved(file, {**head, "head.bias": torch.ones(10)})
    with pytest.raises(
        UsageError, match=r"from other weights than .*\(digest \w{64} there, \w{64} now\)"
    ):
        ssl_isda.train(**settings)
    (run.path / "result.json").unlink()  # as if it had been stopped
    file.unlink()
    again = ssl_isda.train(**settings)
    assert again.result["weights"] == run.result["weights"] and again.error == run.error
    assert (run.path / "checkpoint.pt").read_bytes() == kept
    assert ssl_isda.train(**settings).error == run.error  # the file is gone, the result is not


def test_weights_that_are_not_there_are_refused_before_any_work(tmp_path: Path) -> None:
    words = ["--dataset=digits", "--method=supervised", "--weights", "none.pt"]
    code, _, line = answer(words, tmp_path)
    assert (code, line) == (2, "run.py: --weights none.pt: no such file or run folder\n")
