"""Reading the real sets gives what their READMEs and Biopython say."""

import gzip
from collections import Counter

import numpy as np
from Bio import SeqIO
from Bio.SeqIO.FastaIO import SimpleFastaParser

from protemb.sequences.labels import Rule
from protemb.sequences.source import FileSource


def labels_of(data) -> list[str]:
    return [data.label_names[code] for code in data.labels_N]


def test_influenza_hosts_from_headers(real_data):
    path = real_data / "influenza_ha_host/ha_host.fasta.gz"
    with gzip.open(path, "rt") as handle:
        rows = [(header.split("|"), sequence) for header, sequence in SimpleFastaParser(handle)]
    kept = [row for row in rows if row[0][3] not in ("unknown", "other_mammal")]

    data = FileSource(
        path, label=Rule(field=4), id=Rule(field=1), missing_label="drop", min_class_size=13
    ).load()
    assert list(data.store.ids()) == [fields[0] for fields, _ in kept]
    assert labels_of(data) == [fields[3] for fields, _ in kept]
    assert all(data.store.sequence(i) == kept[i][1] for i in range(len(kept)))
    assert data.store.n_sequences == len({sequence for _, sequence in kept})
    # The counts of the README.
    assert data.report["records_read"] == 6_294
    assert data.report["no_label"] == {"unknown": 2}
    assert data.report["small_classes"] == {"other_mammal": 12}
    sizes = {"avian": 3425, "human": 2018, "swine": 547, "carnivore": 141, "equine": 90}
    assert data.class_sizes == sizes | {"bovine": 59}


def test_influenza_hosts_from_the_table_beside_the_fasta(real_data):
    folder = real_data / "influenza_ha_host"
    common = {"missing_label": "drop", "min_class_size": 13, "id": Rule(field=1)}
    header = FileSource(folder / "ha_host.fasta.gz", label=Rule(field=4), **common).load()
    joined = FileSource(
        folder / "ha_host.fasta.gz",
        label=Rule(column="host"),
        year=Rule(column="year"),
        group=Rule(column="tree"),
        metadata=folder / "ha_host.csv.gz",
        metadata_key="accession",
        **common,
    ).load()
    assert labels_of(joined) == labels_of(header)
    assert joined.store.fingerprint == header.store.fingerprint
    assert joined.report["no_label"] == {"(empty)": 2}
    assert joined.report["small_classes"] == {"other mammal": 12}
    years = joined.fields["year"]
    assert (years.min(), years.max(), years.dtype) == (1918, 2026, np.int64)
    assert set(joined.fields["group"]) == {"H1", "H2", "H3", "H5", "H7"}


def test_polyomavirus_headers_with_spaces(real_data):
    folder = real_data / "polyomavirus_vp1_host"
    fasta = folder / "vp1_sequences.fasta"
    joined = FileSource(
        fasta,
        label=Rule(column="host_category"),
        record_key=Rule(field=1),
        metadata=folder / "vp1_metadata.csv",
        metadata_key="accession",
        fields={"organism": Rule(column="organism")},
    ).load()
    header = FileSource(fasta, label=Rule(field=4), fields={"organism": Rule(field=2)}).load()
    assert joined.fingerprint == header.fingerprint
    with fasta.open() as handle:
        headers = [record.description for record in SeqIO.parse(handle, "fasta")]
    assert list(joined.store.ids()) == headers
    assert joined.class_sizes == {
        "Bat": 11, "Bird": 16, "Fish": 3, "Human": 50, "Other_Mammal": 14, "Rodent": 22
    }  # fmt: skip


def test_biotrainer_keys(real_data):
    data = FileSource(
        real_data / "biotrainer_examples/scl_rand.fasta",
        id=Rule(field=1, delimiter=" "),
        label=Rule(key="TARGET"),
        split=Rule(key="SET"),
    ).load()
    assert Counter(data.fields["split"].tolist()) == {"train": 115, "val": 16, "test": 3}
    assert data.class_sizes["Cell_membrane"] == 10 and len(data.label_names) == 9
    assert all(name.startswith("Sequence") and " " not in name for name in data.store.ids())


def test_deeploc_labels_end_at_the_last_hyphen(real_data):
    path = real_data / "deeploc_localization/deeploc_our_val_set.fasta.gz"
    with gzip.open(path, "rt") as handle:
        words = [header.split()[1] for header, _ in SimpleFastaParser(handle)]
    data = FileSource(path, label=Rule(regex=r"^\S+ (?P<label>\S+)-[MSU]\b")).load()
    assert labels_of(data) == [word.rpartition("-")[0] for word in words]
    assert data.class_sizes["Cytoplasm-Nucleus"] == 23 and len(data) == 1_678


def test_scope_is_lower_case_with_upper_case_joints(real_data):
    path = real_data / "scope_astral/astral_20.fa.gz"
    data = FileSource(path, label=Rule(regex=r"^\S+ (?P<label>[a-g])\.")).load()
    assert list(data.class_sizes.values()) == [1596, 1641, 1832, 1962, 146, 224, 542]
    assert (
        data.report["letters"]["lower_case_records"] == len(data) == data.store.n_sequences == 7_943
    )
