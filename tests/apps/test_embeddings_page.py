"""docs/embeddings.md is run as it stands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
from matplotlib import image

from protemb import cli

PAGE = Path(__file__).parents[2] / "docs" / "embeddings.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTION_LINES = 30
RESULTS = {"vectors.h5ad", "mapped.h5ad", "map.png", "library.h5", "hits.tsv"}


def sections():
    """Blocks of each section, as (language, text)."""
    return [BLOCK.findall(section) for section in PAGE.read_text().split("\n## ")]


def test_each_way_is_short():
    for blocks in sections():
        assert sum(len(code.splitlines()) for _, code in blocks) < SECTION_LINES


@pytest.mark.slow
def test_the_page_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROTEMB_HOME", raising=False)
    said = []
    for blocks in sections():
        for language, code in blocks:
            if language == "python":
                done = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
                said.append(done.stdout)
                continue
            for line in code.splitlines():
                words = shlex.split(line)
                assert words[0] in ("pip", "protemb")
                if words[0] == "protemb":
                    cli.main(words[1:])
    assert RESULTS <= {path.name for path in tmp_path.iterdir()}

    mapped = anndata.read_h5ad("mapped.h5ad")
    assert mapped.obsm["X_tsne"].shape == (1200, 2) and mapped.obs["label"].nunique() == 4
    assert mapped.uns["protemb"]["level"] == "average"
    assert np.unique(image.imread("map.png").reshape(-1, 4), axis=0).shape[0] > 4
    assert 0.25 < float(said[1]) <= 1
    assert said[2].split() == ["[0", "1", "2", "3", "4]"]
    rows = [line.split("\t") for line in Path("hits.tsv").read_text().splitlines()]
    assert rows[0][:4] == ["query", "rank", "id", "score"] and len(rows) == 1 + 3 * 1200
    assert all(row[0] != row[2] for row in rows)
