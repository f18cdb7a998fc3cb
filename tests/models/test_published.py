"""Files that were published are known by name, and have to be what the name says."""

import shutil

import numpy as np
import pytest
import torch

from protemb.errors import CheckpointError
from protemb.models.pretrained.inert import RefusedPickle
from protemb.models.pretrained.library import convert
from protemb.models.pretrained.published import PUBLISHED, known_file
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.similarity import Similarity

# Numbers of the published networks: 11 and 47 tensors of the first two (with the similarity and
# contact heads), counted from the shapes that their authors' constructors give.
VALUES = {"pfam": 12_707_299, "ssa": 31_732_517}
HEADS = {"pfam": 0, "ssa": 1 + 4 + 4 + (200 * 50 + 50) + (50 * 49 + 1)}


def built(name):
    with torch.device("meta"):
        return PublishedRecurrent(**PUBLISHED[name].options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_file_is_a_network(name):
    network = built(name)
    told = known_file(name, network.options)
    assert told["published"] == PUBLISHED[name].title
    method = {"ssa": "ssa", "ua_": "ua", "me_": "me"}.get(name[:3])
    if method:
        assert told["align_method"] == method


def test_sizes_are_those_that_were_counted():
    for family, values in VALUES.items():
        name = next(name for name in PUBLISHED if name.startswith(family))
        # Each LSTM of torch has the two biases of the original, so counts agree.
        assert sum(p.numel() for p in built(name).parameters()) + HEADS[family] == values


def test_another_network_under_a_published_name_is_refused(reference, tmp_path):
    name = next(name for name in PUBLISHED if name.startswith("ua_"))
    shutil.copy(reference / "checkpoints" / "ua.zip.sav", tmp_path / name)
    with pytest.raises(CheckpointError, match="its name is that of uniform alignment"):
        convert(tmp_path / name, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with pytest.raises(RefusedPickle, match="out_dim is 101, not 100"):
        known_file(name, {**built(name).options, "out_dim": 101})


def test_the_name_says_how_a_state_dict_compares():
    told = known_file(
        "me_L1_100d_lstm3x512_lm_i512_mb64_tau0.5_p0.05_epoch100.sav",
        PUBLISHED["me_L1_100d_lstm3x512_lm_i512_mb64_tau0.5_p0.05_epoch100.sav"].options,
    )
    heads = {"theta": np.ones((1, 4), np.float32), "beta": np.zeros(4, np.float32)}
    assert Similarity.of(heads, {"hints": told}).method == "me"
