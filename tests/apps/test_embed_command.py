"""`protemb embed` and `merge` as people use them: killed, sharded, per residue, in 16 bits."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from started import Started

from protemb import cli
from protemb.models.loading import load_model
from protemb.models.pretrained.library import convert
from protemb.sequences.alphabet import AA21
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records
from protemb.vectors.formats.rows import TableReader
from protemb.vectors.log import RowLog
from protemb.vectors.residues import ResidueTable
from protemb.vectors.resuming import work_folder
from protemb.vectors.table import VectorTable

PROTEINS = 60


@pytest.fixture(scope="module")
def model(reference, tmp_path_factory):
    """Folder of a small network of the Bepler-Berger family."""
    source = reference / "checkpoints" / "scopcm.legacy.sav"
    return convert(source, tmp_path_factory.mktemp("models") / "ssa")


@pytest.fixture(scope="module")
def records():
    """Proteins of all lengths, a third of them given again under another id."""
    rng = np.random.default_rng(7)
    letters = np.array(list(AA21.symbols[:20]))
    lengths = np.concatenate([[1, 2, 400], rng.integers(3, 200, PROTEINS - 3)])
    texts = ["".join(rng.choice(letters, length)) for length in rng.permutation(lengths)]
    pairs = [(f"sp|P{n:05d}/{n % 3}", text) for n, text in enumerate(texts)]
    return pairs + [(f"again {n}", text) for n, text in enumerate(texts[::3])]


@pytest.fixture
def fasta(records, tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in records))
    return path


@pytest.fixture
def embed(model, fasta, tmp_path, capsys):
    """Run the command; return the output's path and what was said."""

    def run(*options, name="vectors.h5"):
        output = tmp_path / name
        command = ["embed", model, fasta, "-o", output, "--residues", 900, *options]
        cli.main([str(word) for word in command])
        return output, capsys.readouterr()

    return run


def plain(model, records, level="projection", pooling="mean"):
    """The same vectors the plain way: one record at a time, in memory."""
    store = TokenStore.from_sequences(records)
    embedder = load_model(model).embedder(level, pooling)
    return np.concatenate([embed_records(embedder, store, [n]) for n in range(len(store))])


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["v.h5", "v.parquet", "v.npz", "v.h5ad"])
def test_every_format_holds_every_record(embed, model, records, name):
    output, _ = embed(name=name)
    table = VectorTable.read(output)
    assert list(table.ids) == [record_id for record_id, _ in records]
    close(table.vectors_ND, plain(model, records))
    assert table.attributes["level"] == "projection" and table.attributes["records_known"] == 80
    assert not work_folder(output).exists() and not list(output.parent.glob("*.lock"))


def test_uniprot_layout_is_one_data_set_per_record(embed, model, records):
    output, _ = embed("--layout", "uniprot")
    table = VectorTable.read(output)
    found = dict(zip(table.ids, table.vectors_ND, strict=True))
    expected = dict(
        zip((record_id for record_id, _ in records), plain(model, records), strict=True)
    )
    assert found.keys() == expected.keys()
    for record_id, vector_D in expected.items():
        close(found[record_id], vector_D)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 2e-3)])
def test_states_of_every_residue(embed, model, records, dtype, tolerance):
    output, _ = embed("--per-residue", "--level", "layer1", "--dtype", dtype)
    encoder = load_model(model).encoder
    with ResidueTable.open(output) as table:
        assert set(table) == {record_id for record_id, _ in records}
        for record_id, text in records:
            tokens = torch.tensor([[AA21.symbols.index(letter) for letter in text]])
            with torch.no_grad():
                expected = encoder(tokens, torch.tensor([len(text)]), ("layer1",))["layer1"][0]
            np.testing.assert_allclose(table[record_id], expected, atol=tolerance)


def test_a_finished_command_is_not_repeated(embed):
    output, _ = embed()
    written = output.stat().st_mtime_ns
    _, said = embed()
    assert said.out.startswith("Done already") and output.stat().st_mtime_ns == written
    output, said = embed("--pooling", "max")
    assert "Done" not in said.out and output.stat().st_mtime_ns != written


KILLED = """
import sys
from protemb import cli
from protemb.vectors.log import RowLog
append, left = RowLog.append, int(sys.argv[1])

def until(self, pieces):
    global left
    if not left:
        # In the middle of a batch: half of its rows are on disk, its checksum is not.
        rows = next(iter(pieces))
        import os
        os.pwrite(self._rows, rows.tobytes()[: rows.nbytes // 2], self._end(self.done))
        os.kill(os.getpid(), 9)
    left -= 1
    append(self, pieces)

RowLog.append = until
cli.main(sys.argv[2:])
"""


@pytest.mark.parametrize("batches", [0, 1, 5])
@pytest.mark.parametrize("more", [(), ("--per-residue",)])
def test_killed_anywhere_it_goes_on_to_the_same_bytes(embed, model, fasta, tmp_path, batches, more):
    whole, _ = embed(*more, name="whole.h5")
    output = tmp_path / "killed.h5"
    command = ["embed", model, fasta, "-o", output, "--residues", "900", *more]
    process = Started("-c", KILLED, batches, *command)
    assert process.wait() == -signal.SIGKILL, process.said()
    assert not output.exists() and work_folder(output).is_dir()
    output, said = embed(*more, name="killed.h5")
    assert ("Continuing" in said.out) == (batches > 0)
    assert output.read_bytes() == whole.read_bytes()
    assert not work_folder(output).exists()


@pytest.mark.parametrize("left", ["folder", "lock"])
def test_killed_while_it_clears_up(embed, left):
    output, _ = embed()
    whole = output.read_bytes()
    work_folder(output).with_name(f"{work_folder(output).name}.lock").touch()
    if left == "folder":
        (work_folder(output) / "read").mkdir(parents=True)
    output, said = embed()
    assert "Done already" in said.out and output.read_bytes() == whole
    assert not list(output.parent.glob(f"{output.name}.*"))


def test_damaged_rows_are_computed_again(embed, model, fasta, tmp_path):
    whole, _ = embed(name="whole.h5")
    output = tmp_path / "damaged.h5"
    command = ["embed", model, fasta, "-o", output, "--residues", "900"]
    assert Started("-c", KILLED, 5, *command).wait() == -signal.SIGKILL
    rows = work_folder(output) / "rows"
    damaged = bytearray(rows.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    rows.write_bytes(damaged)
    output, said = embed(name="damaged.h5")
    assert "Continuing" in said.out and output.read_bytes() == whole.read_bytes()


def test_what_other_options_left_is_not_used(embed, model, fasta, tmp_path):
    output = tmp_path / "vectors.h5"
    command = ["embed", model, fasta, "-o", output, "--residues", "900", "--pooling", "max"]
    assert Started("-c", KILLED, 5, *command).wait() == -signal.SIGKILL
    output, said = embed()
    assert "Continuing" not in said.out
    assert VectorTable.read(output).attributes["pooling"] == "mean"


def test_two_processes_do_not_share_an_output(embed, tmp_path, fasta, model):
    from protemb.vectors.resuming import WorkFolder

    with WorkFolder(tmp_path / "vectors.h5", {}), pytest.raises(SystemExit):
        embed()


def test_labels_of_some_shards_alone_are_merged(embed, tmp_path, fasta, records, capsys):
    fasta.write_text("".join(f">r{n}{'|x' * (n == 0)}\n{t}\n" for n, (_, t) in enumerate(records)))
    shards = [
        embed("--shard", f"{n}/2", "--label-field", "2", name="v.h5")[0].parent / f"v.{n}-of-2.h5"
        for n in (1, 2)
    ]
    cli.main(["merge", *map(str, shards), "-o", str(tmp_path / "all.h5")])
    table = VectorTable.read(tmp_path / "all.h5")
    assert table.labels.tolist() == ["x"] + [""] * (len(records) - 1)
    assert table.attributes["no_label"] == len(records) - 1


def test_bad_input_leaves_nothing_behind(embed, fasta, tmp_path):
    fasta.write_text(fasta.read_text() + ">bad\nMK7\n")
    with pytest.raises(SystemExit):
        embed()
    assert list(tmp_path.iterdir()) == [fasta]


@pytest.mark.parametrize("layout", ["table", "uniprot"])
def test_shards_are_merged_in_the_order_of_the_input(embed, tmp_path, layout):
    label = ["--label-regex", r"/(?P<label>\d)"]
    whole, _ = embed(*label, name="whole.h5")
    for number in (3, 1, 2):
        embed(*label, "--shard", f"{number}/3", name="v.h5")
    shards = sorted(tmp_path.glob("v.*-of-3.h5"))
    assert [path.name for path in shards] == [f"v.{n}-of-3.h5" for n in (1, 2, 3)]
    merged = tmp_path / "merged.h5"
    cli.main(["merge", *map(str, shards), "-o", str(merged), "--layout", layout])
    expected, got = VectorTable.read(whole), VectorTable.read(merged)
    order = np.argsort(expected.ids) if layout == "uniprot" else np.arange(len(expected))
    back = np.argsort(got.ids) if layout == "uniprot" else order
    assert [got.ids[n] for n in back] == [expected.ids[n] for n in order]
    close(got.vectors_ND[back], expected.vectors_ND[order])
    assert "shard" not in got.attributes
    labels = [got.labels[n] for n in back]
    assert labels == [expected.labels[n] for n in order] and set(labels) == {"0", "1", "2", ""}


def test_shards_of_states_are_merged(embed, tmp_path):
    whole, _ = embed("--per-residue", name="whole.h5")
    for number in (1, 2):
        embed("--per-residue", "--shard", f"{number}/2", name="r.h5")
    merged = tmp_path / "merged.h5"
    cli.main(["merge", *map(str, tmp_path.glob("r.*-of-2.h5")), "-o", str(merged)])
    with ResidueTable.open(whole) as expected, ResidueTable.open(merged) as got:
        assert set(got) == set(expected)
        for record_id, states_LD in expected.items():
            np.testing.assert_allclose(got[record_id], states_LD, atol=1e-5)


def test_identical_sequences_are_in_one_shard(embed, records, tmp_path):
    embed("--shard", "1/2", name="v.h5")
    with TableReader(tmp_path / "v.1-of-2.h5") as reader:
        ids, _, _ = reader.block(0, len(reader))
    texts = dict(records)
    inside = {texts[record_id] for record_id in ids}
    outside = {text for record_id, text in records if record_id not in ids}
    assert inside and outside and not inside & outside


def test_an_incomplete_merge_is_refused(embed, tmp_path, capsys, fasta):
    for number in (1, 2):
        embed("--shard", f"{number}/2", name="v.h5")
    embed("--shard", "1/2", "--pooling", "max", name="other.h5")
    first, second = tmp_path / "v.1-of-2.h5", tmp_path / "v.2-of-2.h5"
    merged, plain_table = tmp_path / "merged.h5", embed(name="plain.h5")[0]
    for shards, problem in (
        ([first], "shards 2 of 2 missing"),
        ([first, first], "shards 2 of 2 missing"),
        ([first, first, second], "a shard was given twice"),
        ([second, tmp_path / "other.1-of-2.h5"], "pooling: got 'max', expected 'mean'"),
        ([plain_table], "not a shard"),
        ([tmp_path / "none.h5"], "no such file"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["merge", *map(str, shards), "-o", str(merged)])
        assert problem in capsys.readouterr().err
        assert not merged.exists()


def test_sixteen_bits_state_their_deviation(embed, model, records, capsys):
    try:
        output, said = embed("--precision", "bfloat16")
    except SystemExit:
        assert "this model cannot compute in bfloat16" in capsys.readouterr().err
        pytest.skip("this processor's torch has no LSTM in bfloat16")
    table = VectorTable.read(output)
    expected = plain(model, records)
    error = np.linalg.norm(table.vectors_ND - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0 < table.attributes["deviation"] < 0.05 and "deviate by up to" in said.out
    assert error.max() < 0.1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--shard", "3/2"], "shard: got '3/2', expected I/N"),
        (["--shard", "x"], "shard: got 'x', expected I/N"),
        (["--dtype", "float16"], "--dtype: got 'float16', expected float32, unless --per-residue"),
        (["--level", "none"], "level: got 'none', expected one of onehot, lm"),
        (["--pooling", "position"], "pooling: got 'position'"),
    ],
)
def test_bad_options_are_one_line(embed, capsys, options, problem):
    with pytest.raises(SystemExit):
        embed(*options)
    said = capsys.readouterr().err
    assert problem in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("option", [["--shard", "1/2"], ["--per-residue"], ["--layout", "uniprot"]])
def test_options_of_hdf5_want_hdf5(embed, option):
    with pytest.raises(SystemExit):
        embed(*option, name="v.npz")


def test_provenance_stands_in_the_file(embed, fasta):
    output, _ = embed("--unknown", "x")
    facts = VectorTable.read(output).attributes
    import hashlib

    assert facts["input_sha256"] == hashlib.sha256(fasta.read_bytes()).hexdigest()
    assert facts["unknown_letters"] == "x" and facts["precision"] == "float32"
    assert json.dumps(facts)
    assert str(Path(fasta).parent) not in json.dumps(facts)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_legacy_batches_repeat_what_the_authors_later_code_gives(reference, tmp_path, pooling):
    """The reference's tens in the order of the file; alone, records get other vectors."""
    folder = convert(reference / "checkpoints" / "ssa.zip.sav", tmp_path / "ssa")
    texts = [
        row["seq"].encode("latin1")
        for row in json.loads((reference / "sequences.json").read_text())
    ]
    # As the authors' alphabet reads them without upper-casing: all that is odd is X.
    tokens = [np.minimum(AA21.table()[np.frombuffer(text, np.uint8)], 20) for text in texts]
    fasta = tmp_path / "reference.fasta"
    fasta.write_text("".join(f">{n}\n{AA21.decode(row)}\n" for n, row in enumerate(tokens)))
    command = ["embed", folder, fasta, "--pooling", pooling, "--level", "projection", "-o"]
    cli.main([*map(str, command), str(tmp_path / "tens.npz"), "--legacy-batches", "10"])
    cli.main([*map(str, command), str(tmp_path / "alone.npz")])
    tens, alone = (VectorTable.read(tmp_path / f"{name}.npz") for name in ("tens", "alone"))
    with np.load(reference / "expected" / "ssa.npz") as expected:
        array = {"mean": "avg", "last": "lst"}[pooling]
        close(tens.vectors_ND, expected[f"seed_batch_dependent/{array}"])
        close(alone.vectors_ND, expected[f"seed/{array}"])
    assert tens.attributes["legacy_batches"] == 10
    assert np.abs(tens.vectors_ND - alone.vectors_ND).max() > 1e-4


def test_legacy_batches_are_for_one_family(embed, reference, fasta, tmp_path, capsys):
    folder = convert(reference / "checkpoints" / "prose_dlm.zip.sav", tmp_path / "prose")
    command = ["embed", folder, fasta, "-o", tmp_path / "v.npz", "--legacy-batches", "10"]
    with pytest.raises(SystemExit):
        cli.main([str(word) for word in command])
    assert "a model with the language model of Bepler and Berger" in capsys.readouterr().err
    assert not (tmp_path / "v.npz").exists()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["--label-regex", r"/(?P<label>\d)"], []),
        (["--layout", "uniprot"], []),
        (["--id-field", "1", "--id-delimiter", "/"], []),
        (["--per-residue"], []),
        (["--legacy-batches", "10"], []),
    ],
)
def test_other_options_are_not_done_already(embed, first, second):
    embed(*first)
    _, said = embed(*second)
    assert "Done already" not in said.out
    assert "Done already" in embed(*second)[1].out


def test_shares_without_records_are_merged_too(embed, tmp_path, capsys):
    few = tmp_path / "proteins.fasta"
    few.write_text(">a\nMKV\n>b\nMKL\n>c\nMKV\n")
    whole, _ = embed(name="whole.h5")
    for number in range(1, 8):
        embed("--shard", f"{number}/7", name="v.h5")
        embed("--shard", f"{number}/7", "--per-residue", name="r.h5")
    merged = tmp_path / "merged.h5"
    cli.main(["merge", *map(str, sorted(tmp_path.glob("v.*-of-7.h5"))), "-o", str(merged)])
    expected, got = VectorTable.read(whole), VectorTable.read(merged)
    assert got.ids == expected.ids
    close(got.vectors_ND, expected.vectors_ND)
    assert got.attributes.keys() == expected.attributes.keys() - {"data"}
    states = tmp_path / "states.h5"
    cli.main(["merge", *map(str, sorted(tmp_path.glob("r.*-of-7.h5"))), "-o", str(states)])
    with ResidueTable.open(states) as table:
        assert sorted(table.ids) == ["a", "b", "c"]


def test_a_kill_while_writing_leaves_nothing_for_ever(embed, model, fasta, tmp_path):
    output = tmp_path / "vectors.h5"
    code = (
        "import os, sys; from protemb import cli; from protemb.vectors.formats.rows import "
        "VectorWriter as W; W._write = lambda *_: os.kill(os.getpid(), 9); cli.main(sys.argv[1:])"
    )
    command = ["embed", model, fasta, "-o", output, "--residues", "900"]
    assert Started("-c", code, *command).wait() == -signal.SIGKILL
    embed()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proteins.fasta", "vectors.h5"]


def test_labels_that_nobody_has_are_refused(embed, capsys):
    with pytest.raises(SystemExit):
        embed("--label-field", "9")
    assert "no record has a label in field 9" in capsys.readouterr().err
    _, said = embed("--label-regex", r"/(?P<label>\d)")
    assert "no label: 20" in said.err


def test_what_is_no_file_is_refused_before_the_work(embed, model, tmp_path, capsys):
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(SystemExit):
        embed(name="folder.h5")
    assert "a file, not a folder" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SystemExit):
        cli.main(["embed", str(model), str(tmp_path / "pipe"), "-o", str(tmp_path / "v.h5")])
    assert "a pipe will not do" in capsys.readouterr().err


def test_ends_need_two_directions_that_stand_apart(embed, capsys):
    with pytest.raises(SystemExit):
        embed("--pooling", "ends", "--level", "lm")
    assert "the two directions do not stand apart" in capsys.readouterr().err
    embed("--pooling", "ends", "--level", "states")


def test_a_missing_package_is_said_before_the_work(embed, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "anndata", None)
    monkeypatch.setattr(RowLog, "append", lambda *_: pytest.fail("it began to work"))
    with pytest.raises(SystemExit):
        embed(name="vectors.h5ad")
    assert "pip install 'protemb[anndata]'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["proteins.fasta"]
