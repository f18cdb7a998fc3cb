"""The window around a residue: its word, its mean, and which poolings a place changes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import ConfigError
from protemb.models.window import (
    WORDS,
    WindowPooling,
    check_pooling,
    make_pooling,
    place_matters,
    window_size,
)


@given(st.integers(0, 10**6))
def test_a_window_is_read_from_its_word(size):
    assert window_size(f"window({size})") == size
    assert make_pooling(f"window({size})", 3).size == size and place_matters(f"window({size})")


@pytest.mark.parametrize("word", ["window", "window()", "window(-1)", "window(1.5)", "Window(2)"])
def test_other_words_are_no_windows(word):
    assert window_size(word) is None
    with pytest.raises(ConfigError, match=r"window\(K\)"):
        make_pooling(word, 3)


def test_poolings_that_need_training_are_refused():
    with pytest.raises(ConfigError, match="attention"):
        check_pooling("attention", "states")
    assert "attention" not in WORDS


def test_ends_need_two_directions_that_stand_apart():
    check_pooling("ends", "states", ("projection",))
    with pytest.raises(ConfigError, match="projection"):
        check_pooling("ends", "projection", ("projection",))


def test_the_mean_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    states_BLD = rng.normal(size=(6, 9, 3))
    lengths_B, places_B = np.array([9, 1, 5, 9, 7, 2]), np.array([0, 0, 4, 8, 3, 1])
    for size in (0, 1, 3, 20):
        found_BD = WindowPooling(size, 3)(*map(torch.from_numpy, (states_BLD, lengths_B, places_B)))
        for states_LD, length, place, found_D in zip(
            states_BLD, lengths_B, places_B, found_BD, strict=True
        ):
            near = [states_LD[at] for at in range(length) if abs(at - place) <= size]
            np.testing.assert_allclose(found_D, np.mean(near, 0))


def test_a_window_has_a_middle():
    with pytest.raises(ConfigError, match="position"):
        WindowPooling(2, 3)(torch.zeros(1, 4, 3), torch.tensor([4]))
