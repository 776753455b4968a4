"""``run.py visualize``: directions against an independent reference, and what the command leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_isda.base.errors import UsageError
from ssl_isda.commands.visualize import nearest
from ssl_isda.commands.visualize.differentiable import prepared
from ssl_isda.commands.visualize.directions import furthest, principal
from ssl_isda.commands.visualize.regaining import KINDS, How, mapped, steps_of
from ssl_isda.commands.visualize.trained_run import TrainedRun
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preprocessing import prepare
from ssl_isda.generators.contract import images_of
from ssl_isda.generators.saved import read_generator, refuse_misfit
from ssl_isda.settings.options import Place
from ssl_isda.settings.recorded import settings_of_run
from tests.commands import CELL, SUPERVISED, answer, refusal

FILES = {"neighbours.png", "neighbours.html", "neighbours.json"}
PIXELS = {"pixels.png", "nearest.png", "pixels.html", "pixels.json"}
GENERATE = """
generate train --gan acgan --channels 2 --steps 20 --learning-rate 0.02 --batch-size 8 --threads 1
--wandb disabled --dataset
""".split()
MAPPED = "--images 20 --iterations 4 --draws 2 --out pixels --generator".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run without ISDA, and one with it."""
    place = tmp_path_factory.mktemp("runs")
    for isda in ([], ["--isda"]):
        assert answer([*SUPERVISED, *isda], place).code == 0
    for dataset in ("digits", "digit_pairs"):
        assert answer([*GENERATE, dataset], place).code == 0
    return place


def test_principal_directions_are_those_of_numpys_decomposition() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 6)) * [3, 2, 1, 0.5, 0.1, 0]
    found = principal(torch.from_numpy(np.cov(rows.T, bias=True)), 6)
    _, singular, vectors = np.linalg.svd(rows - rows.mean(0))
    variances = singular**2 / 40
    assert found.vectors.shape == (5, 6)  # along the sixth there is no variance
    assert np.allclose(found.variances, variances[:5])
    assert np.allclose(found.shares, variances[:5] / variances.sum())
    assert np.allclose(np.abs(found.vectors.numpy() @ vectors[:5].T), np.eye(5), atol=1e-6)
    assert (found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all()


def test_furthest_each_way_and_never_both() -> None:
    features = torch.tensor([[0.0, 9.0], [4.0, 1.0], [1.0, 5.0], [-5.0, 2.0]]).double()
    far = furthest(features, torch.tensor([1.0, 0.0]).double(), 3)
    assert (far.below, far.above) == ([3, 0], [1, 2])
    deviation = features[:, 0].std(correction=0)
    assert far.distances_above == pytest.approx([float(4 / deviation), float(1 / deviation)])


@pytest.mark.parametrize(
    ("cell", "told"), [(CELL, "estimated from the features of the 1,347"), (CELL, "(full)")]
)
def test_neighbours_lie_where_the_numbers_say(place: Path, cell: Path, told: str) -> None:
    run = cell if told.startswith("est") else cell.parent.with_name("supervised+isda-mlp") / "seed0"
    words = ["--neighbours", "--out", "shown", "--class", "3", "--directions", "2"]
    said = answer(["visualize", str(run), *words], place)
    assert said.code == 0 and told in said.out
    assert {path.name for path in (place / "shown").iterdir()} == FILES
    numbers = json.loads((place / "shown/neighbours.json").read_text())
    assert told in numbers["covariances"]
    lines = numbers["directions"]
    assert [line["direction"] for line in lines] == [1, 2]
    assert lines[0]["variance"] >= lines[1]["variance"] > 0
    for line in lines:
        assert line["distances_below"] == sorted(line["distances_below"])
        assert line["distances_above"] == sorted(line["distances_above"], reverse=True)
    with Image.open(place / "shown/neighbours.png") as picture:
        assert picture.size[1] == 2 * 8 + 2 * 48 + 4
    assert (place / "shown/neighbours.html").read_text().count("<img") == 2 * 12


def test_what_cannot_be_shown_is_refused_in_one_line(place: Path) -> None:
    words = ["visualize", str(CELL), "--neighbours", "--out", "nothing", "--class", "11"]
    assert "has no class '11'; did you mean '1'?" in refusal(*words, cwd=place)
    assert not (place / "nothing").exists()


def generator_of(dataset: str) -> str:
    return f"runs/generators/{dataset}-all/acgan/seed0"


def test_augmented_features_as_pictures(place: Path) -> None:
    said = answer(["visualize", str(CELL), *MAPPED, generator_of("digits")], place)
    assert said.code == 0, said.err
    assert {path.name for path in (place / "pixels").iterdir()} == PIXELS
    lines = [line for line in said.out.splitlines() if line.startswith("step I")]
    assert [line.split("  ")[0] for line in lines] == [
        "step I: 20/20 images",
        "step II, semantic: 40/40 images",
        "step II, random: 40/40 images",
    ]
    assert lines[-1].endswith("  0 s left")
    numbers = json.loads((place / "pixels/pixels.json").read_text())
    assert numbers["classes"] == [str(digit) for digit in range(10)] * 2
    assert numbers["images_shown"] == "test" and numbers["strength"] == 0.5
    errors, kept = numbers["feature_errors"], numbers["class_kept"]
    assert errors["step_1"]["after"] < errors["step_1"]["before"]
    assert [row["length"] for row in kept["features"]] == [1, 2, 4, 8, 16]
    assert kept["pictures"]["semantic"]["images"] == 40
    low, high = kept["pictures"]["semantic"]["interval"]
    assert 0 <= low <= kept["pictures"]["semantic"]["kept"] <= high <= 100
    memory = numbers["distance_to_the_nearest_training_image"]
    assert memory.keys() == {"originals", "reconstructions", "semantic", "random"}
    first = (place / "pixels/pixels.json").read_bytes()
    answer(["visualize", str(CELL), *MAPPED, generator_of("digits"), "--batch-size", "20"], place)
    assert (place / "pixels/pixels.json").read_bytes() == first
    assert (
        answer(["visualize", str(CELL), *MAPPED, generator_of("digits"), "--training"], place).code
        == 0
    )
    numbers = json.loads((place / "pixels/pixels.json").read_text())
    assert numbers["images_shown"] == "training" and numbers["images"] == 20  # all labels there are
    assert numbers["distance_to_the_nearest_training_image"]["originals"] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([generator_of("digit_pairs")], "knows other classes than"),
        ([generator_of("digits"), "--class", "x"], "has no class 'x'"),
        (["nowhere"], "nowhere: no such folder of generate train"),
    ],
)
def test_a_generator_or_class_that_does_not_fit_is_refused(
    place: Path, words: list[str], told: str
) -> None:
    assert told in refusal("visualize", str(CELL), *MAPPED, *words, cwd=place)


def test_classes_without_an_image_to_show_are_refused(place: Path) -> None:
    run = TrainedRun(place / CELL, settings_of_run(place / CELL, Place()))
    run.labels_to_show = run.labels_to_show.where(run.labels_to_show != 3, 4)
    assert len(run.places_to_show([3, 4], 5)) == 5
    with pytest.raises(UsageError, match="no image to show is of 3: --class takes another one"):
        run.places_to_show([3], 5)


def test_random_steps_are_as_long_as_semantic_ones(place: Path) -> None:
    path = place / CELL
    run = TrainedRun(path, settings_of_run(path, Place()))
    classes = torch.arange(10).repeat_interleave(300)
    how = How(strength=0.5, draws=2, eta=1.0, iterations=4, batch_size=8, seed=0)
    steps = steps_of(run, torch.zeros(3000, 16), classes, how)
    assert torch.allclose(*(steps[kind].norm(dim=1) for kind in KINDS), rtol=1e-5)
    drawn = steps["semantic"][classes.repeat(2) == 3].double()
    expected = 0.5 * run.covariances.of(3)
    assert (torch.cov(drawn.T) - expected).norm() < 0.2 * expected.norm()


def test_no_more_images_than_a_batch_are_in_a_network_at_once(place: Path) -> None:
    path, sizes = place / CELL, set()
    run = TrainedRun(path, settings_of_run(path, Place()))
    saved = read_generator(place / generator_of("digits"), torch.device("cpu"))
    assert run.covariances.told.startswith("estimated")
    how = How(strength=0.5, draws=2, eta=1.0, iterations=4, batch_size=3, seed=0)

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].ndim == 4:
            sizes.add(len(inputs[0]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        refuse_misfit(saved, (1, 16, 16), 10, how.batch_size)
        found = mapped(run, saved, [0, 1, 2, 3, 4], how)
    finally:
        hook.remove()
    assert max(sizes) == 3 and found.reconstructed.images.shape == (5, 1, 16, 16)


@pytest.mark.parametrize("name", ["zca", "standardize", "scale", "normalize"])
def test_the_preparation_with_a_gradient_is_that_of_the_run(name: str, tmp_path: Path) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 3, 4, 4), np.uint8))
    data = ImageData.from_arrays("x", "ab", *[(pixels.numpy(), np.arange(30) % 2)] * 2)
    _, _, preparation = prepare(name, data, tmp_path)
    images = images_of(pixels).requires_grad_()
    found = prepared(images, preparation)
    assert torch.allclose(found, preparation(pixels), atol=2e-4)
    assert torch.autograd.grad(found.square().sum(), images)[0].isfinite().all()


def test_nearest_are_those_of_a_full_search(place: Path, monkeypatch) -> None:
    path = place / CELL
    run = TrainedRun(path, settings_of_run(path, Place()))
    monkeypatch.setattr(nearest, "AT_ONCE", 4 * 256 * 100)  # of 16 x 16 pixels
    pixels, _ = run.shown_images([5, 40])
    found = nearest.nearest_in_pixels(run, images_of(pixels))
    every = images_of(torch.from_numpy(run.train_pixels(range(1347)))).double().flatten(1)
    distances = (every[None] - images_of(pixels).double().flatten(1)[:, None]).norm(dim=2)
    assert torch.equal(found.places, distances.sort(stable=True, dim=1).indices[:, :5])
    own = nearest.nearest_in_features(run, run.train_features[7:9])
    assert own.places[:, 0].tolist() == [7, 8] and own.distances[:, 0].tolist() == [0, 0]
