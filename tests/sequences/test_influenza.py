"""The influenza set: small trees worked out by hand, and the real ones byte for byte."""

import gzip
import hashlib
import json
from importlib import resources
from pathlib import Path

import pytest
from Bio.Data.CodonTable import standard_dna_table

from protemb.errors import DownloadError, InputError
from protemb.sequences import influenza
from protemb.sequences.influenza import (
    CODONS,
    build_influenza_ha,
    load_source,
    rebuild,
    translate,
    walk_tips,
)
from protemb.sequences.regions import regions_path

#        M  K  W  stop
ROOT = "ATGAAATGGTAA"


def tip(name: str, *mutations: str, **attributes: object) -> dict:
    """A tip as Auspice writes it; attributes are wrapped in {"value": ...}."""
    wrapped = {key: {"value": value} for key, value in attributes.items()}
    return {
        "name": name,
        "node_attrs": {"div": 0.1, **wrapped},
        "branch_attrs": {"mutations": {"nuc": list(mutations)}},
    }


def inner(*children: dict, mutations: tuple[str, ...] = ()) -> dict:
    return tip("NODE", *mutations) | {"children": list(children)}


def tree_text(root: object, nucleotides: object = ROOT) -> bytes:
    document = {"version": "v2", "tree": root, "root_sequence": {"nuc": nucleotides}}
    return json.dumps(document).encode()


FULL = inner(
    inner(
        tip("t1", accession="AB000002.1", strain="A/duck 1|x", subtype="H5N1", num_date=2004.7),
        tip("t2", "C5G", accession="AB000001.1", host_general="other mammal", region="Asia"),
        mutations=("A5C",),  # K -> T; t2 then T -> R
    ),
    tip("AB000003.1", "A4-", "A5-", "A6-", host_general="avian", host_specific="Anas acuta"),
    tip("AB000004.1", "A4-"),  # out of frame here, whole in the compact tree
    tip("AB000005.1", "A4T"),  # TAA: a stop inside
    tip("manual_add_1", "A4G"),
)
COMPACT = inner(
    tip("AB000001.1", "A4G"),  # K -> E: not what the full tree says
    tip("AB000003.1", "A4-", "A5-", "A6-"),
    tip("AB000004.1", "T10N"),  # the last codon is NAA: X
)
FIRST, SECOND = "upstream_H10.json", "upstream_H2-compact.json"
TREES = {FIRST: tree_text(FULL), SECOND: tree_text(COMPACT)}

EXPECTED_FASTA = """\
>AB000004.1|||unknown|unknown
MKWX
>AB000001.1|||other_mammal|unknown
MRW
>AB000002.1|A/duck_1_x|H5N1|unknown|unknown
MTW
>AB000003.1|||avian|Anas_acuta
MW
"""
EXPECTED_TABLE = """\
accession,strain,subtype,host,host_species,host_order,region,year,tree,length
AB000004.1,,,,,,,,H2,4
AB000001.1,,,other mammal,,,Asia,,H10,3
AB000002.1,A/duck 1|x,H5N1,,,,,2004,H10,3
AB000003.1,,,avian,Anas acuta,,,,H10,2
"""
EXPECTED_COUNTS = {
    "records": 4,
    "without_accession": 1,
    "broken_frame": 2,
    "repeated": 2,
    "repeated_differently": 1,
}


@pytest.fixture
def write(tmp_path):
    def write_(content: bytes, name: str = "tree_H1.json") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write_


@pytest.fixture
def server(file_server, monkeypatch):
    """Serves the two small trees as if they were the pinned source."""
    file_server.files = {f"/auspice/{name}": content for name, content in TREES.items()}
    files = [
        {"path": path[1:], "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for path, body in file_server.files.items()
    ]
    pinned = {"repository": "https://example.org/trees", "commit": "c0ffee", "raw": file_server.url}
    monkeypatch.setattr(influenza, "load_source", lambda: pinned | {"files": files})
    return file_server


def test_codons_are_those_of_the_standard_code():
    stops = dict.fromkeys(standard_dna_table.stop_codons, "*")
    assert standard_dna_table.forward_table | stops == CODONS


def test_translation_reads_ambiguous_codons_as_x():
    assert translate("ATGNNNTAR") == "MXX"


def test_tips_come_depth_first_with_every_branch_applied(write):
    tips = [(tip["accession"], nucleotides) for tip, nucleotides in walk_tips(write(TREES[FIRST]))]
    assert tips == [
        ("AB000002.1", "ATGACATGGTAA"),
        ("AB000001.1", "ATGAGATGGTAA"),
        ("AB000003.1", "ATG---TGGTAA"),
        ("AB000004.1", "ATG-AATGGTAA"),
        ("AB000005.1", "ATGTAATGGTAA"),
        ("manual_add_1", "ATGGAATGGTAA"),
    ]


@pytest.mark.parametrize(
    ("mutation", "problem"),
    [
        ("C4G", "mutation C4G does not fit: found A there"),
        ("A13G", "mutation A13G does not fit: found no base there"),
        ("A0G", "got mutation 'A0G', expected one like 'A19G'"),
        ("A-1G", "got mutation 'A-1G', expected one like 'A19G'"),
        ("A4", "got mutation 'A4', expected one like 'A19G'"),
        ("", "got mutation '', expected one like 'A19G'"),
    ],
)
def test_a_mutation_that_does_not_fit_names_its_node(write, mutation, problem):
    path = write(tree_text(inner(tip("t1"), tip("t2", mutation))))
    with pytest.raises(InputError) as caught:
        list(walk_tips(path))
    assert str(caught.value) == f"{path}: record 't2': {problem}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"tree":\n {"name": ', ":2: not JSON: Expecting value"),
        (b"", ":1: not JSON: Expecting value"),
        (b'{"tree": "\xff"}', ": not a JSON text that can be read"),
        (b"[" * 200_000, ": not a JSON text that can be read"),
        (b"[]", ": not an Auspice v2 tree with a root sequence"),
        (b"{}", ": not an Auspice v2 tree with a root sequence"),
        (tree_text(None), ": not an Auspice v2 tree with a root sequence"),
        (tree_text(FULL, None), ": not an Auspice v2 tree with a root sequence"),
        (tree_text({"name": "t1"}), ": not an Auspice v2 tree with a root sequence"),
        (tree_text({"node_attrs": {}}), ": not an Auspice v2 tree with a root sequence"),
        (tree_text(inner("t1")), ": not an Auspice v2 tree with a root sequence"),
        (tree_text(tip("t1", 4)), ": not an Auspice v2 tree with a root sequence"),
    ],
)
def test_a_file_that_is_no_tree_gives_one_line(write, content, problem):
    path = write(content)
    with pytest.raises(InputError) as caught:
        list(walk_tips(path))
    assert str(caught.value) == f"{path}{problem}"


def test_a_tree_must_name_its_type(write):
    with pytest.raises(InputError, match="expected a file name with the tree's type, such as _H5"):
        rebuild([write(TREES[FIRST], "tree.json")])


def test_every_tip_is_kept_or_counted(write):
    proteins, counts = rebuild([write(body, name) for name, body in TREES.items()])
    assert counts == EXPECTED_COUNTS
    assert "".join(protein.fasta() for protein in proteins) == EXPECTED_FASTA
    assert counts["records"] == len(proteins)
    tips = counts["records"] + counts["without_accession"] + counts["broken_frame"]
    assert tips + counts["repeated"] == 6 + 3


def test_fasta_lines_have_sixty_residues(write):
    (protein,), _ = rebuild([write(tree_text(tip("AB000001.1"), "ATG" * 121 + "TAA"))])
    assert protein.fasta().split("\n") == [
        ">AB000001.1|||unknown|unknown",
        *("M" * 60, "M" * 60, "M", ""),
    ]


def test_the_set_is_built_from_the_source(server, tmp_path):
    fasta = build_influenza_ha(tmp_path / "ha")
    assert fasta == tmp_path / "ha" / "ha_host.fasta"
    assert fasta.read_text() == EXPECTED_FASTA
    assert (tmp_path / "ha" / "ha_host.csv").read_bytes() == EXPECTED_TABLE.encode()
    record = json.loads((tmp_path / "ha" / "ha_host.json").read_text())
    assert record["counts"] == EXPECTED_COUNTS and record["commit"] == "c0ffee"
    readme = (tmp_path / "ha" / "README.txt").read_text()
    for fact in ("https://example.org/trees", "c0ffee", "MIT", "GenBank", "10.64898/2026.07.17"):
        assert fact in readme


def shipped_regions() -> str:
    return resources.files("protemb.sequences").joinpath("ha_regions.csv").read_text("utf-8")


def test_regions_come_with_the_set(server, tmp_path):
    fasta = build_influenza_ha(tmp_path / "ha")
    path = regions_path(fasta)
    assert path == tmp_path / "ha" / "ha_host.regions.csv"
    assert path.read_bytes() == shipped_regions().encode()
    assert path.name in (tmp_path / "ha" / "README.txt").read_text()


def test_regions_come_to_a_set_that_was_built_without_them(server, tmp_path):
    """An older version built it: nothing is fetched or built again for that."""
    fasta = build_influenza_ha(tmp_path)
    path, before = regions_path(fasta), fasta.stat().st_mtime_ns
    path.unlink()
    build_influenza_ha(tmp_path)
    assert path.read_bytes() == shipped_regions().encode()
    assert server.requests == 2 and fasta.stat().st_mtime_ns == before


@pytest.mark.parametrize("damaged", [False, True])
def test_own_regions_are_kept(server, tmp_path, damaged):
    fasta = build_influenza_ha(tmp_path)
    own = "reference,region,first,last\nAB000001.1,all,1,3\n"
    regions_path(fasta).write_text(own)
    if damaged:
        fasta.write_text(">x\nMK\n")
    build_influenza_ha(tmp_path)
    assert regions_path(fasta).read_text() == own
    assert fasta.read_text() == EXPECTED_FASTA


def test_a_mirror_can_be_named(server, tmp_path):
    server.files = {f"/mirror{path}": body for path, body in server.files.items()}
    assert build_influenza_ha(tmp_path, base_url=f"{server.url}/mirror/").exists()
    assert server.requests == 2


def test_a_built_set_is_left_as_it_is(server, tmp_path):
    fasta = build_influenza_ha(tmp_path)
    before = fasta.stat().st_mtime_ns
    for tree in (tmp_path / "upstream").iterdir():
        tree.unlink()  # not needed any more
    build_influenza_ha(tmp_path)
    assert server.requests == 2 and fasta.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ha_host.fasta", ">x\nMK\n"),
        ("ha_host.csv", ""),
        ("ha_host.json", "{"),
        ("ha_host.json", "[]"),
        ("ha_host.json", '{"commit": "older"}'),
    ],
)
def test_a_damaged_set_is_built_again_from_the_trees_that_are_there(
    server, tmp_path, name, content
):
    fasta = build_influenza_ha(tmp_path)
    (tmp_path / name).write_text(content)
    build_influenza_ha(tmp_path)
    assert fasta.read_text() == EXPECTED_FASTA
    assert (tmp_path / "ha_host.csv").read_text() == EXPECTED_TABLE
    assert server.requests == 2


def test_after_a_failure_only_what_is_missing_is_fetched(server, tmp_path):
    first, second = server.files
    server.answers[second] = [lambda handler: handler.status(404)]
    with pytest.raises(DownloadError, match="404"):
        build_influenza_ha(tmp_path)
    assert not (tmp_path / "ha_host.fasta").exists()
    build_influenza_ha(tmp_path)
    assert len(server.ranges[first]) == 1 and len(server.ranges[second]) == 2


def test_the_pinned_source_is_the_recorded_one(real_data):
    assert load_source() == json.loads((real_data / "sources.json").read_text())["influenza_ha"]


def test_the_real_set_is_rebuilt_byte_for_byte(real_data, file_server, tmp_path):
    original = real_data / "influenza_ha_host"
    for path in (original / "upstream").glob("*.json.gz"):
        file_server.files[f"/auspice/{path.stem}"] = gzip.decompress(path.read_bytes())
    seen: dict[str, int] = {}
    build_influenza_ha(
        tmp_path,
        base_url=file_server.url,
        progress=lambda name, received, _: seen.update({name: received}),
    )
    for name in ("ha_host.fasta", "ha_host.csv"):
        assert (tmp_path / name).read_bytes() == gzip.decompress(
            (original / f"{name}.gz").read_bytes()
        )
    headers = (tmp_path / "ha_host.fasta").read_text().split(">")[1:]
    references = {line.split(",")[0] for line in shipped_regions().splitlines()[1:]}
    assert references <= {header.split("|")[0] for header in headers}
    assert seen == {Path(file["path"]).name: file["bytes"] for file in load_source()["files"]}
