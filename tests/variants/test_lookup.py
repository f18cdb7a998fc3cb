"""Sequences by id against a local server: once over the line, checked, and never a wrong one."""

import pickle
from pathlib import Path

import pytest

from protemb.errors import ConfigError, DownloadError, InputError, ProtembError
from protemb.variants.lookup import LIMIT, SequenceLookup

# Headers as RCSB writes them: one chain, several, with the authors' names, old and new lists.
ENTRIES = {
    "1PGA": b">1PGA_1|Chain A|PROTEIN G|Streptococcus sp. GX7805 (1325)\nMTYKLILNG\nKTLKGE\n",
    "1YYM": b">1YYM_1|Chains A[auth G], E[auth P]|gp120|HIV-1 (11676)\nEVVLVN\n"
    b">1YYM_2|Chains B[auth L], F[auth Q]|17b light chain|Homo sapiens (9606)\nDIVMTQ\n"
    b">1YYM_3|Chains C[auth H], G[auth R]|17b heavy chain|Homo sapiens (9606)\nQVQLLE\n",
    "2HHB": b">2HHB_1|Chains A,a|twice|x\nMVLS\n>2HHB_2|Chain B|the same|x\nMVLS\n",
}
RECORDS = {
    "P06654": b">sp|P06654|SPG1_STRSG Immunoglobulin G-binding protein G\nMEKEKKVKYF\nLRKSAF\n",
    "A0A023GPI8": b">sp|A0A023GPI8|LECA_CANBL Lectin\nADTIVAVELD\n",
    "P04637-2": b">sp|P04637-2|P53_HUMAN Isoform 2\nMEEPQSDPSV\n",
}


@pytest.fixture
def server(file_server):
    for entry, content in ENTRIES.items():
        file_server.files[f"/pdb/{entry}"] = content
    for accession, content in RECORDS.items():
        file_server.files[f"/uniprot/{accession}.fasta"] = content
    return file_server


@pytest.fixture
def lookup(server, tmp_path):
    def make(kind="pdb", **options) -> SequenceLookup:
        quick = {"timeout": 5.0, "pause": 0.0, "base_url": f"{server.url}/{kind}/"}
        return SequenceLookup(kind=kind, cache=str(tmp_path / "cache"), **{**quick, **options})

    return make


def failure(error: type[ProtembError], lookup: SequenceLookup, protein_id: str) -> str:
    """The line of a failing look-up; the failure leaves no file of a cached record behind."""
    before = kept(Path(lookup.cache))
    with pytest.raises(error) as caught:
        lookup.get(protein_id)
    line = str(caught.value)
    assert "\n" not in line and str(pickle.loads(pickle.dumps(caught.value))) == line
    if error is DownloadError:
        assert kept(Path(lookup.cache)) == before
    return line


def kept(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("protein_id", "sequence"),
    [
        ("1PGA", "MTYKLILNGKTLKGE"),
        ("1pga", "MTYKLILNGKTLKGE"),
        ("1PGA_A", "MTYKLILNGKTLKGE"),
        ("1YYM_G", "EVVLVN"),  # RCSB's own G is another chain
        ("1YYM_P", "EVVLVN"),
        ("1YYM_L", "DIVMTQ"),
        ("1YYM_Q", "DIVMTQ"),
        ("1YYM_H", "QVQLLE"),
        ("2HHB", "MVLS"),  # several chains, but no two different ones
        ("2hhb_a", "MVLS"),
    ],
)
def test_pdb_entries_and_chains(lookup, protein_id, sequence):
    assert lookup().get(protein_id) == sequence


def test_a_chain_for_ids_that_name_none(lookup):
    assert lookup(chain="H").get("1YYM") == "QVQLLE"
    assert lookup(chain="H").get("1YYM_L") == "DIVMTQ"


def test_an_entry_with_several_chains_lists_them(lookup):
    line = failure(InputError, lookup(), "1YYM")
    assert line.startswith("lookup: record '1YYM': several different chains; ")
    assert all(f"{chain} (6)" in line for chain in "GPLQHR")


def test_a_chain_that_is_not_there_lists_those_that_are(lookup):
    line = failure(InputError, lookup(), "1YYM_B")  # RCSB's name of what the authors call L
    assert "no chain 'B'; the chains of 1YYM" in line and "L (6)" in line
    assert "no chain 'a'" in failure(InputError, lookup(), "1PGA_a")


@pytest.mark.parametrize("accession", RECORDS)
def test_uniprot_records(lookup, accession):
    expected = b"".join(RECORDS[accession].splitlines()[1:]).decode()
    assert lookup("uniprot").get(accession) == expected


def test_each_record_is_fetched_once(lookup, server, tmp_path):
    for protein_id in ("1YYM_L", "1yym_H", "1YYM_L"):
        lookup().get(protein_id)
    failure(InputError, lookup(), "1YYM")
    lookup("uniprot").get("P06654")
    lookup("uniprot").get("P06654")
    assert server.requests == 2
    assert kept(tmp_path / "cache") == ["pdb/1YYM.fasta", "uniprot/P06654.fasta"]


def test_an_entry_whose_chain_is_still_to_be_named_is_kept(lookup, server):
    failure(InputError, lookup(), "1YYM")
    assert lookup().get("1YYM_L") == "DIVMTQ"
    assert server.requests == 1


@pytest.mark.parametrize("damage", ["cut", "letter", "seal", "empty", "binary"])
def test_a_damaged_cache_is_fetched_again(lookup, server, tmp_path, damage):
    expected = lookup().get("1PGA")
    path = tmp_path / "cache/pdb/1PGA.fasta"
    whole = path.read_bytes()
    damaged = {
        "cut": whole[:-4],  # still a FASTA file
        "letter": whole.replace(b"MTYK", b"MTYR"),
        "seal": whole.replace(b"; sha256 ", b"; sha256 0"),
        "empty": b"",
        "binary": b"\0\xff",
    }[damage]
    assert damaged != whole
    path.write_bytes(damaged)
    assert lookup().get("1PGA") == expected
    assert server.requests == 2 and path.read_bytes() == whole


def test_what_the_source_does_not_have_is_none(lookup, tmp_path):
    assert lookup().get("9XYZ") is None
    assert lookup("uniprot").get("Q99999") is None
    assert kept(tmp_path / "cache") == []


@pytest.mark.parametrize(
    "protein_id",
    ["", "1AB", "1ABCD", "ABCD", "0ABC", "1ABC_", "1ABC_A_B", "1ABC_ABCDE", "1ABC:A", "../1ABC"]
    + ["1ABC/../../x", "1ABC_A\n", " 1ABC", "1ABC?x", "1\N{ARABIC-INDIC DIGIT ONE}BC", "1ABC_%41"],
)
def test_what_is_no_pdb_id_reaches_neither_server_nor_disk(lookup, server, tmp_path, protein_id):
    line = failure(InputError, lookup(), protein_id)
    assert "no PDB id, expected one such as 1ABC or, with a chain, 1ABC_A" in line
    assert server.requests == 0 and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "protein_id",
    ["", "P0665", "p06654", "P06654.1", "P06654-0", "P06654-", "SPG1_STRSG", "A0A023GPI", "1PGA"]
    + ["../P06654", "P06654/x", "P06654\n", "P06654#"],
)
def test_what_is_no_accession_reaches_neither_server_nor_disk(lookup, server, tmp_path, protein_id):
    line = failure(InputError, lookup("uniprot"), protein_id)
    assert "no UniProt accession" in line
    assert server.requests == 0 and not (tmp_path / "cache").exists()


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="lookup.kind: got 'ncbi', expected pdb or uniprot"):
        SequenceLookup(kind="ncbi", cache="x")
    with pytest.raises(ConfigError, match="lookup.chain: got 'A', expected none"):
        SequenceLookup(kind="uniprot", cache="x", chain="A")


def test_a_passing_error_is_tried_again(lookup, server):
    server.answers["/pdb/1PGA"] = [lambda handler: handler.status(500)] * 2
    assert lookup().get("1PGA") == "MTYKLILNGKTLKGE"
    assert server.requests == 3


def test_a_lasting_error_is_reported(lookup, server):
    server.answers["/pdb/1PGA"] = [lambda handler: handler.status(503)] * 3
    line = failure(DownloadError, lookup(), "1PGA")
    assert line.endswith("/pdb/1PGA: the server answered 503 Service Unavailable (attempts: 3)")


def test_a_redirect_is_followed(lookup, server):
    """A secondary accession leads to the record that took it in."""
    target = "/uniprot/P06654.fasta"
    server.answers["/uniprot/P19909.fasta"] = [lambda h: h.status(303, Location=target)]
    assert lookup("uniprot").get("P19909") == "MEKEKKVKYFLRKSAF"
    assert lookup("uniprot").get("P19909") == "MEKEKKVKYFLRKSAF"
    assert server.requests == 2


def test_a_cut_answer_is_asked_for_again(lookup, server):
    server.answers["/pdb/1PGA"] = [lambda handler: handler.file(stop=70)]
    assert lookup().get("1PGA") == "MTYKLILNGKTLKGE"


def test_a_silent_server_is_given_up(lookup, server):
    server.answers["/pdb/1PGA"] = [lambda handler: server.closing.wait(20)] * 2
    line = failure(DownloadError, lookup(timeout=0.1, attempts=2), "1PGA")
    assert line.endswith("no answer within 0.1 s (attempts: 2)")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "the answer is no FASTA"),
        (b"<!doctype html><title>PDB</title>", "the answer is no FASTA"),
        (b'{"messages": ["no"]}', "the answer is no FASTA"),
        (b"\x1f\x8b\x08\x00rest", "the answer is no FASTA"),  # never unpacked
        (b">", "the answer is no FASTA: nothing after '>'"),
        (b">1PGA_1|Chain A|x|y\n", "the answer is no FASTA: the record has no sequence"),
        (b">1PGA_1|Chain A|x|y\n<b>MTYK</b>\n", "is not of capital letters alone"),
        (b">1PGA_1|Chain A|x|y\nMTYK*\n", "is not of capital letters alone"),
        (b">1PGA_1|Chain A|x|y\nmtyk\n", "is not of capital letters alone"),
        (b">1PGB_1|Chain A|x|y\nMTYK\n", "got a record '1PGB_1|Chain A|x|y', expected one of 1PGA"),
        (b">sp|P06654|SPG1\nMTYK\n", "expected one of 1PGA"),
        (b">1PGA_1|Chains A[B], C|x|y\nMTYK\n", "cannot be read"),
        (ENTRIES["1PGA"] + b">1PGB_1|Chain B|x|y\nMTYK\n", "got a record '1PGB_1"),
    ],
)
def test_garbage_is_refused_and_not_kept(lookup, server, answer, problem):
    server.files["/pdb/1PGA"] = answer
    assert problem in failure(DownloadError, lookup(), "1PGA")
    server.files["/pdb/1PGA"] = ENTRIES["1PGA"]
    assert lookup().get("1PGA") == "MTYKLILNGKTLKGE"


def test_a_uniprot_answer_has_one_record(lookup, server):
    server.files["/uniprot/P06654.fasta"] = RECORDS["P06654"] + RECORDS["P04637-2"]
    line = failure(DownloadError, lookup("uniprot"), "P06654")
    assert line.endswith("got 2 records, expected one")


def test_a_huge_answer_is_refused(lookup, server):
    server.files["/pdb/1PGA"] = b">1PGA_1|Chain A|x|y\n" + b"A" * LIMIT
    assert f"expected at most {LIMIT}" in failure(DownloadError, lookup(), "1PGA")
    assert server.requests == 1
