"""What holds for the exported file of every network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.data.preparation import Preparation
from ssl_isda.models import MODELS
from ssl_isda.training.exported import is_exported, read_safetensors, safetensors_bytes, words_of
from ssl_isda.training.graph import Graph
from tests.narrow_networks import build, narrow

CLASSES = ("a", "b", "c", "é\n")
ARRAYS = {
    "normalize": {"scale": np.full((3, 1, 1), 0.01, "f4"), "shift": np.full((3, 1, 1), -0.5, "f4")},
    "zca": {"mean": np.linspace(0, 1, 768), "matrix": np.eye(768, k=3, dtype="f4")},
    "standardize": {},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_network_is_built_again_from_its_file(name: str, tmp_path: Path) -> None:
    network, path = build(name, num_classes=4).eval(), tmp_path / "n.safetensors"
    kept = Preparation("zca", (3, 16, 16), CLASSES, ARRAYS["zca"], bits=12)
    words = words_of(kept, name, MODELS.config(name)(**narrow(name)), "fp32")
    path.write_bytes(safetensors_bytes(network, kept, words))
    again, preparation, precision = read_safetensors(path)
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(again(preparation(images)).logits, network(kept(images)).logits)
    assert (preparation.class_names, preparation.bits, precision) == (CLASSES, 12, "fp32")
    assert is_exported(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_exported(path)
    with pytest.raises(UsageError, match="another network than 'linear'"):
        safetensors_bytes(
            torch.nn.Linear(2, 2), kept, {**words, "model": "linear", "options": "{}"}
        )


def test_the_file_of_a_network_of_vectors_knows_their_columns(tmp_path: Path) -> None:
    network, path = build("mlp", shape=(2,), widths=(5, 4)).eval(), tmp_path / "n.safetensors"
    arrays = {"mean": np.array([1e9, 0.0]), "std": np.array([3.0, 1.0])}
    kept = Preparation("normalize", (2,), CLASSES, arrays, columns=("x", "y"), label_column="z")
    options = MODELS.config("mlp")(**narrow("mlp", widths=(5, 4)))
    path.write_bytes(safetensors_bytes(network, kept, words_of(kept, "mlp", options)))
    again, preparation, _ = read_safetensors(path)
    assert (preparation.columns, preparation.label_column) == (("x", "y"), "z")
    rows = torch.tensor([[1e9 + 3, 2.0]], dtype=torch.float64)
    assert preparation(rows).tolist() == [[1.0, 2.0]]
    assert torch.equal(again(preparation(rows)).logits, network(kept(rows)).logits)
    logits = Graph(network, kept)(rows)[1]
    assert torch.equal(logits, network(kept(rows)).logits)


@pytest.mark.parametrize("name", ARRAYS)
def test_the_graph_prepares_images_as_training_does(name: str) -> None:
    preparation = Preparation(name, (3, 16, 16), CLASSES, ARRAYS[name])
    network = build("linear").eval()
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    images[0] = 7  # of one colour
    expected = network(preparation(images))
    probabilities, logits, features = Graph(network, preparation)(images)
    torch.testing.assert_close(logits, expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(features, expected.features, rtol=0, atol=1e-5)
    torch.testing.assert_close(probabilities, expected.logits.softmax(1), rtol=0, atol=1e-5)
