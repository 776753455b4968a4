"""Recipes and grids are those of the paper's tables, and runs of them stand beside its figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_isda.base.step import Step
from ssl_isda.commands.report.contents import Report
from ssl_isda.commands.report.page import html_page
from ssl_isda.commands.report.text import latex_page, markdown_page
from ssl_isda.optim import SCHEDULES
from ssl_isda.results.literature import published, published_for
from ssl_isda.results.paper import Figure, cell_of, deviations, figure_of, figures
from ssl_isda.results.runs import find_runs
from ssl_isda.runs.grid_expansion import expand
from ssl_isda.runs.grid_file import read_grid
from ssl_isda.settings.components import read_components
from ssl_isda.settings.resolve import resolve
from tests.synthetic_runs import write_run

COMPONENTS = read_components()
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
TABLE_9 = {
    "resnet32": (160, 128, 1e-4, 0.1, 0.1, [80, 120]),
    "resnet110": (160, 128, 1e-4, 0.1, 0.1, [80, 120]),
    "se_resnet110": (200, 128, 1e-4, 0.1, 0.1, [80, 120, 160]),
    "wrn_16_8": (240, 128, 5e-4, 0.1, 0.2, [60, 120, 160, 200]),
    "wrn_28_10": (240, 128, 5e-4, 0.1, 0.2, [60, 120, 160, 200]),
    "resnext29_8x64d": (350, 128, 5e-4, 0.05, 0.1, [150, 225, 300]),
    "densenet_bc_100_12": (300, 64, 1e-4, 0.1, 0.1, [150, 200, 250]),
    "densenet_bc_190_40": (300, 64, 1e-4, 0.1, 0.1, [150, 200, 250]),
    "shake_shake_26_2x32d": (1800, 64, 1e-4, 0.1, None, []),
    "shake_shake_26_2x112d": (1800, 64, 1e-4, 0.1, None, []),
    "pyramidnet272": (1800, 128, 1e-4, 0.1, None, []),
}
"""Epochs, batch, weight decay, rate, its factor, and the first epochs of each smaller rate."""
SHARED = {
    "method": "supervised",
    "labels": None,
    "optimizer": "sgd",
    "momentum": 0.9,
    "preprocessing": "normalize",
    "max_translation": 4,
    "flip": True,
    "partial_batches": True,
    "policy": "weak",
    "lambda_0": 0.5,
}


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("network", TABLE_9)
def test_a_recipe_has_the_settings_of_table_9(network: str, dataset: str) -> None:
    epochs, batch, decay, rate, factor, milestones = TABLE_9[network]
    path = CONFIGS / f"{network}_{dataset}.yaml"
    resolved = resolve(["--config", path.stem])
    values = resolved.values
    found = {name: values[name] for name in SHARED}
    assert (found, values["model"], values["dataset"]) == (SHARED, network, dataset)
    names = ("epochs", "batch_size", "unlabeled_batch_size", "weight_decay", "learning_rate")
    assert [values[name] for name in names] == [epochs, batch, batch, decay, rate]
    assert values.get("dropout", 0.0) == (0.3 if network == "wrn_28_10" else 0.0)
    assert f"python run.py --config configs/{path.name} --isda" in path.read_text("utf-8")
    kind = values["schedule"]
    config = SCHEDULES.config(kind)(**resolved.options["schedule", kind])
    rates = [SCHEDULES[kind](config)(Step(e, epochs, 1)) for e in range(epochs)]
    if factor is None:
        assert kind == "cosine"
        return
    falls = [e + 1 for e in range(1, epochs) if rates[e] != rates[e - 1]]
    assert falls == milestones and rates[-1] == pytest.approx(factor ** len(milestones))


def test_a_recipe_states_the_figures_of_its_cells() -> None:
    places = {}
    for figure in figures():
        if figure.table in ("Table 2", "Table 1 of NeurIPS 2019"):
            places.setdefault(f"{figure.place['model']}_{figure.place['dataset']}", []).append(
                figure
            )
    assert len(places) == 20
    for name, found in places.items():
        text = " ".join((CONFIGS / f"{name}.yaml").read_text("utf-8").replace("#", " ").split())
        said = [str(each.error).partition(" (")[0] for each in found]
        assert f"{said[0]} % without and {said[1]} % with ISDA" in text


TABLE_1 = {
    "resnet50": ("23.0 / 6.8", "21.9 / 6.3", 7.5),
    "resnet101": ("21.7 / 6.1", "20.8 / 5.7", 5.0),
    "resnet152": ("21.3 / 5.8", "20.3 / 5.5", 7.5),
    "densenet121": ("23.7 / 6.8", "23.2 / 6.6", 1.0),
    "densenet265": ("21.9 / 6.1", "21.2 / 6.0", 1.0),
    "resnext50_32x4d": ("22.5 / 6.4", "21.3 / 5.9", 7.5),
    "resnext101_32x8d": ("21.1 / 5.9", "20.1 / 5.4", 7.5),
}
"""Errors without and with ISDA, top-1 and top-5; and lambda_0."""
OF_APPENDIX_A = {
    "method": "supervised",
    "labels": None,
    "epochs": 300,
    "batch_size": 512,
    "learning_rate": 0.2,
    "schedule": "cosine",
    "weight_decay": 1e-4,
    "momentum": 0.9,
    "nesterov": False,
    "covariance": "diagonal",
    "resized_crop": "all",
    "smallest_crop": 0.08,
    "flip": True,
    "image_size": 224,
    "shorter_side": None,
    "preprocessing": "imagenet",
}


@pytest.mark.parametrize("network", TABLE_1)
def test_a_recipe_for_imagenet_is_that_of_appendix_a(network: str) -> None:
    plain, isda, lambda_0 = TABLE_1[network]
    path = CONFIGS / f"imagenet_{network}.yaml"
    values = resolve(["--config", path.stem, "--isda"]).values
    assert {name: values[name] for name in OF_APPENDIX_A} == OF_APPENDIX_A
    assert values["lambda_0"] == lambda_0
    assert values.get("name", values["model"]) == network
    text = " ".join(path.read_text("utf-8").replace("#", " ").split())
    assert f"{plain} % without and {isda} % with ISDA" in text
    for flag, printed in (("--no-isda", plain), ("--isda", isda)):
        figure = figure_of(resolve(["--config", path.stem, flag]).values)
        assert figure is not None and f"{figure.error.mean} / " == printed[:7]
        assert not deviations(resolve(["--config", path.stem, flag]).values, figure)
    other = resolve(["--config", path.stem, "--isda", "--lambda-0", "2.5", "--epochs", "9"])
    assert deviations(other.values, figure) == [
        "epochs 9 (paper: 300)",
        f"lambda_0 2.5 (paper: {lambda_0:g})",
    ]


EXPANDED = {
    "table1": ("Table 1", 14, 14),
    "table2": ("Table 2", 36, 180),
    "table4": ("Table 4", 36, 180),
    "table5": ("Table 5", 32 + 8, 200),
    "table6": ("Table 6", 44, 220),
    "table8": ("Table 8", 12 + 6, 90),
    "fig10": ("", 20, 100),
    "fig11": ("", 16, 80),
}
"""The table, its cells, and the runs. Of Tables 5 and 8 eight and six cells are those of other tables."""


@pytest.mark.parametrize("name", EXPANDED)
def test_a_grid_is_the_whole_of_its_table(name: str) -> None:
    table, num_cells, num_runs = EXPANDED[name]
    runs = [each.resolved for each in expand(read_grid(CONFIGS / f"{name}.yaml", COMPONENTS), {})]
    cells = {repr({**run.values, "seed": 0, "runs_dir": ""}): run for run in runs}
    assert (len(cells), len(runs)) == (num_cells, num_runs)
    assert {run.config.seed for run in runs} == {*range(num_runs // num_cells)}
    held = {id(figure_of(run.values)) for run in cells.values()}
    wanted = [figure for figure in figures() if figure.table == table]
    assert {id(figure) for figure in wanted} <= held


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--isda --lambda-0 0.25", "Table 2: 7.09 ± 0.12 (n = 3)"),
        ("", "Table 2: 7.39 ± 0.10 (n = 3)"),
        ("--epochs 5", "epochs 5 (paper: 160)"),
        ("--steps 400", "steps 400 (paper: 62,560)"),
        ("--width 0.5", "width 0.5 (paper: 1)"),
        ("--milestones 0.5 0.75", "milestones 0.5 0.75 (paper: 80 120)"),
        ("--max-translation 2", "max_translation 2 (paper: 4)"),
        ("--weight-decay 0.0005", "weight_decay 0.0005 (paper: 0.0001)"),
        ("--isda --lambda-0 5", "lambda_0 5 (paper: 0.1 or 0.25 or 0.5 or 0.75 or 1)"),
        ("--isda --covariance diagonal", "covariance diagonal (paper: full)"),
        ("--policy cutout", ""),
        ("--loss focal", ""),
        ("--model resnet20", ""),
        ("--labels 4000", ""),
    ],
)
def test_a_run_stands_beside_the_papers_figure_or_says_how_it_differs(
    flags: str, said: str, tmp_path: Path
) -> None:
    write_run(tmp_path, "--method", "supervised", "--config", "resnet32_cifar10", *flags.split())
    (cell,) = Report(find_runs([tmp_path])).cells
    differs = "; ".join(cell.deviations)
    assert (differs or cell.papers_in_words) == said
    assert bool(cell.papers) == bool(said)


def test_the_nearest_of_the_papers_figures_is_taken() -> None:
    def found(*flags: str) -> str:
        figure = figure_of(resolve(flags).values)
        return f"{figure.table}: {figure.error}" if figure else ""

    assert found("--config", "resnet110_cifar100") == "Table 2: 28.67 ± 0.44 (n = 3)"
    dropout = ("--config", "resnet110_cifar100", "--dropout", "0.3")
    assert found(*dropout) == "Table 5: 27.11 ± 0.06 (n = 3)"
    assert found(*dropout, "--epochs", "9") == "Table 5: 27.11 ± 0.06 (n = 3)"
    rival = ("--config", "resnet110_cifar100", "--loss", "disturb_label")
    assert found(*rival) == "Table 5: 28.46 ± 0.32 (n = 3)"
    assert resolve(rival).values["disturbed_share"] == 0.1
    smoothed = ("--config", "wrn_28_10_cifar10", "--loss", "label_smoothing")
    assert found(*smoothed) == "Table 5: 3.79 ± 0.16 (n = 5)"
    assert resolve(smoothed).values["smoothing_over"] == "others"
    cutout = ("--config", "wrn_28_10_cifar100", "--isda", "--policy", "cutout")
    assert found(*cutout) == "Table 4: 16.95 ± 0.11 (n = 3)"
    assert resolve(cutout).values["cutout_size"] == 8
    assert found(*cutout, "--covariance", "shared") == "Table 8: 18.12 ± 0.20 (n = 5)"


# ---- FixMatch and its kin

MODERN = {
    "modern_cifar10": ("cifar10", (40, 250, 4000), "wrn_28_2", 5e-4, 234),
    "modern_cifar100": ("cifar100", (400, 2500, 10000), "wrn_28_8", 1e-3, 234),
    "modern_svhn": ("svhn", (40, 250, 1000), "wrn_28_2", 5e-4, 234),
    "modern_stl10": ("stl10", (1000,), "wrn_37_2", 5e-4, 130),
}
SEVEN_TIMES = {"fixmatch", "flexmatch", "freematch", "softmatch", "uda", "adamatch", "dash"}


@pytest.mark.parametrize("name", MODERN)
def test_a_modern_grid_has_the_recipe_of_its_papers(name: str) -> None:
    dataset, labels, model, decay, num_runs = MODERN[name]
    runs = [each.resolved for each in expand(read_grid(CONFIGS / f"{name}.yaml", COMPONENTS), {})]
    assert len(runs) == num_runs
    for run in runs:
        config, values, method = run.config, run.values, run.config.method
        assert (config.dataset, config.model, values["weight_decay"]) == (dataset, model, decay)
        assert (config.steps, config.schedule, config.learning_rate) == (2**20, "cosine_7_16", 0.03)
        assert (config.batch_size, config.preprocessing) == (64, "normalize")
        assert not config.decay_norms
        assert config.unlabeled_batch_size == (448 if method in SEVEN_TIMES else 64)
        assert config.evaluation_ema == (None if method in {"mean_teacher", "ict"} else 0.999)
        assert (config.flip, config.labels in labels) == (dataset != "svhn", True)
        assert not values.get("svhn_extra") and values.get("fold") == (
            config.seed if dataset == "stl10" else None
        )
    methods = {run.config.method for run in runs if not run.config.isda}
    assert {run.config.method for run in runs if run.config.isda} == methods
    asked = {(figure.place["method"], figure.place["labels"]) for figure in published_here(name)}
    assert asked - {(run.config.method, run.config.labels) for run in runs} <= {
        ("vat", labels) for labels in labels
    } | {("pi_model", labels) for labels in labels}


def published_here(name: str) -> list[Figure]:
    """What FixMatch's paper reports of the runs of a grid."""
    dataset = MODERN[name][0]
    return [f for f in published() if f.place["dataset"] == dataset and f.table[0] == "F"]


# The figures of each protocol and the sum of their means, as the tables of the sources have them.
PUBLISHED = {"FixMatch's paper": (34, 625.87), "TorchSSL": (113, 3322.28), "USB": (108, 2787.07)}


@pytest.mark.parametrize("protocol", PUBLISHED)
def test_published_figures_stand_in_their_protocol(protocol: str) -> None:
    found = [figure for figure in published() if figure.table == protocol]
    runs = {figure.error.n for figure in found}
    assert runs == {5 if protocol == "FixMatch's paper" else 3}
    total = sum(figure.error.mean for figure in found)
    assert (len(found), round(total, 2)) == PUBLISHED[protocol]
    assert len({cell_of(figure.place) for figure in found}) == len(found)
    for figure in found:
        assert (figure.place["model"] == "wrn_28_8") == (
            figure.place["dataset"] == "cifar100" and protocol != "USB"
        )


def test_a_run_stands_beside_each_protocol_by_itself(tmp_path: Path) -> None:
    """With the recipe no mark, else one; a best error is held against best ones, a last one never."""
    recipe = "--config modern --dataset cifar10 --method fixmatch".split()
    write_run(tmp_path, *recipe, "--labels=40", errors=(3.0, 8.0))
    write_run(tmp_path, *recipe, "--labels=250", "--steps=3000", errors=(3.0, 8.0))
    write_run(tmp_path, *recipe, "--labels=250", "--isda", errors=(3.0, 8.0))
    write_run(tmp_path, *recipe, "--labels=4000", "--model=wrn_28_8", errors=(3.0, 8.0))
    report = Report(find_runs([tmp_path]))
    cells = {(cell.column.labels, cell.isda): cell for cell in report.cells}
    ours = cells[40, False].estimate.mean
    assert cells[40, False].published_in_words == {
        "FixMatch's paper": f"13.81 ± 3.37 (n = 5); {ours - 13.81:+.2f}",
        "TorchSSL": "7.47 ± 0.28 (n = 3); our best -4.47",
        "USB": "8.33 ± 1.41 (n = 3); our best -5.33",
    }
    assert not cells[40, False].deviations and not cells[40, False].papers
    assert cells[250, False].deviations == ["steps 3,000 (paper: 1,048,576)"]
    assert not cells[250, True].published and not cells[4000, False].published
    assert [each.partition(":")[0] for each in report.protocols] == [*PUBLISHED]
    for page in (markdown_page(report), latex_page(report), html_page(report)):
        assert page.count("each with its best test error") == 2
        assert page.count("our best ") == 1 + 4


def test_extra_images_of_svhn_belong_to_the_protocols_that_have_them() -> None:
    recipe = "--config modern --dataset svhn --method fixmatch --labels 250".split()
    extra, plain = (resolve([*recipe, *flag]).values for flag in (["--svhn-extra"], []))
    assert [figure.table for figure in published_for(plain)] == ["FixMatch's paper"]
    assert [figure.table for figure in published_for(extra)] == ["TorchSSL", "USB"]
    assert all(not deviations(extra, figure) for figure in published_for(extra))


def test_folds_of_stl10_are_runs_of_one_cell(tmp_path: Path) -> None:
    for k in (0, 1):
        recipe = "--config modern --dataset stl10 --model wrn_37_2 --max-translation 12".split()
        write_run(tmp_path, *recipe, "--method", "uda", f"--fold={k}", f"--seed={k}")
    (cell,) = Report(find_runs([tmp_path])).cells
    assert (len(cell.finished), cell.variant, cell.deviations) == (2, "", [])
    assert [*cell.published_in_words] == ["FixMatch's paper", "TorchSSL"]
    assert cell.full_name == "STL-10, 1,000 labels, UDA"
