"""The table of names."""

from dataclasses import dataclass

import pytest

from ssl_isda.base.registry import NoOptions, Registry
from ssl_isda.base.words import unknown_name


@pytest.fixture
def registry() -> Registry[type]:
    registry: Registry[type] = Registry("method")
    registry.register("vat")(int)
    registry.register("pi_model")(str)
    return registry


def test_what_is_registered_is_found(registry) -> None:
    assert registry["vat"] is int
    assert list(registry) == ["vat", "pi_model"]
    assert len(registry) == 2
    assert "vat" in registry and "vta" not in registry


def test_the_decorator_returns_its_object_unchanged(registry) -> None:
    assert registry.register("new")(float) is float


def test_a_duplicate_is_refused_and_the_first_stays(registry) -> None:
    with pytest.raises(ValueError, match="method 'vat' is registered twice"):
        registry.register("vat")(float)
    assert registry["vat"] is int


def test_a_cell_that_runs_again_replaces_what_it_registered(registry) -> None:
    def cell() -> type:
        class Mine: ...

        return registry.register("mine")(Mine)

    first, second = cell(), cell()
    assert registry["mine"] is second is not first


def test_an_unknown_name_says_the_nearest_and_all_known(registry) -> None:
    with pytest.raises(ValueError) as caught:
        registry["vta"]
    assert str(caught.value) == "unknown method 'vta'; did you mean 'vat'? (known: pi_model, vat)"


@dataclass(frozen=True)
class Config:
    """Options of what this file registers."""


@dataclass(frozen=True)
class Other:
    """Options of one part."""


def test_the_options_are_those_that_were_named_or_stand_in_the_same_file(registry) -> None:
    registry.register("mine")(test_no_guess_where_nothing_is_near)
    registry.register("other", Other)(test_no_guess_where_nothing_is_near)
    named = [registry.config(name) for name in ("mine", "other", "vat")]
    assert named == [Config, Other, NoOptions]
    with pytest.raises(ValueError, match="did you mean 'vat'"):
        registry.config("vta")


def test_no_guess_where_nothing_is_near() -> None:
    assert unknown_name("model", "zebra", ["vat"]) == "unknown model 'zebra' (known: vat)"
