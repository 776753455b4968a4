"""Compiled networks train as the ordinary ones do, to rounding."""

from __future__ import annotations

import dataclasses
import functools
import shutil

import pytest
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.models import CNN13
from ssl_isda.training import compilation
from tests.several_processes import SmallNetwork, build


@pytest.fixture
def one_thread(monkeypatch):
    """Compile in this process: the suite runs on few cores."""
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")


class Counted:
    """One of PyTorch's compilers, or one that leaves graphs as they are; notes how often it was asked,
    and whether each time for fixed shapes."""

    def __init__(self, name: str = "eager") -> None:
        self.compiler = torch._dynamo.lookup_backend(name)
        self.count, self.fixed_shapes = 0, True

    def __call__(self, graph, inputs):
        self.count += 1
        self.fixed_shapes &= all(isinstance(n, int) for x in inputs for n in x.shape)
        return self.compiler(graph, inputs)


def compile_counted(networks, monkeypatch, compiler: str = "eager") -> list[Counted]:
    """By ``compile_networks``, save for who compiles: one counted compiler for each network."""
    torch.compiler.reset()
    counted = [Counted(compiler) for _ in networks]

    def compile_as_asked(network, backend, *, mode, dynamic):
        assert mode is None
        torch.nn.Module.compile(network, backend=backend, dynamic=dynamic)

    for network, backend in zip(networks, counted, strict=True):
        asked = functools.partial(compile_as_asked, network, backend)
        monkeypatch.setattr(network, "compile", asked)
    compilation.compile_networks(networks, torch.device("cpu"))
    return counted


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its compiler
def test_compiled_equals_eager(one_thread, monkeypatch, tmp_path):
    """The teacher's and the student's passes, dropout masks and both bounds of ISDA, over 5 steps, with
    an epoch's end among them. Each network is one graph."""
    losses = {}
    for compiled in (False, True):
        trainer = build("mean_teacher", "isda", torch.float64, tmp_path, "small")
        if compiled:
            networks = [trainer.student, trainer.objective.regularizer.teacher]
            counted = compile_counted(networks, monkeypatch, "inductor")
            trainer.config = dataclasses.replace(trainer.config, compiled=True)
        assert sum(trainer.step(index).is_last_of_epoch for index in range(5)) == 1
        steps = [trainer.train_step(trainer.step(index)).losses for index in range(5)]
        losses[compiled] = torch.tensor([[loss.item() for loss in s.values()] for s in steps])
        assert "body.0.weight" in trainer.student.state_dict()
    assert [each.count for each in counted] == [1, 1]
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its compiler
@pytest.mark.parametrize(
    ("method", "num_graphs"),
    [("pi_model", 2), ("supervised", 1), ("temporal_ensembling", 1), ("vat", 3)],
)
def test_traced_passes_of_every_method_equal_eager(method, num_graphs, monkeypatch, tmp_path):
    """Forward and backward graphs as PyTorch traces them, without the code made of them: VAT's passes
    without parameter gradients, and those that leave BatchNorm alone, are traced right."""
    losses = {}
    for traced in (False, True):
        trainer = build(method, "isda", torch.float64, tmp_path, "small")
        if traced:
            (counted,) = compile_counted([trainer.student], monkeypatch, "aot_eager")
            trainer.config = dataclasses.replace(trainer.config, compiled=True)
        steps = [trainer.train_step(trainer.step(index)).losses for index in range(3)]
        losses[traced] = torch.tensor([[loss.item() for loss in s.values()] for s in steps])
    assert counted.count == num_graphs
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its compiler
def test_the_last_step_of_an_epoch_runs_as_it_is_written(monkeypatch, tmp_path):
    """Only that one looks at gradients term by term, and keeps its graph meanwhile."""
    trainer = build("supervised", "isda", torch.float64, tmp_path, "small")
    trainer.config = dataclasses.replace(trainer.config, compiled=True)
    (counted,) = compile_counted([trainer.student], monkeypatch)
    last = trainer.config.steps_per_epoch - 1
    trainer.train_step(trainer.step(last))
    assert trainer.watch.gradient_norms and not counted.count
    trainer.train_step(trainer.step(last + 1))
    assert counted.count == 1


@pytest.mark.filterwarnings("ignore")
def test_networks_of_many_shapes_are_all_compiled_each_for_its_own(monkeypatch):
    """By default PyTorch gives up at the ninth, and compiles for any shape from the second on."""
    networks = [SmallNetwork() for _ in range(3)]
    counted = compile_counted(networks, monkeypatch)
    for network in networks:
        for n in range(2, 5):
            network(torch.randn(n, 3, 16, 16))
    assert [(each.count, each.fixed_shapes) for each in counted] == [(3, True)] * 3


@pytest.mark.parametrize("compiled", [False, True])
def test_each_step_and_each_evaluated_batch_is_marked_for_cuda_graphs(
    compiled: bool, monkeypatch, tmp_path
):
    """As the networks' passes see it: one mark before the first of a step, none between them."""
    trainer = build("vat", "isda", torch.float64, tmp_path)
    trainer.config = dataclasses.replace(trainer.config, compiled=compiled)
    seen = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: seen.append("mark"))
    trainer.student.register_forward_pre_hook(lambda *_: seen.append("pass"))
    for index in range(2):
        trainer.train_step(trainer.step(index))
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for _ in trainer.predict(lambda: [(images, torch.zeros(4))] * 2):
        pass
    mark = ["mark"] * compiled
    assert seen == 2 * (mark + 4 * ["pass"]) + 2 * [*mark, "pass"]


@pytest.mark.parametrize(("device", "language"), [("cpu", "C\\+\\+"), ("cuda", "C")])
def test_without_a_compiler_it_is_refused(monkeypatch, device, language):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=f"needs a {language} compiler"):
        compilation.compile_networks([CNN13(3, width=0.05)], torch.device(device))
