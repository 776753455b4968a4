"""A trained network as a graph that needs none of this project: torch.export and ONNX.

Both take uint8 images of the network's own size, any number of them, prepare them inside, and give
probabilities (n, c), logits (n, c) and features (n, a), in fp32.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ssl_isda.data.preparation import Preparation

INPUT, OUTPUTS = "images", ("probabilities", "logits", "features")
WORDS_FILE = "ssl_isda.json"
"""Inside a file of torch.export: what the file says of itself."""


class Graph(nn.Module):
    """Preparation, network and softmax, in operations that can be exported."""

    scale: Tensor
    shift: Tensor
    mean: Tensor
    std: Tensor
    matrix: Tensor

    def __init__(self, network: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        self.network = network
        self.names = frozenset(preparation.arrays)
        for name, array in preparation.arrays.items():
            self.register_buffer(name, torch.from_numpy(array.copy()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, logits and features of (n, c, h, w) uint8, or (n, d) float32."""
        logits, features = self.network(self._prepared(images))
        return logits.softmax(1), logits, features

    def _prepared(self, images: Tensor) -> Tensor:
        if "scale" in self.names:
            return images.float() * self.scale + self.shift
        if "matrix" in self.names:
            centred = (images.double() / 255).flatten(1) - self.mean
            return (centred.float() @ self.matrix.float()).view(images.shape)
        if "std" in self.names:
            return ((images.double() - self.mean) / self.std).float()
        values = images.float()
        centred = values - values.mean((1, 2, 3), keepdim=True)
        std = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
        return centred / torch.where(std == 0, 1.0, std)


def torch_export_bytes(graph: Graph, shape: tuple[int, ...], words: Mapping[str, str]) -> bytes:
    """A file for ``torch.export.load``."""
    content = io.BytesIO()
    with _quiet():
        program = _program(graph, shape)
        torch.export.save(program, content, extra_files={WORDS_FILE: json.dumps(dict(words))})
    return content.getvalue()


def onnx_bytes(graph: Graph, shape: tuple[int, ...], words: Mapping[str, str]) -> bytes:
    """A file for onnxruntime and its like; ``words`` are the model's metadata."""
    with _quiet():
        exported = torch.onnx.export(
            _program(graph, shape),
            input_names=[INPUT],
            output_names=OUTPUTS,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    exported.model.metadata_props.update(words)
    return bytes(exported.model_proto.SerializeToString())


def _program(graph: Graph, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    example = torch.zeros(2, *shape, dtype=torch.uint8 if len(shape) == 3 else torch.float32)
    number = torch.export.Dim("n", min=1)
    with torch.no_grad():
        return torch.export.export(graph.eval(), (example,), dynamic_shapes=({0: number},))


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn of what they do inside, which nobody can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
