import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from protemb.errors import ConfigError, InputError, MissingExtra
from protemb.sequences.clusters import find_clusters, near_duplicates, read_clusters
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.neighbours import edit_identity
from protemb.sequences.splits import ClusterSplit
from protemb.sequences.tokens import TokenStore

AMINO = "ARNDCQEGHILKMFPSTWYV"


def relatives(founder: str, share: float, n: int, rng: np.random.Generator) -> list[str]:
    """`n` copies of a founder, each with this share of positions substituted."""
    copies = []
    for _ in range(n):
        letters = list(founder)
        for place in rng.choice(len(letters), round(share * len(letters)), replace=False):
            letters[place] = rng.choice([letter for letter in AMINO if letter != letters[place]])
        copies.append("".join(letters))
    return copies


@pytest.fixture(scope="module")
def families() -> tuple[TokenStore, np.ndarray]:
    """Six unrelated families of six: 5 % (near) and 30 % from the founder; and the truth."""
    rng = np.random.default_rng(0)
    sequences, family = [], []
    for f in range(6):
        founder = "".join(rng.choice(list(AMINO), int(rng.integers(120, 160))))
        members = [*relatives(founder, 0.05, 3, rng), *relatives(founder, 0.3, 3, rng)]
        sequences += members
        family += [f] * len(members)
    order = rng.permutation(len(sequences))
    records = ((f"id {i}", sequences[i]) for i in order)
    return TokenStore.from_sequences(records), np.array(family)[order]


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(((first[:, None] == first) == (second[:, None] == second)).all())


class TestTable:
    @pytest.fixture
    def store(self) -> TokenStore:
        return TokenStore.from_sequences([("a|1", "MKV"), ("b c", "MK"), ("d", "MKV"), ("e", "W")])

    def write(self, folder: Path, *lines: str) -> Path:
        path = folder / "clusters.tsv"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def test_members_of_a_representative_share_a_cluster(self, tmp_path: Path, store):
        path = self.write(tmp_path, "e\te", "a|1\ta|1", "a|1\tb c", "", "x\td", "a|1\tb c")
        cluster_of_N, facts = read_clusters(path, store)
        assert same_partition(cluster_of_N, np.array([0, 0, 1, 2]))
        assert facts["clusters"] == 3

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (["a|1\ta|1", "a|1 b"], ":2: got 'a|1 b', expected 'representative<TAB>member'"),
            (["a|1\tA|1"], ":1: record 'A|1': the data has no such id"),
            (["a|1\td", "b c\td"], ":2: record 'd': the id is in two clusters"),
            (["a|1\ta|1", "e\te"], ": 2 of 4 records of the data are in no cluster, the first"),
        ],
    )
    def test_a_table_that_does_not_fit_is_one_clear_line(self, tmp_path, store, lines, message):
        path = self.write(tmp_path, *lines)
        with pytest.raises(InputError) as caught:
            read_clusters(path, store)
        assert str(caught.value).startswith(f"{path}{message}")


def test_near_duplicates_are_near_and_longest_first(families):
    store, _ = families
    represented_S = near_duplicates(store, 0.85)
    sequences = [store.distinct(s) for s in range(store.n_sequences)]
    for s, representative in enumerate(represented_S):
        assert represented_S[representative] == representative
        assert len(sequences[representative]) >= len(sequences[s])
        assert edit_identity(sequences[representative], sequences[s]) >= 0.85 or s == representative
    # No representative could have stood for another one.
    chosen = np.unique(represented_S)
    for i in chosen:
        assert all(edit_identity(sequences[i], sequences[j]) < 0.85 for j in chosen if i != j)
    assert len(chosen) == 6 + 18  # the three near ones are one, the others their own


@pytest.mark.parametrize("identity", [0.4, 0.95])
def test_pyhmmer_finds_the_families(monkeypatch, families, identity):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    store, family = families
    cluster_of_S, facts = find_clusters(store, "auto", identity)
    truth = family if identity == 0.4 else np.arange(store.n_sequences)
    assert same_partition(cluster_of_S, truth)
    assert facts["tool"].startswith("pyhmmer phmmer") and facts["clusters"] == len(set(truth))


def test_pyhmmer_asks_for_coverage_of_both(monkeypatch):
    rng = np.random.default_rng(1)
    whole = "".join(rng.choice(list(AMINO), 200))
    store = TokenStore.from_sequences([("whole", whole), ("half", whole[:100])])
    for coverage, n in ((0.8, 2), (0.4, 1)):
        assert len(np.unique(find_clusters(store, "pyhmmer", 0.8, coverage)[0])) == n


def test_relatives_of_relatives_share_a_cluster():
    rng = np.random.default_rng(3)
    whole = "".join(rng.choice(list(AMINO), 200))
    # Of 200, 100 and 140 residues: the 140 cover 0.7 of each other one, those only half.
    texts = {"long": whole, "short": whole[:100], "middle": whole[:140]}
    for names, n in ((("long", "short"), 2), (("long", "short", "middle"), 1)):
        store = TokenStore.from_sequences((name, texts[name]) for name in names)
        assert len(np.unique(find_clusters(store, "pyhmmer", 0.8, 0.65)[0])) == n


def test_without_any_tool_the_extra_is_named(monkeypatch, families):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "pyhmmer", None)
    with pytest.raises(MissingExtra, match=r"pip install 'protemb\[homology\]'"):
        find_clusters(families[0])
    with pytest.raises(ConfigError, match="the program mmseqs on PATH"):
        find_clusters(families[0], "mmseqs")


FAKE = """#!{python}
import sys
if sys.argv[1] == "version":
    print("test 1")
    sys.exit()
command, fasta, out, scratch, *options = sys.argv[1:]
if {fails}:
    print("a log line", file=sys.stderr)
    print("Error: no room", file=sys.stderr)
    sys.exit(3)
with open({seen!r}, "a") as seen:
    print(command, *options, file=seen)
lengths, name = {{}}, None
for line in open(fasta):
    if line.startswith(">"):
        name = int(line[1:])  # a number, whatever the id was
    else:
        lengths.setdefault(len(line.strip()), []).append(name)
with open(out + "_cluster.tsv", "w") as table:
    for members in lengths.values():
        for member in members:
            print(members[0], member, sep="\\t", file=table)
"""


@pytest.fixture
def fake_mmseqs(tmp_path: Path, monkeypatch):
    """Puts a program `mmseqs` on PATH that clusters by length and notes its options."""

    def install(fails: bool = False) -> Path:
        seen = tmp_path / "seen"
        program = tmp_path / "bin" / "mmseqs"
        program.parent.mkdir(exist_ok=True)
        program.write_text(FAKE.format(python=sys.executable, fails=fails, seen=str(seen)))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")
        return seen

    return install


NAMES = [("a/../b", "MKVA"), ("c >d", "MKVC"), ("e", "MK"), ("f", "MKVA"), ("g", "KK")]


def test_mmseqs_is_run_as_asked_and_its_result_kept(tmp_path: Path, fake_mmseqs):
    seen, store = fake_mmseqs(), TokenStore.from_sequences(NAMES)
    for _ in range(2):
        cluster_of_S, facts = find_clusters(store, "auto", 0.3, 0.9, tmp_path / "cache")
        assert same_partition(cluster_of_S, np.array([0, 0, 1, 1]))
    assert facts == {
        "tool": "mmseqs easy-cluster --cov-mode 0 --cluster-mode 1",
        "version": "test 1",
        "identity": 0.3,
        "coverage": 0.9,
        "clusters": 2,
    }
    options = "easy-cluster --min-seq-id 0.3 -c 0.9 --cov-mode 0 --cluster-mode 1 -v 1\n"
    assert seen.read_text() == options  # once: the second time it came from the cache
    find_clusters(store, "auto", 0.5, 0.9, tmp_path / "cache")
    assert seen.read_text() == options + options.replace("0.3", "0.5")
    assert len(list((tmp_path / "cache" / "clusters").iterdir())) == 2


def test_a_failing_mmseqs_is_quoted_and_nothing_is_kept(tmp_path: Path, fake_mmseqs):
    fake_mmseqs(fails=True)
    with pytest.raises(ConfigError, match=r"easy-cluster succeeds \(exit code 3.*Error: no room"):
        find_clusters(TokenStore.from_sequences(NAMES), cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "clusters").iterdir())


def test_the_cluster_split_joins_records_of_a_sequence(tmp_path: Path, fake_mmseqs):
    fake_mmseqs()
    rng = np.random.default_rng(2)
    lengths = rng.integers(5, 45, 200)
    records = ((f"r{i}", "".join(rng.choice(list(AMINO), n))) for i, n in enumerate(lengths))
    data = LabelledSet.from_labels(TokenStore.from_sequences(records), ["a", "b"] * 100)
    split = ClusterSplit(identity=0.5).split(data, cache_dir=tmp_path / "cache")
    part_of_N = split.part_of_N(200)
    assert all(len(set(part_of_N[lengths == n])) == 1 for n in lengths)
    assert split.parameters["tool"].startswith("mmseqs easy-cluster")
    assert split.parameters["clusters"] == split.parameters["groups"] == len(set(lengths))


def test_the_real_mmseqs_finds_near_relatives(families, program):
    program("mmseqs")
    store, _ = families
    cluster_of_S, facts = find_clusters(store, "mmseqs", 0.8)
    assert same_partition(cluster_of_S, near_duplicates(store, 0.8))
    assert facts["tool"].startswith("mmseqs easy-cluster")
