"""Files that were cut short or changed on disk: noticed, said, and never part of a result."""

import functools
import re
import shutil

import pytest
from kills import run_facts, write_proteins
from started import Started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("damage")]

SMALL = [
    *("trainer=cpu", "trainer.enable_progress_bar=false", "trainer.max_epochs=2"),
    *("encoder.embed_dim=4", "encoder.hidden_dim=8", "replicates=20", "figures=false"),
]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Train on a file of proteins, whose content is kept in the cache."""
    path = tmp_path_factory.mktemp("data") / "hosts.fasta"
    text = write_proteins(path, number=120, longest=60).read_text()
    path.write_text(re.sub(r">P(\d*)(\d)\n", r">P\1\2 host=\2\n", text))
    data = ["data=fasta", f"data.source.path={path}", "data.source.label.key=host"]
    return functools.partial(_train, [*SMALL, *data, "split=cluster", "split.identity=0.9"])


def _train(always, root, *options):
    process = Started("train.py", *always, *options, f"paths.root={root}")
    out, err = process.communicate(120)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture(scope="module")
def made(train, tmp_path_factory):
    """A root folder with a finished run and its caches; another run of the same data elsewhere."""
    root = tmp_path_factory.mktemp("made")
    assert train(root)[0] == 0
    other = tmp_path_factory.mktemp("other")
    assert train(other, "seed=1")[0] == 0
    (folder,) = (path.parent for path in other.glob("runs/**/result.json"))
    return root, folder


def cut(path, share):
    """Keep only the beginning of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


@pytest.mark.parametrize("share", [0, 0.6])
def test_what_the_cache_holds(train, made, tmp_path, share):
    """The next run finds every file of the cache damaged, one after the other."""
    source, other = made
    expected = run_facts(other)
    names = [
        path.relative_to(source)
        for path in sorted(source.glob("cache/**/*"))
        if path.is_file() and path.suffix != ".lock" and path.stat().st_size > 0
    ]
    assert {"datasets", "clusters", "baselines"} <= {name.parts[1] for name in names}
    for number, name in enumerate(names):
        root = tmp_path / str(number)
        shutil.copytree(source, root)
        cut(root / name, share)
        code, _, err = train(root, "seed=1")
        assert code == 0, (name, err)
        assert run_facts(root / other.relative_to(other.parents[2])) == expected, name


@pytest.mark.parametrize("share", [0, 0.6])
@pytest.mark.parametrize("name", ["checkpoints/last.ckpt", "checkpoints/best.ckpt", "result.json"])
def test_what_a_run_holds(train, made, tmp_path, name, share):
    """A stopped run whose checkpoint is damaged does not go on from it."""
    source, _ = made
    shutil.copytree(source, tmp_path / "root")
    (folder,) = (path.parent for path in (tmp_path / "root").glob("runs/**/result.json"))
    before = run_facts(folder)
    if name != "result.json":
        record = folder / "result.json"
        record.write_text(record.read_text().replace('"status": "done"', '"status": "running"'))
    cut(folder / name, share)
    code, out, err = train(tmp_path / "root")
    assert code == 0, err
    assert run_facts(folder) == before
