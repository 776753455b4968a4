"""Generators that others wrote: by a name, or as an exported program; and those that do not fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.generators.contract import GENERATORS
from ssl_isda.generators.imagenet_numbers import imagenet_numbers
from ssl_isda.generators.mapping import Descent, Target, regain
from ssl_isda.generators.saved import FORMAT, Asked, read_generator, refuse_misfit

CPU = torch.device("cpu")
BIGGAN = Path("biggan")
NAMES = ("Tabby", "n02099712", "shih_tzu")


class Own(nn.Module):
    """7 numbers to an image of 1 x 2 x 3."""

    num_noise = 7

    def __init__(self, change: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.map, self.change = nn.Linear(7, 6), change
        self.drop = nn.Dropout(0.5)

    def forward(self, z: Tensor) -> Tensor:
        return self.change(self.drop(self.map(z))).view(-1, 1, 2, 3)


def test_a_registered_module_and_its_exported_program_are_one(tmp_path: Path) -> None:
    module = Own().eval()
    GENERATORS.register("own")(lambda: module.train())
    z = torch.randn(4, 7)
    batch = torch.export.Dim("n")
    program = torch.export.export(module, (z,), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "own.pt2")
    for place in (Path("own"), tmp_path / "own.pt2"):
        saved = read_generator(place, CPU)
        assert saved.generator.num_noise == 7 and not saved.generator.knows_classes
        refuse_misfit(saved, (1, 2, 3), 10)
        images = saved.generator(z, torch.zeros(4).long())
        assert torch.equal(images, saved.generator(z, torch.zeros(4).long()))  # no dropout
        assert torch.allclose(images, module.eval()(z)) and not images.requires_grad


@pytest.mark.parametrize(
    ("change", "shape", "told"),
    [
        (torch.tanh, (1, 3, 2), "makes images of 1 x 2 x 3, and those of the run are 1 x 3 x 2"),
        (lambda x: 3 + x.exp(), (1, 2, 3), "they must be from -1 to 1"),
        (lambda x: x / 0, (1, 2, 3), "they must be from -1 to 1"),
        (lambda x: x @ x, (1, 2, 3), "makes no images of z: RuntimeError"),
    ],
    ids=["shape", "range", "not finite", "error"],
)
def test_a_generator_that_does_not_fit_is_refused(
    change: Callable[[Tensor], Tensor], shape: tuple[int, ...], told: str
) -> None:
    GENERATORS.register("misfit")(lambda: Own(change))
    with pytest.raises(UsageError, match=told):
        refuse_misfit(read_generator(Path("misfit"), CPU), shape, 10)


def test_what_is_no_generator_is_refused(tmp_path: Path, caplog) -> None:
    (tmp_path / "broken.pt2").write_bytes(b"no archive")
    (tmp_path / "folder").mkdir()
    words = {"format": FORMAT, "gan": "cgan", "class_names": "ab", "shape": (1, 8, 8), "steps": 1}
    words["options"] = {"channels": 4}
    for name, changed in (
        ("seeds/seed3", {}),
        ("typo", {"options": {"chanels": 4}}),
        ("size", {"options": {"channels": 0.5}}),
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "generator.json").write_text(json.dumps(words | changed))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/generator.json").write_text(json.dumps({"format": FORMAT}))
    for name, told in (
        ("none", "no such folder of generate train"),
        ("broken.pt2", "cannot be read"),
        ("folder", "has no generator.json"),
        ("seeds", "has no generator.json; give one of its seeds, such as .*seed3"),
        ("empty", "it says nothing of gan"),
        ("typo", "describes no pair: .* unexpected keyword argument 'chanels'"),
        ("size", "describes no pair: .* of type float"),
    ):
        with pytest.raises(UsageError, match=told):
            read_generator(tmp_path / name, CPU)
    assert not caplog.records


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as those of the published BigGAN: 3 x 32 x 32 pixels, 16 numbers in z."""
    biggan = pytest.importorskip("pytorch_pretrained_biggan")
    place = tmp_path_factory.mktemp("weights")
    layers = [(True, 16, 8), (True, 8, 4), (False, 4, 2), (True, 2, 1)]
    sizes = {"output_dim": 32, "z_dim": 16, "channel_width": 8}
    config = biggan.BigGANConfig(**sizes, layers=layers, attention_layer_position=3)
    torch.manual_seed(0)
    network = biggan.BigGAN(config)
    nn.init.ones_(network.generator.bn.weight)
    nn.init.zeros_(network.generator.bn.bias)
    for _ in range(5):  # in training mode: the spectral norms' vectors converge
        network(torch.randn(2, 16), torch.eye(1000)[:2], 1.0)
    (place / "config.json").write_text(config.to_json_string())
    torch.save(network.state_dict(), place / "pytorch_model.bin")
    return place


def test_a_published_generator_makes_images_of_the_run_and_is_descended_through(
    weights: Path,
) -> None:
    saved = read_generator(BIGGAN, CPU, Asked(NAMES, (3, 12, 20), weights))
    refuse_misfit(saved, (3, 12, 20), 3)
    generator, z = saved.generator, torch.randn(2, 16)
    assert generator.knows_classes and generator.num_noise == 16
    by_number = read_generator(BIGGAN, CPU, Asked(NAMES, (3, 32, 32), weights, (281, 207, 155)))
    whole = by_number.generator.module.network(z, torch.eye(1000)[[281, 155]], 1.0)
    images = by_number.generator(z, torch.tensor([0, 2]))
    assert torch.equal(images, whole) and whole.std() > 0.01
    smaller = nn.functional.interpolate(whole, (12, 20), mode="bilinear", antialias=True)
    assert torch.allclose(generator(z, torch.tensor([0, 2])), smaller, atol=1e-6)
    target = Target(smaller.flatten(1), torch.tensor([1, 1]), smaller, 1.0)
    found = regain(generator, lambda x: x.flatten(1), target, z, Descent(10.0, 4))
    assert ((found.z - z).abs() > 1e-6).all() and (found.after < found.before).all()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"weights": None}, "needs --generator-weights, the folder of its config.json and"),
        ({"weights": Path("nowhere")}, "nowhere has no config.json"),
        (
            {"class_names": ("tabby", "frog")},
            "1 of the run's 2 classes are not found .*no class has the name 'frog'",
        ),
        ({"class_names": ("crane",)}, "two classes have the name 'crane'"),
        ({"classes": (1, 2)}, "one number for each of the run's 3 classes, in their order, got 2"),
        ({"classes": (1, 2, 1000)}, "must be from 0 to 999, got 1000"),
        ({"classes": (1, -2, 3)}, "must be from 0 to 999, got -2"),
    ],
    ids=str,
)
def test_a_published_generator_that_cannot_serve_a_run_is_refused(
    weights: Path, asked: dict[str, Any], told: str
) -> None:
    given = Asked(NAMES, (3, 32, 32), weights)._replace(**asked)
    with pytest.raises(UsageError, match=told):
        read_generator(BIGGAN, CPU, given)


def test_weights_that_are_damaged_or_of_another_network_are_refused(
    weights: Path, tmp_path: Path
) -> None:
    state = torch.load(weights / "pytorch_model.bin", weights_only=True)
    config = json.loads((weights / "config.json").read_text())

    def refuses(told: str) -> None:
        with pytest.raises(UsageError, match=told):
            read_generator(BIGGAN, CPU, Asked(NAMES, (3, 32, 32), tmp_path))

    (tmp_path / "config.json").write_text("[")
    (tmp_path / "pytorch_model.bin").write_bytes(b"no archive")
    refuses("cannot be used: JSONDecodeError")
    (tmp_path / "config.json").write_text(json.dumps(config))
    refuses("cannot be used: UnpicklingError")
    torch.save({k: v for k, v in state.items() if "gen_z" not in k}, tmp_path / "pytorch_model.bin")
    refuses("lacks . arrays of the network in config.json, generator.gen_z")
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(config | {"channel_width": 16}))
    refuses("cannot be used: RuntimeError")


def test_a_missing_package_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_pretrained_biggan", None)
    with pytest.raises(UsageError, match="pip install pytorch-pretrained-biggan"):
        read_generator(BIGGAN, CPU, Asked(NAMES, (3, 32, 32), weights))


def test_a_registered_generator_is_asked_for_what_it_takes_alone(tmp_path: Path) -> None:
    taken: dict[str, Any] = {}
    GENERATORS.register("asking")(
        lambda weights, shape: taken.update(weights=weights, shape=shape) or Own()
    )
    read_generator(Path("asking"), CPU, Asked(("a",), (1, 2, 3), tmp_path))
    assert taken == {"weights": tmp_path, "shape": (1, 2, 3)}
    for place, asked in (("asking", Asked(classes=(1,))), ("other.pt2", Asked(weights=tmp_path))):
        with pytest.raises(UsageError, match=f"is no flag for --generator {place}"):
            read_generator(Path(place), CPU, asked)


def test_classes_of_imagenet_by_name_and_in_their_order() -> None:
    pytest.importorskip("pytorch_pretrained_biggan")
    from torchvision.models import ResNet50_Weights

    names = ResNet50_Weights.DEFAULT.meta["categories"]
    assert imagenet_numbers(names) == tuple(range(1000))
    assert imagenet_numbers(["tench, Tinca tinca", "n15075141", "sulphur_crested cockatoo"]) == (
        *(0, 999, 89),
    )
    with pytest.raises(UsageError, match="two classes have the name 'maillot'"):
        imagenet_numbers(names[::-1])
