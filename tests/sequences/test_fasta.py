import gzip
import io
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.errors import InputError
from protemb.sequences import fasta
from protemb.sequences.fasta import FastaRecord, read_fasta

PACKERS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in members": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "zstd": zstandard.ZstdCompressor().compress,
    "zstd in frames": lambda data: b"".join(
        zstandard.ZstdCompressor().compress(part) for part in (data[:9], data[9:])
    ),
}
# Any text without line breaks and white space at its ends is a header.
headers = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(
    lambda text: text.strip() == text and text
)
sequences = st.text(st.sampled_from("ACDEFGHIKLMNPQRSTVWYX*acd"), min_size=1, max_size=70)
fillers = st.lists(st.sampled_from(["", "  ", "; a > comment", ";"]), max_size=2)


@st.composite
def fasta_texts(draw):
    """A FASTA text in one of its many spellings, and the records it stands for."""
    lines, records = draw(fillers), []
    for header, sequence in draw(st.lists(st.tuples(headers, sequences), min_size=1, max_size=5)):
        lines.append(">" + header + draw(st.sampled_from(["", " "])))
        records.append(FastaRecord(header, sequence.encode(), len(lines)))
        width = draw(st.integers(1, 80))
        for start in range(0, len(sequence), width):
            lines += [*draw(fillers), sequence[start : start + width]]
        lines += draw(fillers)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(lines) + draw(st.sampled_from(["", end]))
    return draw(st.sampled_from(["", "\ufeff"])) + text, records


@settings(deadline=None)  # shared machines are slow at times
@given(fasta_texts(), st.sampled_from(list(PACKERS)), st.integers(1, 40))
def test_every_spelling_gives_the_same_records(tmp_path_factory, case, packer, chunk):
    text, records = case
    path = tmp_path_factory.mktemp("fasta") / "any.name"
    path.write_bytes(PACKERS[packer](text.encode()))
    assert list(read_fasta(path)) == records
    # Small chunks put every byte of the file next to a border once.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "CHUNK", chunk)
        assert list(read_fasta(path)) == records


@pytest.mark.parametrize(
    "name",
    [
        "influenza_ha_host/ha_host.fasta.gz",
        "polyomavirus_vp1_host/vp1_sequences.fasta",
        "biotrainer_examples/scl_rand.fasta",
        "deeploc_localization/setHARD.fasta.gz",
        "scope_astral/astral_20.fa.gz",
    ],
)
def test_real_files_read_as_biopython_reads_them(real_data, name):
    path = real_data / name
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    expected = [(header.strip(), seq) for header, seq in SimpleFastaParser(io.StringIO(text))]
    lines = [n for n, line in enumerate(text.splitlines(), start=1) if line.startswith(">")]

    records = list(read_fasta(path))
    assert [(record.header, record.sequence.decode()) for record in records] == expected
    assert [record.line for record in records] == lines


def test_memory_stays_bounded(tmp_path):
    record = b">record\n" + b"MKVLA" * 200 + b"\n"
    path = tmp_path / "big.gz"
    path.write_bytes(gzip.compress(record * 20_000, 1))  # 20 MB of text
    tracemalloc.start()
    try:
        assert sum(len(record.sequence) for record in read_fasta(path)) == 20_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_a_record_much_longer_than_a_chunk(tmp_path):
    path = tmp_path / "long.fasta"
    path.write_bytes(b">a\n" + (b"MKVLA" * 12 + b"\n") * 50_000 + b">b\nMK\n")
    long, short = read_fasta(path)
    assert long.sequence == b"MKVLA" * 600_000
    assert short == FastaRecord("b", b"MK", 50_002)


def test_reading_is_lazy_and_closes_its_file(tmp_path):
    path = tmp_path / "late.fasta"
    path.write_bytes(b">a\nMK\n>\nMK\n")
    records = read_fasta(path)
    assert next(records) == FastaRecord("a", b"MK", 1)
    with pytest.raises(InputError, match="nothing after '>'"):
        next(records)
    path.write_bytes(b">a\nMK\n" * 9)
    records = read_fasta(path)
    next(records)
    records.close()  # an open file left behind would be a ResourceWarning, hence an error


def test_text_of_an_error_names_file_line_and_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.fasta").write_bytes(b"; hosts\n>a b\r\nMK\r\n>c\r\n\r\n")
    with pytest.raises(InputError) as caught:
        list(read_fasta("x.fasta"))
    assert str(caught.value) == "x.fasta:4: record 'c': the record has no sequence"
