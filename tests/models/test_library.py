"""Converted models: the numbers of the original file, loaded without pickles."""

import json
import shutil

import numpy as np
import pytest
import torch

from protemb import cli
from protemb.analysis.changes import embed_callable
from protemb.analysis.order import order_probe
from protemb.errors import CheckpointError, InputError
from protemb.models.batches import collate
from protemb.models.loading import make_embedder
from protemb.models.pretrained.library import NUMBERS, RECIPE, convert, load_pretrained
from protemb.models.pretrained.originals import recurrent_network
from protemb.models.pretrained.weights import read_weights
from protemb.vectors.table import VectorTable


@pytest.fixture(scope="module")
def converted(reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    sources = {path.stem: path for path in (reference / "checkpoints").glob("*.torch1_0.sav")} | {
        path.stem: path for path in (reference / "checkpoints").glob("prose_*.state_dict.sav")
    }
    sources["unirep"] = reference / "unirep" / "unirep_4x8.weights.npz"
    return {name: (path, convert(path, folder / name)) for name, path in sources.items()}


def test_every_family_comes_back(converted):
    assert len(converted) >= 10
    for name, (source, folder) in converted.items():
        found = load_pretrained(folder)
        assert found.recipe["source"]["name"] == source.name
        assert found.recipe["level"] in found.encoder.levels
        assert "CC BY-NC" in found.recipe["licence"]
        if name != "unirep":
            weights = read_weights(source).tensors
            ours, theirs = found.encoder.state_dict(), recurrent_network(weights).state_dict()
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
            heads = {key: array for key, array in weights.items() if key in found.heads}
            assert bool(heads) == ("bilm" not in name and "dlm" not in name)
            for key, array in heads.items():
                np.testing.assert_array_equal(found.heads[key], array)


def test_embed_gives_the_levels_of_the_network(converted, tmp_path, capsys):
    """Through the command line, with ids that hold a slash."""
    texts = {"A/duck/1": "MKTAYIAKQRQISFVK", "b c": "PRXTEIN", "d": "M"}
    fasta = tmp_path / "new.fasta"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    for name in ("ssa.torch1_0", "bilm_untied.torch1_0", "prose_mt.state_dict", "unirep"):
        found = load_pretrained(converted[name][1])
        level = found.recipe["level"]
        out = tmp_path / f"{name}.h5"
        cli.main(["embed", str(converted[name][1]), str(fasta), "-o", str(out)])
        table = VectorTable.read(out)
        assert list(table.ids) == list(texts)
        assert table.attributes["level"] == level
        assert table.attributes["checkpoint"] == found.sha256
        for row, text in enumerate(texts.values()):
            tokens_L = found.alphabet.table()[np.frombuffer(text.encode(), np.uint8)]
            batch = collate([tokens_L], found.alphabet.size)
            with torch.inference_mode():
                states_LD = found.encoder(batch.tokens_BL, batch.lengths_B, (level,))[level][0]
            expected_D = states_LD.numpy().mean(0)
            np.testing.assert_allclose(table.vectors_ND[row], expected_D, rtol=1e-5, atol=1e-6)
    capsys.readouterr()


def test_order_probes_of_converted_models(converted):
    """One-hot averages see no order; what a recurrence computed does, averaged or not."""
    for name, levels in (
        ("ssa.torch1_0", ["lm", "states", "projection"]),
        ("prose_mt.state_dict", ["states", "projection"]),
        ("unirep", ["states", "average"]),
    ):
        found = load_pretrained(converted[name][1])
        dice = np.random.default_rng(0)
        proteins = [dice.integers(0, 20, 40).astype(np.uint8) for _ in range(6)]
        blind = ["onehot"] if "onehot" in found.encoder.levels else []
        for level in (*levels, *blind):
            embed = embed_callable(make_embedder(found.encoder, level, "mean"), found.alphabet)
            probe = order_probe(embed, proteins, np.arange(6), draws=1, replicates=20)
            assert probe.order_free == (level in blind), (name, level)


def test_the_command_converts_and_says_the_licence(reference, tmp_path, capsys):
    source = reference / "checkpoints" / "me.zip.sav"
    cli.main(["convert", str(source), "-o", str(tmp_path / "me")])
    out = capsys.readouterr().out
    assert "projection" in out and "CC BY-NC 4.0" in out
    # Again, as after a kill: it stays. Another model never takes its place.
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "me").iterdir()}
    cli.main(["convert", str(source), "-o", str(tmp_path / "me")])
    assert capsys.readouterr().out == out
    other = reference / "checkpoints" / "scopcm.legacy.sav"
    with pytest.raises(SystemExit):
        cli.main(["convert", str(other), "-o", str(tmp_path / "me")])
    assert "exists already" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "me").iterdir()} == before


def test_what_cannot_be_converted_leaves_nothing(reference, tmp_path):
    broken = tmp_path / "weights.npz"
    broken.write_bytes(b"PK\x03\x04 nothing")
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(3))
    objects = tmp_path / "objects.npz"
    np.savez(objects, embedding=np.array([{}], object))
    sources = [broken, other, objects, tmp_path / "nowhere.npz", tmp_path / "nowhere.sav"]
    sources += sorted((reference / "bad").glob("*.sav"))
    before = set(tmp_path.iterdir())
    for source in sources:
        with pytest.raises(CheckpointError) as caught:
            convert(source, tmp_path / "model")
        assert str(source) in str(caught.value) and "\n" not in str(caught.value)
    assert set(tmp_path.iterdir()) == before
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="exists already"):
        convert(sources[0], tmp_path / "model")


def edited(folder, **change):
    recipe = json.loads((folder / RECIPE).read_text())
    (folder / RECIPE).write_text(json.dumps(recipe | change))


DAMAGE = {
    "no recipe": lambda folder: (folder / RECIPE).unlink(),
    "no numbers": lambda folder: (folder / NUMBERS).unlink(),
    "cut": lambda folder: (folder / NUMBERS).write_bytes((folder / NUMBERS).read_bytes()[:-9]),
    "no json": lambda folder: (folder / RECIPE).write_text("{"),
    "a list": lambda folder: (folder / RECIPE).write_text("[]"),
    "version": lambda folder: edited(folder, version=2),
    "alphabet": lambda folder: edited(folder, alphabet="klingon"),
    "letters": lambda folder: edited(folder, alphabet="unirep"),
    "other code": lambda folder: edited(folder, encoder={"_target_": "os.system", "command": "x"}),
    "other class": lambda folder: edited(
        folder, encoder={"_target_": "protemb.models.pretrained.library.Pretrained"}
    ),
    "no level": lambda folder: edited(folder, level=None),
    "no source": lambda folder: edited(folder, source={}),
    "endless": lambda folder: edited(
        folder,
        encoder={
            "_target_": "protemb.models.pretrained.recurrent.PublishedRecurrent",
            "inner_dim": 4,
            "hidden_dim": 4,
            "layers": 10**8,
            "out_dim": 3,
        },
    ),
    "options": lambda folder: edited(
        folder,
        encoder={"_target_": "protemb.models.pretrained.recurrent.PublishedRecurrent", "x": 1},
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_folders_that_are_damaged_or_hostile(converted, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(converted["ua.torch1_0"][1], folder)
    DAMAGE[name](folder)
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
