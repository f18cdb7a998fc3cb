"""The FireProtDB set: two small tables worked out by hand, and the published ones."""

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from protemb import cli
from protemb.errors import DownloadError, InputError
from protemb.sequences.tables import read_table
from protemb.variants import fireprot
from protemb.variants.fireprot import COMMIT, FILES, RAW, REPOSITORY, Pinned, build_fireprotdb

# Columns of the shared table that have other names here.
RENAMED = {
    "mutation": "mutation_uniprot",
    "mutation_pdb_seq": "mutation",
    "sequence": "uniprot_sequence",
    "pdb_sequence": "sequence",
}

ROW = {
    "": "7",
    "Unnamed: 0": "8",
    "protein_name": "Protein, G",
    "uniprot_id": "P06654",
    "position": "4",
    "wild_type": "K",
    "mutation": "A",
    "ddG": "-0.5",
    "dTm": "",
    "secondary_structure": "",
    "pH": "6.5",
    "tm": "70.1",
    "sequence": "MEXKL",
    "pdb_id_corrected": "1PGA",
    "pdb_position": "0",
    "pdb_sequence": "KL",
}
EXPECTED = """\
protein,mutation,ddG,struc,split,uniprot_id,protein_name,pH,tm,dTm,mutation_uniprot,sequence,\
uniprot_sequence
1PGA,K1A,-0.5,,train,P06654,"Protein, G",6.5,70.1,,K4A,KL,MEXKL
1PGA,L2W,-0.5,E,train,P06654,"Protein, G",6.5,70.1,,L5W,KL,MEXKL
1PGA,K1A,-0.5,,test,P06654,"Protein, G",6.5,70.1,,K4A,KL,MEXKL
"""
LEUCINE = {
    "position": "5",
    "wild_type": "L",
    "mutation": "W",
    "pdb_position": "1",
    "secondary_structure": "E",
}


def table_text(*changes: dict[str, str]) -> bytes:
    """A published table whose rows are ROW with some values changed."""
    rows = [ROW | change for change in changes]
    quoted = [",".join(f'"{value}"' for value in row.values()) for row in rows]
    return "\n".join([",".join(ROW), *quoted, ""]).encode()


@pytest.fixture
def publish(file_server, monkeypatch):
    """Serves tables, {path: content}, as if they were the pinned source."""

    def publish_(tables: dict[str, bytes]) -> None:
        file_server.files = {f"/{path}": content for path, content in tables.items()}
        files = [
            Pinned(path, len(body), hashlib.sha256(body).hexdigest())
            for path, body in tables.items()
        ]
        monkeypatch.setattr(fireprot, "FILES", files)
        monkeypatch.setattr(fireprot, "RAW", file_server.url + "/")

    return publish_


@pytest.fixture
def server(publish, file_server):
    tables = {"a/x_train.csv": table_text({}, LEUCINE), "b/x_test.csv": table_text({})}
    publish(tables)
    return file_server


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_tables_are_joined(server, tmp_path):
    path = build_fireprotdb(tmp_path)
    assert path == tmp_path / "fireprotdb.csv" and path.read_text() == EXPECTED
    expected = ["README.txt", "fireprotdb.csv", "upstream/x_test.csv", "upstream/x_train.csv"]
    assert files(tmp_path) == expected


def test_the_readme_names_source_and_hashes(server, tmp_path):
    path = build_fireprotdb(tmp_path)
    text = (tmp_path / "README.txt").read_text()
    assert REPOSITORY in text and COMMIT in text and "Licence" in text and "gkaa981" in text
    for content in (path.read_bytes(), *server.files.values()):
        assert hashlib.sha256(content).hexdigest() in text
    columns = EXPECTED.replace("\\\n", "").splitlines()[0].split(",")
    assert all(column in text for column in columns)


def test_a_built_set_is_left_as_it_is(server, tmp_path):
    path = build_fireprotdb(tmp_path)
    before = path.stat().st_mtime_ns
    for table in (tmp_path / "upstream").iterdir():
        table.unlink()  # not needed any more
    build_fireprotdb(tmp_path)
    assert server.requests == 2 and path.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["fireprotdb.csv", "README.txt"])
@pytest.mark.parametrize("content", [b"", b"\xff", b"a,b\n1,2\n", None])
def test_a_damaged_set_is_built_again_from_the_tables_that_are_there(
    server, tmp_path, name, content
):
    build_fireprotdb(tmp_path)
    intact = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    build_fireprotdb(tmp_path)
    assert (tmp_path / name).read_bytes() == intact
    assert server.requests == 2


def test_a_mirror_and_progress(server, tmp_path):
    server.files = {f"/mirror{path}": content for path, content in server.files.items()}
    seen = {}
    build_fireprotdb(tmp_path, f"{server.url}/mirror/", lambda name, *n: seen.update({name: n}))
    assert seen == {
        Path(path).name: (len(content), len(content)) for path, content in server.files.items()
    }


def test_a_failed_download_leaves_no_set(server, tmp_path):
    server.answers["/b/x_test.csv"] = [lambda handler: handler.status(404)]
    with pytest.raises(DownloadError, match="404"):
        build_fireprotdb(tmp_path)
    assert files(tmp_path) == ["upstream/x_train.csv"]
    build_fireprotdb(tmp_path)
    assert server.requests == 3


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"pdb_position": "1"}, "K does not stand at pdb_position '1' of pdb_sequence: found L"),
        ({"pdb_position": "2"}, "K does not stand at pdb_position '2' of pdb_sequence: found noth"),
        # Counted from the end, the K would stand there.
        ({"pdb_position": "-2"}, "K does not stand at pdb_position '-2'"),
        ({"pdb_position": "0.5"}, "K does not stand at pdb_position '0.5'"),
        ({"position": "3"}, "K does not stand at position '3' of sequence: found X"),
        ({"position": "0", "sequence": "LLK"}, "K does not stand at position '0' of sequence"),
        ({"position": ""}, "K does not stand at position ''"),
        ({"mutation": "AA"}, "got 'K' to 'AA', expected two of the 20 residues"),
        ({"mutation": ""}, "got 'K' to '', expected two of the 20 residues"),
        ({"wild_type": "X", "position": "3"}, "got 'X' to 'A', expected two of the 20 residues"),
    ],
)
def test_a_row_that_does_not_fit_is_an_error_with_its_line(publish, tmp_path, change, problem):
    publish({"a/x_train.csv": table_text({}, change)})
    with pytest.raises(InputError) as caught:
        build_fireprotdb(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'upstream/x_train.csv'}:3: ") and problem in line
    assert files(tmp_path) == ["upstream/x_train.csv"]


@pytest.mark.parametrize("column", ["pdb_sequence", "position", "ddG"])
def test_a_missing_column_is_an_error(publish, tmp_path, column):
    publish({"a/x_train.csv": table_text({}).replace(f",{column}".encode(), b",other")})
    with pytest.raises(InputError, match=f"no column '{column}'"):
        build_fireprotdb(tmp_path)


def test_the_pinned_source_is_the_recorded_one(real_data):
    recorded = json.loads((real_data / "sources.json").read_text())["fireprotdb"]
    files = [file._asdict() for file in FILES]
    ours = {"repository": REPOSITORY, "commit": COMMIT, "raw": RAW, "files": files}
    assert ours == recorded


def shared_rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            yield {RENAMED.get(name, name): value for name, value in row.items()}


def test_the_real_set_column_by_column(real_data, file_server, tmp_path):
    original = real_data / "fireprotdb_ddg"
    for file in FILES:
        content = gzip.decompress((original / f"{Path(file.path).name}.gz").read_bytes())
        file_server.files[f"/{file.path}"] = content
    path = build_fireprotdb(tmp_path, base_url=file_server.url)
    rows = [row.values for row in read_table(path)]
    expected = list(shared_rows(original / "fireprot_seed_columns.csv.gz"))
    assert len(rows) == len(expected)
    for column in expected[0]:
        assert [row[column] for row in rows] == [row[column] for row in expected], column
    assert set(rows[0]) == set(expected[0])


def test_fetch_fireprotdb(server, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["fetch", "fireprotdb", "--base-url", server.url])
    assert capsys.readouterr().out == "data/fireprotdb/fireprotdb.csv\n"
    assert (tmp_path / "data/fireprotdb/fireprotdb.csv").read_text() == EXPECTED
