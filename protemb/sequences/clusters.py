"""Clusters of similar sequences, for splits that keep relatives on one side.

Never `mmseqs easy-linclust`: it is blind below about 50 % identity and splits families. No tool
finds every pair of relatives: how near test and train really are, `audit_split` measures.
Shape letters: N = records, S = distinct sequences.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from protemb.errors import ConfigError, InputError, MissingExtra
from protemb.files import cached_folder, content_key, hash_file
from protemb.sequences.neighbours import edit_identity, identity_bound, kmer_table
from protemb.sequences.partition import numbered_lines
from protemb.sequences.tokens import TokenStore

Facts = dict[str, object]

# Coverage of both sequences; connected components, as its default (greedy set cover) leaves
# relatives of 99 % identity in two clusters.
MMSEQS_MODES = ("--cov-mode", "0", "--cluster-mode", "1")
# phmmer hits above this E-value are not called relatives.
E_VALUE = 1e-3
# Sequences at least so identical share a representative before phmmer compares all with all.
NEAR = 0.9


def read_clusters(path: str | Path, store: TokenStore) -> tuple[np.ndarray, Facts]:
    """Read "representative<TAB>member" lines; return the cluster code of each record and facts.

    Raises:
        InputError: A line without tab, an unknown member, one in two clusters, or a record of
            the data that is in none.
    """
    source, position = str(path), store.positions()
    clusters: dict[str, int] = {}
    cluster_of_N = np.full(len(store), -1, np.int64)
    for number, line in numbered_lines(path):
        representative, tab, member = line.partition("\t")
        if not tab:
            raise InputError(source, f"got {line!r}, expected 'representative<TAB>member'", number)
        record = position.get(member)
        if record is None:
            raise InputError(source, "the data has no such id", number, member)
        cluster = clusters.setdefault(representative, len(clusters))
        if cluster_of_N[record] not in (-1, cluster):
            raise InputError(source, "the id is in two clusters", number, member)
        cluster_of_N[record] = cluster
    missing = np.flatnonzero(cluster_of_N < 0)
    if len(missing):
        problem = f"{len(missing)} of {len(store)} records of the data are in no cluster"
        raise InputError(source, f"{problem}, the first is {store.id(missing[0])!r}")
    return cluster_of_N, {"table_sha256": hash_file(path), "clusters": len(clusters)}


def find_clusters(
    store: TokenStore,
    method: str = "auto",
    identity: float = 0.8,
    coverage: float = 0.8,
    cache_dir: Path | None = None,
) -> tuple[np.ndarray, Facts]:
    """Cluster the distinct sequences; return the cluster code of each and plain facts.

    Args:
        store: Sequences.
        method: "mmseqs" (`easy-cluster` of the binary on PATH), "pyhmmer" (see `link_relatives`),
            or "auto": mmseqs where there is one, else pyhmmer.
        identity: Least identity of an alignment that holds a cluster together.
        coverage: Least share of both sequences that the alignment covers.
        cache_dir: Where results are kept, in clusters/<key of everything above>.

    Raises:
        ConfigError: There is no mmseqs on PATH, or it failed.
        MissingExtra: There is no pyhmmer.
    """
    binary = shutil.which("mmseqs") if method in ("auto", "mmseqs") else None
    if method == "mmseqs" and binary is None:
        raise ConfigError("split.method", method, "the program mmseqs on PATH, or another method")
    if binary is not None:
        tool = " ".join(("mmseqs easy-cluster", *MMSEQS_MODES))
        version = _mmseqs(binary, "version").strip()
    else:
        tool, version = f"pyhmmer phmmer -E {E_VALUE}", _pyhmmer().__version__
    facts: Facts = {"tool": tool, "version": version, "identity": identity, "coverage": coverage}

    def compute() -> np.ndarray:
        if binary is not None:
            return _run_mmseqs(binary, store, identity, coverage)
        return link_relatives(store, identity, coverage)

    cluster_of_S = _cached(cache_dir, facts | {"sequences": store.fingerprint}, compute)
    return cluster_of_S, facts | {"clusters": len(np.unique(cluster_of_S))}


def _cached(cache_dir: Path | None, key: Facts, compute: Callable[[], np.ndarray]) -> np.ndarray:
    if cache_dir is None:
        return compute()
    name = "cluster_of_S.npy"
    return cached_folder(
        Path(cache_dir) / "clusters" / content_key(key),
        lambda part: np.save(part / name, compute()),
        lambda folder: np.load(folder / name, allow_pickle=False),
    )


def _mmseqs(binary: str, *arguments: str) -> str:
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        command = f"mmseqs {arguments[0]}"
        problem = f"exit code {done.returncode}, it said: {said[-1]}"
        raise ConfigError("split.method", "mmseqs", f"that {command} succeeds ({problem})")
    return done.stdout


def _run_mmseqs(binary: str, store: TokenStore, identity: float, coverage: float) -> np.ndarray:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open(folder / "in.fasta", "w", encoding="ascii") as fasta:
            for s in range(store.n_sequences):  # numbers as names: ids can hold anything
                fasta.write(f">{s}\n{store.alphabet.decode(store.distinct(s))}\n")
        options = ["--min-seq-id", str(identity), "-c", str(coverage), *MMSEQS_MODES]
        places = (str(folder / part) for part in ("in.fasta", "out", "tmp"))
        _mmseqs(binary, "easy-cluster", *places, *options, "-v", "1")
        pairs_S2 = np.loadtxt(folder / "out_cluster.tsv", np.int64, delimiter="\t", ndmin=2)
    cluster_of_S = np.full(store.n_sequences, -1)
    cluster_of_S[pairs_S2[:, 1]] = pairs_S2[:, 0]
    assert (cluster_of_S >= 0).all(), "mmseqs left sequences out"
    return np.unique(cluster_of_S, return_inverse=True)[1]


def link_relatives(store: TokenStore, identity: float, coverage: float) -> np.ndarray:
    """Cluster by single linkage: relatives of relatives share a cluster.

    Sequences of at least 90 % identity (or `identity`, where that is more) to a longer one are
    represented by it (`near_duplicates`). Representatives are linked when phmmer (E-value up to
    0.001) aligns them in one piece with at least `identity` equal columns that covers `coverage`
    of both. All are compared with all: fit for some thousand representatives, not for more.
    """
    represented_S = near_duplicates(store, max(identity, NEAR))
    representatives, inverse_S = np.unique(represented_S, return_inverse=True)
    return _linked(store, representatives, identity, coverage)[inverse_S]


def near_duplicates(store: TokenStore, identity: float) -> np.ndarray:
    """Return representative_of_S: the first longer sequence with at least this edit identity.

    Longest first, a sequence that is not yet represented represents itself and every free one
    that is so identical to it. The k-mer bound only skips pairs that cannot be.
    """
    kmers_SF = kmer_table(store)
    kmers_FS = kmers_SF.T.tocsr()
    represented_S = np.full(store.n_sequences, -1)
    for s in np.argsort(-store.lengths_S, kind="stable").tolist():
        if represented_S[s] >= 0:
            continue
        represented_S[s] = s
        features = kmers_SF.indices[kmers_SF.indptr[s] : kmers_SF.indptr[s + 1]]
        shared_S = np.bincount(kmers_FS[features].indices, minlength=store.n_sequences)
        bound_S = identity_bound(store.lengths_S[s], store.lengths_S, shared_S)
        for other in np.flatnonzero((represented_S < 0) & (bound_S >= identity)).tolist():
            if edit_identity(store.distinct(s), store.distinct(other)) >= identity:
                represented_S[other] = s
    return represented_S


def _linked(store: TokenStore, chosen: np.ndarray, identity: float, coverage: float) -> np.ndarray:
    """Return the component of each chosen sequence, walking from relative to relative."""
    pyhmmer = _pyhmmer()
    amino = pyhmmer.easel.Alphabet.amino()
    digital = [
        pyhmmer.easel.TextSequence(
            name=str(number).encode(), sequence=store.alphabet.decode(store.distinct(s))
        ).digitize(amino)
        for number, s in enumerate(chosen)
    ]
    component = np.full(len(chosen), -1)
    for start in range(len(chosen)):
        if component[start] >= 0:
            continue
        component[start] = start
        waiting = [start]
        while waiting:
            query = digital[waiting.pop()]
            free = np.flatnonzero(component < 0)
            targets = pyhmmer.easel.DigitalSequenceBlock(amino, [digital[i] for i in free])
            # A fixed Z: the E-value must not depend on how many are still free.
            search = pyhmmer.phmmer(query, targets, cpus=1, E=E_VALUE, Z=len(chosen))
            for hit in next(iter(search)):
                if _related(hit.best_domain.alignment, identity, coverage):
                    component[int(hit.name)] = start
                    waiting.append(int(hit.name))
    return np.unique(component, return_inverse=True)[1]


def _related(alignment, identity: float, coverage: float) -> bool:
    # The middle line of HMMER's output: a letter where both agree, + or blank elsewhere.
    equal = sum(symbol.isalpha() for symbol in alignment.identity_sequence)
    query = (alignment.hmm_to - alignment.hmm_from + 1) / alignment.hmm_length
    target = (alignment.target_to - alignment.target_from + 1) / alignment.target_length
    columns = len(alignment.identity_sequence)
    return equal >= identity * columns and min(query, target) >= coverage


def _pyhmmer():
    try:
        import pyhmmer
    except ImportError:
        raise MissingExtra("clustering without mmseqs", "pyhmmer", "homology") from None
    return pyhmmer
