"""Compiled networks train as the ordinary ones do, to rounding."""

from __future__ import annotations

import dataclasses
import functools
import shutil

import pytest
import torch

from ssl_isda import compilation
from ssl_isda.errors import UsageError
from ssl_isda.models import CNN13
from tests.several_processes import build


@pytest.fixture
def one_thread(monkeypatch):
    """Compile in this process: the suite runs on few cores."""
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its compiler
def test_compiled_equals_eager(one_thread, tmp_path):
    """The teacher's and the student's passes, dropout masks and both bounds of ISDA, over 5 steps, with
    an epoch's end among them."""
    losses = {}
    for compiled in (False, True):
        trainer = build("mean_teacher", "isda", torch.float64, tmp_path)
        if compiled:
            networks = [trainer.student, trainer.objective.regularizer.teacher]
            compilation.compile_networks(networks, torch.device("cpu"))
            assert all(network._compiled_call_impl is not None for network in networks)
            trainer.config = dataclasses.replace(trainer.config, compiled=True)
        assert sum(trainer.step(index).is_last_of_epoch for index in range(5)) == 1
        steps = [trainer.train_step(trainer.step(index)).losses for index in range(5)]
        losses[compiled] = torch.tensor([[loss.item() for loss in s.values()] for s in steps])
        assert "body.0.weight" in trainer.student.state_dict()
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its compiler
@pytest.mark.parametrize("method", ["pi_model", "supervised", "temporal_ensembling", "vat"])
def test_traced_passes_of_every_method_equal_eager(method, tmp_path):
    """Forward and backward graphs as PyTorch traces them, without the code made of them: VAT's passes
    without parameter gradients, and those that leave BatchNorm alone, are traced right."""
    losses = {}
    for traced in (False, True):
        trainer = build(method, "isda", torch.float64, tmp_path)
        if traced:
            trainer.student.compile(backend="aot_eager", dynamic=False)
            trainer.config = dataclasses.replace(trainer.config, compiled=True)
        steps = [trainer.train_step(trainer.step(index)).losses for index in range(3)]
        losses[traced] = torch.tensor([[loss.item() for loss in s.values()] for s in steps])
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-9, atol=1e-9)


class Counted:
    """A compiler that leaves graphs as they are and notes how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph, inputs):
        self.count += 1
        return graph.forward


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its compiler
def test_the_last_step_of_an_epoch_runs_as_it_is_written(monkeypatch, tmp_path):
    """Only that one looks at gradients term by term, and keeps its graph meanwhile."""
    compiler = Counted()
    trainer = build("supervised", "isda", torch.float64, tmp_path)
    trainer.config = dataclasses.replace(trainer.config, compiled=True)
    trainer.student.compile(backend=compiler)
    last = trainer.config.steps_per_epoch - 1
    trainer.train_step(trainer.step(last))
    assert trainer.gradient_norms and not compiler.count
    trainer.train_step(trainer.step(last + 1))
    assert compiler.count


@pytest.mark.filterwarnings("ignore")
def test_networks_of_many_shapes_are_all_compiled_each_for_its_own(monkeypatch):
    """By default PyTorch gives up at the ninth, and compiles for any shape from the second on."""
    compilers, shapes = [], []

    def compile_as_asked(network, *, mode, dynamic):
        compilers.append(Counted())
        original = compilers[-1].__call__

        def seen(graph, inputs):
            shapes.append(all(isinstance(n, int) for x in inputs for n in x.shape))
            return original(graph, inputs)

        torch.nn.Module.compile(network, backend=seen, dynamic=dynamic)

    networks = [CNN13(3, width=0.05) for _ in range(3)]
    for network in networks:
        monkeypatch.setattr(network, "compile", functools.partial(compile_as_asked, network))
    compilation.compile_networks(networks, torch.device("cpu"))
    for network in networks:
        for n in range(2, 6):
            network(torch.randn(n, 3, 16, 16))
    assert [compiler.count for compiler in compilers] == [4, 4, 4]
    assert all(shapes)


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
