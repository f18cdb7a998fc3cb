"""What a residue table has learned: its distances against biology, its start and other tables.

Only the 20 standard residues are compared. X stands for whatever was unknown, so its row means
nothing by itself, and most data hardly train it. Everything works on plain rows; those of a
trained encoder are `encoder.table.rows.weight`, with or without the padding row.

There are no intervals over residues: the 20 are all there are, not a sample. What is random is
the start and the training, so the spread of a number is its spread over runs from several seeds.
A trained table keeps much of its random start, and runs with the same seed share that start and
its luck: compare what was added (trained - initial) as well, every function here takes it.

Shape letters: A = the 20 residues, V = rows of a table (A, then X, then padding), D, E = features
of a row, I = pairs of residues, P = permutations, Q = references, R = random tables.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from protemb.analysis.means import plain_values
from protemb.analysis.significance import holm
from protemb.intervals import Interval, percentile_interval
from protemb.sequences.amino_acids import RESIDUES, reference_distances

# Distances that differ by less than this share of the largest are ties.
_TIE = 12  # decimals


@dataclass(frozen=True)
class Tested:
    """A number between two tables and its permutation test; all None where it is undefined.

    Attributes:
        value: see the function that gives it.
        p: one-sided: the share of permutations (and the data itself) with at least this value.
        chance: mean and central 95 % of the value when the residues are permuted.
    """

    value: float | None
    p: float | None
    chance: Interval | None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self) | {"chance": None if self.chance is None else self.chance.as_dict()}


@dataclass(frozen=True)
class TableFindings:
    """A table beside the known properties of the residues.

    Attributes:
        dim: features of a row.
        references: Mantel test against each reference; p is not corrected.
        holm: p after Holm's correction over the references.
        random: mean and central 95 % of r of random normal tables of this shape.
        one_hot: the control in which every residue is as far from every other: undefined, so
            None for each reference.
    """

    dim: int
    references: Mapping[str, Tested]
    holm: Mapping[str, float | None]
    random: Mapping[str, Interval]
    one_hot: Mapping[str, float | None]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "dim": self.dim,
            "residues": RESIDUES,
            "references": {
                name: found.as_dict()
                | {
                    "p_holm": self.holm[name],
                    "random_tables": self.random[name].as_dict(),
                    "one_hot": self.one_hot[name],
                }
                for name, found in self.references.items()
            },
        }


@dataclass(frozen=True)
class Drift:
    """How far a table has moved from its start.

    Attributes:
        residues: |trained - initial| / |initial| of each residue; None where it began at zero.
        overall: the same of the 20 rows together.
        distances: Spearman's correlation of the pairs' distances before and after (1 = the
            geometry is that of the start); None where all distances of one are equal.
    """

    residues: Mapping[str, float | None]
    overall: float | None
    distances: float | None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def table_distances(rows_VD: np.ndarray) -> np.ndarray:
    """Return distance_AA, the Euclidean distances between the rows of the 20 residues.

    Args:
        rows_VD: rows in the order of AA21; X and padding, where they are given, are left out.

    Raises:
        ValueError: not 20 to 22 rows, or numbers that are not finite.
    """
    return squareform(pdist(_standard(rows_VD)))


def mantel(
    first_AA: np.ndarray, second_AA: np.ndarray, *, permutations: int = 9999, seed: int
) -> Tested:
    """Test whether two distance matrices agree (Mantel 1967).

    The value is Spearman's correlation over the pairs: ranks, because how a similarity becomes
    a distance is settled only up to its order. The residues of the first matrix are permuted,
    rows and columns together, so pairs that share a residue stay together. One-sided: only
    agreement counts. Undefined where all distances of one matrix are equal.

    Args:
        first_AA: symmetric distances of any number of residues from 3 on.
        second_AA: of the same residues.
        permutations: how many are drawn.
        seed: of the draw.

    Raises:
        ValueError: matrices that are not symmetric and of one size.
    """
    A = len(first_AA)
    for matrix in (first_AA, second_AA):
        if A < 3 or matrix.shape != (A, A) or not np.allclose(matrix, matrix.T):
            raise ValueError(f"expected symmetric {A} x {A} distances, A from 3 on")
    upper = np.triu_indices(A, 1)
    ranks_I, other_I = (_ranks(matrix[upper][None])[0] for matrix in (first_AA, second_AA))
    if not (ranks_I.any() and other_I.any()):
        return Tested(None, None, None)
    order_PA = _permutations(permutations, A, seed)
    permuted_PI = squareform(ranks_I)[order_PA[:, upper[0]], order_PA[:, upper[1]]]
    return _judge(float(ranks_I @ other_I), permuted_PI @ other_I)


def compare_table(
    rows_VD: np.ndarray, *, permutations: int = 9999, random_tables: int = 1000, seed: int
) -> TableFindings:
    """Test a table against each of `reference_distances`, with its two controls.

    Args:
        rows_VD: as in `table_distances`.
        permutations: of each Mantel test.
        random_tables: how many random tables are drawn.
        seed: of all draws.
    """
    distance_AA, references = table_distances(rows_VD), reference_distances()
    options = {"permutations": permutations, "seed": seed}
    found = {name: mantel(distance_AA, known, **options) for name, known in references.items()}
    # Its distances have no order to compare, whatever the reference.
    one_hot_AA = table_distances(np.eye(len(RESIDUES)))
    flat = {
        name: mantel(one_hot_AA, known, permutations=0, seed=seed).value
        for name, known in references.items()
    }
    D = rows_VD.shape[1]
    rng = np.random.default_rng(seed)
    drawn_RI = np.stack([pdist(rng.normal(size=(len(RESIDUES), D))) for _ in range(random_tables)])
    drawn_RI = _ranks(drawn_RI)
    random = {
        name: _band(drawn_RI @ _ranks(squareform(known)[None])[0])
        for name, known in references.items()
    }
    p_Q = np.array([np.nan if test.p is None else test.p for test in found.values()])
    corrected = dict(zip(found, plain_values(holm(p_Q)), strict=True))
    return TableFindings(D, found, corrected, random, flat)


def drift(initial_VD: np.ndarray, trained_VD: np.ndarray) -> Drift:
    """Compare a trained table with the one its training began from.

    Args:
        initial_VD: the table of the untrained network, built again from the run's seed.
        trained_VD: the same table after training.

    Raises:
        ValueError: tables of different shapes.
    """
    initial_AD, trained_AD = _standard(initial_VD), _standard(trained_VD)
    if initial_AD.shape != trained_AD.shape:
        raise ValueError(f"tables of {initial_AD.shape} and {trained_AD.shape}: expected one shape")
    moved_A = np.linalg.norm(trained_AD - initial_AD, axis=1)
    start_A = np.linalg.norm(initial_AD, axis=1)
    pairs = (table_distances(rows_VD) for rows_VD in (initial_VD, trained_VD))
    residues = zip(RESIDUES, moved_A, start_A, strict=True)
    return Drift(
        {letter: _share(moved, start) for letter, moved, start in residues},
        _share(float(np.linalg.norm(moved_A)), float(np.linalg.norm(start_A))),
        mantel(*pairs, permutations=0, seed=0).value,
    )


def agreement(
    tables: Mapping[str, np.ndarray], *, permutations: int = 999, seed: int
) -> dict[tuple[str, str], Tested]:
    """Compare the geometry of every pair of tables, whatever their axes and features.

    The value is the share of variance that is common to both after the best shift, rotation,
    reflection and scaling: 1 - the disparity of Procrustes (Gower 1975), from 0 to 1. Chance is
    far above 0: the fit is free to turn, the more so the more features there are. Undefined
    where all rows of a table are equal.

    Tables of runs with the same seed agree before anything is learned, since they begin from the
    same rows: compare different seeds, or what was added (trained - initial).

    Args:
        tables: rows_VD by name.
        permutations: of the residues; the same for every pair.
        seed: of the permutations.
    """
    shapes = {name: _shape(rows_VD) for name, rows_VD in tables.items()}
    order_PA = _permutations(permutations, len(RESIDUES), seed)
    found = {}
    for (first, shape_AD), (second, shape_AE) in combinations(shapes.items(), 2):
        found[first, second] = Tested(None, None, None)
        if shape_AD is not None and shape_AE is not None:
            value = float(_shared(shape_AD[None], shape_AE)[0])
            found[first, second] = _judge(value, _shared(shape_AD[order_PA], shape_AE))
    return found


def _standard(rows_VD: np.ndarray) -> np.ndarray:
    """The rows of the 20 residues, rows_AD in float64."""
    A = len(RESIDUES)
    if rows_VD.ndim != 2 or not A <= len(rows_VD) <= A + 2:
        raise ValueError(f"a table of shape {rows_VD.shape}: expected {A} to {A + 2} rows")
    rows_AD = np.asarray(rows_VD[:A], np.float64)
    if not np.isfinite(rows_AD).all():
        raise ValueError("a table with NaN or infinity: expected finite numbers")
    return rows_AD


def _permutations(count: int, size: int, seed: int) -> np.ndarray:
    order_PA = np.tile(np.arange(size), (count, 1))
    return np.random.default_rng(seed).permuted(order_PA, axis=1)


def _ranks(pairs_RI: np.ndarray) -> np.ndarray:
    """Ranks of each row, centred and of length 1 (zero where all are equal): r is a product."""
    largest_R1 = pairs_RI.max(1, keepdims=True)
    scaled_RI = pairs_RI / np.where(largest_R1 > 0, largest_R1, 1)
    ranks_RI = rankdata(scaled_RI.round(_TIE), axis=1)
    ranks_RI -= ranks_RI.mean(1, keepdims=True)
    length_R1 = np.linalg.norm(ranks_RI, axis=1, keepdims=True)
    return ranks_RI / np.where(length_R1 > 0, length_R1, 1)


def _judge(value: float, chance_P: np.ndarray) -> Tested:
    """The value, its one-sided p, and what chance gives; equal within rounding counts as equal."""
    reached = 1 + int((chance_P >= value - 1e-9).sum())
    return Tested(value, reached / (1 + len(chance_P)), _band(chance_P))


def _band(values_P: np.ndarray) -> Interval:
    """Mean and central 95 % of draws."""
    return percentile_interval(float(values_P.mean()) if len(values_P) else np.nan, values_P)


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _shape(rows_VD: np.ndarray) -> np.ndarray | None:
    """The table without place, size and direction; None where all its rows are equal."""
    rows_AD = _standard(rows_VD)
    centred_AD = rows_AD - rows_AD.mean(0)
    left, scale, _ = np.linalg.svd(centred_AD, full_matrices=False)
    length = np.linalg.norm(scale)
    return left * (scale / length) if length > 1e-12 * np.abs(rows_AD).max() else None


def _shared(shapes_PAD: np.ndarray, shape_AE: np.ndarray) -> np.ndarray:
    """Squared sum of the singular values of each cross product: 1 - Procrustes' disparity."""
    cross_PDE = shapes_PAD.transpose(0, 2, 1) @ shape_AE
    return np.linalg.svd(cross_PDE, compute_uv=False).sum(1) ** 2
