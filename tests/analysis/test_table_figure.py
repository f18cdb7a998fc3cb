"""The table's figure shows each pair's rank in the order of the clustering, with its letters."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from protemb.analysis.residue_table import table_distances
from protemb.analysis.table_figure import LOOKS, clustered, table_figure
from protemb.sequences.amino_acids import CLASSES, HYDROPATHY, RESIDUES, reference_distances

TABLES = {
    "random": np.random.default_rng(0).normal(size=(22, 10)),
    "one feature": np.arange(20.0)[:, None] ** 2,
    "nearly zero": 1e-14 * np.random.default_rng(1).normal(size=(21, 3)),
    "constant": np.ones((21, 4)),
    "one-hot": np.eye(20),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **o: (saved.append(figure), save(figure, *a, **o))
    )
    return saved


def parts(figure):
    """Pictures as (heading, letters, square, strip); each begins with the axes of its tree."""
    headed = [axes for axes in figure.axes if axes.get_title()]
    images = [axes for axes in figure.axes if axes.images]
    for above, square, strip in zip(headed, images[::2], images[1::2], strict=True):
        letters = [label.get_text() for label in square.get_yticklabels()]
        yield above, letters, square, strip.images[0].get_array()


@pytest.mark.parametrize("name", TABLES)
def test_cells_are_ranks_in_the_order_shown(name, tmp_path, drawn):
    assert table_figure(TABLES[name], tmp_path / "a.png", title=name) == tmp_path / "a.png"
    pictures = list(parts(drawn[0]))
    expected = [table_distances(TABLES[name]), reference_distances()["BLOSUM62"]]
    assert [above.get_title() for above, *_ in pictures] == [name, "BLOSUM62"]
    for (_, letters, square, strip), distance_AA in zip(pictures, expected, strict=True):
        assert sorted(letters) == sorted(RESIDUES)
        assert letters == [label.get_text() for label in square.get_xticklabels()]
        order_A = [RESIDUES.index(letter) for letter in letters]
        np.testing.assert_array_equal(strip[:, 0], HYDROPATHY[order_A])
        shown_AA = np.ma.filled(square.images[0].get_array(), np.nan)
        assert np.isnan(shown_AA.diagonal()).all()
        pairs = squareform(distance_AA[np.ix_(order_A, order_A)], checks=False)
        ranks = rankdata((pairs / (pairs.max() or 1)).round(12))
        found = squareform(np.nan_to_num(shown_AA))
        np.testing.assert_allclose(found, (ranks - 1) / 189, atol=1e-12)
        assert square.images[0].get_clim() == (0, 1)


@pytest.mark.parametrize("name", ["random", "one feature", "nearly zero"])
def test_the_order_is_the_trees(name):
    """Leaves that the tree joins first stand together: its branches do not cross."""
    distance_AA = table_distances(TABLES[name])
    order_A, tree = clustered(distance_AA)
    np.testing.assert_allclose(
        cophenet(tree), cophenet(linkage(squareform(distance_AA), "average")), rtol=1e-9
    )
    joined_AA = squareform(cophenet(tree))[np.ix_(order_A, order_A)]
    for row in range(20):  # farther along the row, later joined
        assert (np.diff(joined_AA[row, row:]) >= -1e-12 * joined_AA.max()).all()


@pytest.mark.parametrize("name", ["constant", "one-hot"])
def test_equal_distances_have_no_tree(name, tmp_path, drawn):
    order_A, tree = clustered(table_distances(TABLES[name]))
    assert tree is None
    assert [RESIDUES[place] for place in order_A] == list("".join(CLASSES.values()))
    table_figure(TABLES[name], tmp_path / "a.png", title=name)
    (above, *_), (other, *_) = parts(drawn[0])
    assert [text.get_text() for text in above.texts] == ["all distances are equal"]
    assert not above.collections and not other.texts
    assert sum(len(lines.get_paths()) for lines in other.collections) == 19  # joins


def test_letters_have_the_colours_of_the_legend(tmp_path, drawn):
    table_figure(TABLES["random"], tmp_path / "a.png", title="a")
    (legend,) = drawn[0].legends
    names = [text.get_text() for text in legend.get_texts()]
    colours = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    assert dict(zip(names, colours, strict=True)) == {k: v.lower() for k, v in LOOKS.items()}
    for _, letters, square, _ in parts(drawn[0]):
        for label, letter in zip(square.get_yticklabels(), letters, strict=True):
            name = next(name for name, kin in CLASSES.items() if letter in kin)
            assert to_hex(label.get_bbox_patch().get_facecolor()) == LOOKS[name].lower()


@pytest.mark.parametrize("name", ["random", "one-hot"])
def test_a_whole_picture_the_same_each_time(name, tmp_path):
    for path in ("a.png", "b.png"):
        table_figure(TABLES[name], tmp_path / path, title="x" * 99)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = imread(tmp_path / "a.png")
    for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
        assert (edge == 1).all()


def test_no_window(tmp_path):
    code = """if True:
        import sys
        import numpy as np
        from protemb.analysis.table_figure import table_figure
        table_figure(np.arange(40.0).reshape(20, 2) ** 2, sys.argv[1], title="a")
        assert not {"matplotlib.pyplot", "torch"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s.png")], check=True)


def test_letters_do_not_overlap_the_cells(tmp_path, drawn):
    table_figure(TABLES["random"], tmp_path / "a.png", title="a")
    for _, _, square, _ in parts(drawn[0]):
        box = square.get_window_extent()
        assert 0.9 < box.width / box.height < 1.15  # cells are square, more or less
        for label in square.get_yticklabels():
            assert label.get_window_extent().x1 < box.x0
        for label in square.get_xticklabels():
            assert label.get_window_extent().y1 < box.y0
