"""Simulated ddG of single substitutions, whose answer is known before anything is measured.

Every protein is a string of stretches, by turns a core (rich in hydrophobic residues) and a
surface (rich in polar ones), in proportions of its own. Nothing tells them apart but the
residues: a site is as buried as its neighbourhood in the sequence is hydrophobic. The value of a
mutation, large where it destabilises, is the sum of

- its change, times how buried the site is: `change` and `burial` below;
- what the structure of the stretch adds, `STRUCTURES`; the table says which it is (`struc`);
- a shift of the protein, the same in all its rows, as if it came from its own laboratory;
- noise.

What follows. Wild-type residue, new residue and `struc` alone explain a part: the change at a
site of middling burial. Burial stands in none of them, but in the four neighbours on either
side, so that the state of a good encoder at the site, or a mean over a window, explains more. The
shift says nothing about other proteins, but features that give a protein away predict it for
the other rows of the same one: random folds look better than folds by protein. The first protein
has five times as many rows as the others.

>>> change("IID", "DVI").round(1).tolist()  # I to D, I to V, D to I
[2.9, 0.5, -2.9]

Shape letters: L = residues of one protein, M = its mutations.
"""

from dataclasses import dataclass

import numpy as np

from protemb.errors import ConfigError
from protemb.sequences.amino_acids import HYDROPATHY, RESIDUES, VOLUME
from protemb.variants.mutations import Mutation, Substitution
from protemb.variants.table import VariantTable

STRUCTURES = {"helix": 0.4, "strand": 0.8, "loop": 0.0}
"""What a stretch's structure adds to every value in it."""

LENGTHS = (60, 120)  # residues of a protein
STRETCHES = (5, 12)  # residues of a stretch
HYDROPHOBIC = 0.4  # how much cores and surfaces prefer their residues
VARIETY = 0.5  # how much the proteins' own preferences differ
REACH = 4  # neighbours on either side that bury a site
LARGER = 5  # times as many rows in the first protein
PER_SITE = 4  # mutations of a measured site, at most
SHIFT, NOISE = 0.8, 0.5  # standard deviations


def change(wild: str, new: str) -> np.ndarray:
    """Return change_M: the hydropathy that mutations lose, and the volume, in typical differences.

    Args:
        wild: Residues of the wild type, one for each mutation.
        new: Those in their places.
    """
    old = [RESIDUES.index(letter) for letter in wild]
    put = [RESIDUES.index(letter) for letter in new]
    return (HYDROPATHY[old] - HYDROPATHY[put]) / 4 + (VOLUME[old] - VOLUME[put]) / 60


def neighbourhood(sequence: str, reach: int = REACH) -> np.ndarray:
    """Return hydropathy_L, the mean of up to `reach` neighbours on either side, without the site.

    >>> neighbourhood("IAI", 1).round(2).tolist() == [1.8, 4.5, 1.8]
    True
    """
    own_L = HYDROPATHY[[RESIDUES.index(letter) for letter in sequence]]
    window = np.ones(2 * reach + 1)
    window[reach] = 0
    sums_L = np.convolve(own_L, window)[reach:-reach]
    return sums_L / np.convolve(np.ones(len(sequence)), window)[reach:-reach]


def burial(sequence: str) -> np.ndarray:
    """Return burial_L, from 0 (exposed) to 1 (buried); see `neighbourhood`."""
    return 1 / (1 + np.exp(-1.5 * neighbourhood(sequence)))


@dataclass(frozen=True, kw_only=True)
class DemoTable:
    """The simulated table; it is the same whenever its options are.

    Attributes:
        proteins: How many there are.
        mutations: Rows of each protein; the first has five times as many.
        seed: Which of the random worlds.
    """

    proteins: int = 24
    mutations: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        # Five times as many must fit on the shortest protein.
        most = LENGTHS[0] * PER_SITE // LARGER
        if self.proteins < 1:
            raise ConfigError("table.proteins", self.proteins, "a number from 1 on")
        if self.seed < 0:
            raise ConfigError("table.seed", self.seed, "a number from 0 on")
        if not 1 <= self.mutations <= most:
            raise ConfigError("table.mutations", self.mutations, f"a number from 1 to {most}")

    def load(self) -> VariantTable:
        """Simulate the table; its covariate is `struc`, its groups are the proteins."""
        names = [f"demo{number:02d}" for number in range(1, self.proteins + 1)]
        sequences, rows, values, structures, mutations = {}, [], [], [], []
        for number, name in enumerate(names):
            rng = np.random.default_rng((self.seed, number))
            sequence, structure_L = _protein(rng)
            count = self.mutations * (1 if number else LARGER)
            found = _mutations(rng, sequence, count)
            sites_M = np.array([one.position for one in found])
            added_M = np.array([STRUCTURES[word] for word in structure_L[sites_M]])
            change_M = change("".join(s.wild for s in found), "".join(s.new for s in found))
            signal_M = change_M * burial(sequence)[sites_M] + added_M
            values.append(signal_M + SHIFT * rng.normal() + NOISE * rng.normal(size=count))
            sequences[name] = sequence
            rows += [name] * count
            structures.append(structure_L[sites_M])
            mutations += [Mutation((one,)) for one in found]
        proteins_N = np.array(rows)
        return VariantTable(
            proteins_N=proteins_N,
            mutations=tuple(mutations),
            wild_types=sequences,
            values_N=np.concatenate(values),
            labels_N=None,
            label_names=(),
            groups_N=proteins_N,
            covariates={"struc": np.concatenate(structures)},
            weights_N=np.ones(len(rows)),
            report={"simulated": True, "rows_kept": len(rows), "proteins": len(names)},
        )


def _protein(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A sequence, and the structure at each of its residues."""
    length = int(rng.integers(*LENGTHS, endpoint=True))
    own = VARIETY * rng.normal(size=len(RESIDUES))
    sequence, structure, core = "", [], bool(rng.integers(2))
    while len(sequence) < length:
        stretch = int(rng.integers(*STRETCHES, endpoint=True))
        likely = np.exp(own + (HYDROPHOBIC if core else -HYDROPHOBIC) * HYDROPATHY)
        sequence += "".join(rng.choice(list(RESIDUES), stretch, p=likely / likely.sum()))
        structure += [rng.choice(list(STRUCTURES))] * stretch
        core = not core
    return sequence[:length], np.array(structure[:length])


def _mutations(rng: np.random.Generator, sequence: str, count: int) -> list[Substitution]:
    """Different substitutions, several to a site as in real tables; by site and residue."""
    sites = rng.permutation(len(sequence))[: -(-count // PER_SITE)]
    found = []
    for place, site in enumerate(sorted(sites.tolist())):
        others = RESIDUES.replace(sequence[site], "")
        here = min(PER_SITE, count - place * PER_SITE)
        chosen = sorted(rng.choice(list(others), here, replace=False).tolist())
        found += [Substitution(site, sequence[site], new) for new in chosen]
    return found
