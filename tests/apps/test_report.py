"""The report of a small sweep: its numbers are those of the stored predictions."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import balanced_accuracy_score

from protemb import cli
from protemb.apps import runs
from protemb.apps.report.gather import gather
from protemb.apps.report.write import make_report
from protemb.errors import InputError
from protemb.sequences.demo import demo_records

SECTIONS = (
    "better-group better-random levels order table residues splits leakage amount methods runs"
).split()
OPTIONS = [
    "data.source.sequences_per_host=40",
    "data.source.seed=1",
    "trainer=cpu",
    "trainer.enable_progress_bar=false",
    "~callbacks.progress",
    "trainer.max_epochs=2",
    "task.residues=4000",
    "encoder.embed_dim=4",
    "replicates=20",
    "vectors=[]",
    "figures=false",
]
NETWORKS = {
    "mean": ["encoder=embedding", "pooling=mean"],
    "lstm": ["encoder=lstm", "pooling=last", "encoder.hidden_dim=4"],
}
QUICK = {"replicates": 200, "jobs": 1}


def train_all(composed, folder: Path, jobs: list[list[str]], *common: str) -> Path:
    from protemb.apps.train import run

    for number, options in enumerate(jobs):
        options = [*common, *options, f"paths.root={folder.parent}"]
        run(composed(*options, out_dir=folder / f"run-{number:02}"))
    return folder


@pytest.fixture(scope="module")
def sweep(composed, tmp_path_factory):
    """Two networks, two seeds, two splits; a half of the training part; shuffled sequences."""
    jobs = [
        [*network, f"split={split}", f"seed={seed}"]
        for network in NETWORKS.values()
        for split in ("group", "random")
        for seed in (0, 1)
    ]
    for network in NETWORKS.values():
        jobs += [[*network, "split=group", "train_share=0.5"], [*network, "shuffle=residues"]]
    folder = tmp_path_factory.mktemp("report") / "sweep"
    return train_all(composed, folder, jobs, *OPTIONS)


@pytest.fixture(scope="module")
def written(sweep):
    page, said = make_report([sweep], **QUICK)
    return page, said, json.loads((sweep / "report.json").read_text())


def stored(folder: Path, part: str = "test"):
    """Labels and predicted labels, by id."""
    table = pq.read_table(folder / "predictions.parquet", filters=[("part", "==", part)])
    return {
        row["id"]: (row["label"], row["predicted"])
        for row in table.select(["id", "label", "predicted"]).to_pylist()
    }


def score(folder: Path) -> float:
    return balanced_accuracy_score(*zip(*stored(folder).values(), strict=True))


def test_scores_are_the_mean_over_seeds(sweep, written):
    numbers = written[2]["comparisons"]
    for start, model in ((0, "embedding/mean"), (4, "lstm/last")):
        for offset, split in ((0, "group"), (2, "random")):
            runs = [sweep / f"run-{start + offset + seed:02}" for seed in (0, 1)]
            found = numbers[split]["scores"][model]
            assert found["value"] == pytest.approx(np.mean([score(run) for run in runs]))
            assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    for split, each in numbers.items():
        for pair in each["pairs"]:
            first, second = (each["scores"][pair[side]]["value"] for side in ("first", "second"))
            assert pair["difference"]["value"] == pytest.approx(first - second, abs=1e-12), split


def test_everything_is_there(sweep, written):
    page, said, numbers = written
    html, text = page.read_text(), (sweep / "report.md").read_text()
    assert re.findall(r'<section id="([a-z0-9-]+)"', html) == SECTIONS
    for sentence in said:
        assert sentence in text
    assert numbers["verdict"] == list(said)
    pictures = sorted((sweep / "report").glob("*.svg"))
    assert len(pictures) > 12
    for picture in pictures:
        assert picture.with_suffix(".png").exists()
        assert f"report/{picture.stem}" in text
    for run in sweep.glob("run-*"):
        assert f'href="{run.name}"' in html
    assert str(sweep.parent) not in html + text


def test_order_blind_networks_are_named(written):
    _, said, numbers = written
    (blind,) = [sentence for sentence in said if "cannot see" in sentence]
    assert blind.startswith("embedding/mean cannot see the order")
    probes = {model: each["probes"][each["own"]] for model, each in numbers["order"].items()}
    assert probes["embedding/mean"]["order_free"]
    assert not probes["lstm/last"]["order_free"]
    assert numbers["order"]["lstm/last"]["probes"]["table/mean"]["order_free"]


@pytest.fixture
def copied(sweep, tmp_path):
    """Four runs of the sweep to damage."""
    for number in (0, 1, 4, 5):
        shutil.copytree(sweep / f"run-{number:02}", tmp_path / "sweep" / f"run-{number:02}")
    return tmp_path / "sweep"


def edit(folder: Path, change) -> None:
    path = folder / "result.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_unfinished_runs_are_told(copied):
    edit(copied / "run-05", lambda record: record.update(status="failed", error="out of memory"))
    _, said = make_report([copied], **QUICK)
    assert "1 run did not finish and is not part of this." in said
    assert "run-05: failed out of memory" in (copied / "report.md").read_text()


@pytest.mark.parametrize(("share", "what"), [(0, "damaged"), (0.6, "damaged"), (None, "missing")])
def test_predictions_that_cannot_be_read_are_named(copied, capsys, share, what):
    path = copied / "run-01" / "predictions.parquet"
    whole = path.read_bytes()
    path.unlink()
    if share is not None:
        path.write_bytes(whole[: int(share * len(whole))])
    problem = f"{path}: {what}; `resume=never` computes this run again"
    with pytest.raises(InputError) as caught:
        make_report([copied], **QUICK)
    assert str(caught.value) == problem
    with pytest.raises(SystemExit, match="2"):
        cli.main(["collect", str(copied)])
    assert capsys.readouterr().err == f"protemb: {problem}\n"


def test_what_the_machine_refuses_is_not_called_damaged(tmp_path):
    def read(path):
        raise PermissionError(13, "Permission denied", str(path))

    with pytest.raises(PermissionError):
        runs.stored(tmp_path / "predictions.parquet", read)


def test_without_its_data_a_report_compares_and_says_so(copied):
    for run in copied.iterdir():
        edit(run, lambda record: record["data"].update(fingerprint="another"))
    page, said = make_report([copied], **QUICK)
    assert "The data are not those of the runs any more." in page.read_text()
    assert '<section id="order"' not in page.read_text()
    assert said[0].startswith("On split=group, ")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: r.update(status="running"), "no finished run inside"),
        (lambda r: r["config"].update(train_share=0.5), "no run on all of its training data"),
    ],
)
def test_sweeps_that_have_nothing_to_report(copied, damage, message):
    for run in copied.iterdir():
        edit(run, damage)
    with pytest.raises(InputError, match=message):
        make_report([copied], **QUICK)
    assert not (copied / "report.html").exists()


def test_runs_on_other_data_or_records_are_refused(copied, composed, tmp_path):
    def other_name(record):
        record["config"]["data"]["name"] = "other"

    edit(copied / "run-05", other_name)
    with pytest.raises(InputError, match="several data sets"):
        gather([copied])
    (copied / "run-05" / "result.json").unlink()
    table = pq.read_table(copied / "run-04" / "predictions.parquet")
    pq.write_table(table.slice(0, len(table) - 1), copied / "run-04" / "predictions.parquet")
    with pytest.raises(InputError, match="the record is missing"):
        make_report([copied], **QUICK)


def test_the_command_makes_again_what_is_damaged_alone(sweep, written, capsys):
    kept = {path: path.stat().st_mtime_ns for path in sweep.glob("*/analysis/*")}
    assert len(kept) == 2 * 5 * 2  # networks, tasks, files
    path = sweep / "run-00" / "analysis" / "table.json"
    whole = path.read_text()
    path.write_text("{")
    cli.main(["report", str(sweep), "--replicates", "200", "--jobs", "1"])
    out = capsys.readouterr().out
    assert out.startswith(f"Report: {sweep / 'report.html'}\n")
    assert " ".join(" ".join(written[1]).split()) in " ".join(out.split())
    assert json.loads(path.read_text()) == json.loads(whole)
    changed = {path for path in kept if path.stat().st_mtime_ns != kept[path]}
    assert changed == {path, path.with_suffix(".npz")}


def test_commands_that_cannot_work(sweep, capsys):
    bad = ["--replicates", "1"], ["--margin", "2"], ["--jobs", "0"]
    for arguments in (["nowhere"], *([str(sweep), *options] for options in bad)):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["report", *arguments])
        out, err = capsys.readouterr()
        assert stopped.value.code == 2
        assert "Traceback" not in err
        assert out == ""


def test_parts_have_their_own_records(composed, tmp_path, monkeypatch):
    """Folds and left-out families; the folder is given as people do, from where they stand."""
    networks = (["encoder=embedding", "pooling=mean"], ["encoder=cnn", "pooling=attention"])
    jobs = [
        [*network, "split=group", "split.folds=2", f"split.fold={fold}"]
        for network in networks
        for fold in (0, 1)
    ]
    small = [option for option in OPTIONS if not option.startswith("trainer.max")]
    train_all(composed, tmp_path / "sweep", jobs, *small, "trainer.max_epochs=1")
    monkeypatch.chdir(tmp_path)
    page, _ = make_report([Path("sweep")], **QUICK)
    assert page.exists()
    numbers = json.loads((tmp_path / "sweep" / "report.json").read_text())
    first = [stored(tmp_path / "sweep" / f"run-{number:02}") for number in (0, 1)]
    assert not first[0].keys() & first[1].keys()
    scores = numbers["comparisons"]["group"]["scores"]
    expected = np.mean([score(tmp_path / "sweep" / f"run-{number:02}") for number in (0, 1)])
    assert scores["embedding/mean"]["value"] == pytest.approx(expected)
    # The bands are of one fold: what a 3-mer count gets there, by its stored predictions.
    rows = pq.read_table(tmp_path / "sweep" / "run-00" / "baselines.parquet").to_pylist()
    rival = next(row["model"] for row in numbers["tables"]["bands-table"][::-1])
    hits = [row["label"] == row["predicted"] for row in rows if row["baseline"] == rival]
    bands = [row for row in numbers["tables"]["bands-table"] if row["model"] == rival]
    total = sum(row["accuracy"]["value"] * row["records"] for row in bands)
    assert total == pytest.approx(sum(hits))


def test_one_network_alone(composed, tmp_path):
    job = ["encoder=lstm", "pooling=max", "encoder.hidden_dim=4", "baselines=false"]
    sweep = train_all(composed, tmp_path / "sweep", [[*job, "split=group"]], *OPTIONS)
    page, said = make_report([sweep], **QUICK)
    assert '<table id="pairs-group"' not in page.read_text()
    assert "One training seed each: another seed may give another answer." in said


def test_options_tell_networks_apart(composed, tmp_path):
    """Two widths are two models; a logger or where files go is none."""
    jobs = [
        ["encoder=lstm", "pooling=mean", f"encoder.hidden_dim={width}", f"seed={seed}", *more]
        for width, seed, more in (
            (4, 0, []),
            (4, 1, ["replicates=30"]),
            (6, 0, []),
        )
    ]
    small = [option for option in OPTIONS if not option.startswith("replicates")]
    sweep = train_all(composed, tmp_path / "sweep", jobs, *small, "split=group", "baselines=false")
    models = [run.model for run in gather([sweep]).runs]
    assert models[0] == models[1] != models[2]
    assert "hidden_dim=6" in models[2]


# ---- data with a known answer ----------------------------------------------------------------


def control(composed, folder: Path, hosts: tuple[str, str]) -> dict:
    """Compare averaged table rows with an LSTM on two hosts of the demo; the numbers."""
    records = [(h, s) for h, s in demo_records(0, 300) if h.split("|")[1] in hosts]
    path = folder / "two.fasta"
    path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in records))
    options = [
        "data=fasta",
        f"data.source.path={path}",
        "data.source.id.field=1",
        "data.source.label.field=2",
        "data.source.group.field=3",
        "split=group",
        *(o for o in OPTIONS if not o.startswith(("data.", "task.", "encoder.", "trainer.max"))),
        "trainer.max_epochs=12",
        "pooling=mean",
    ]
    jobs = [[f"encoder={name}", f"seed={s}"] for name in ("embedding", "lstm") for s in range(3)]
    sweep = train_all(composed, folder / "sweep", jobs, *options)
    make_report([sweep], replicates=2000, jobs=1)
    return json.loads((sweep / "report.json").read_text())


def pairs(numbers: dict) -> dict[tuple[str, str], str]:
    found = numbers["comparisons"]["group"]["pairs"]
    return {(pair["first"], pair["second"]): pair["outcome"] for pair in found}


@pytest.mark.slow
def test_where_order_alone_decides(composed, tmp_path):
    numbers = control(composed, tmp_path, ("human", "swine"))
    scores = numbers["comparisons"]["group"]["scores"]
    assert scores["embedding/mean"]["value"] == 0.5
    assert scores["composition"]["value"] == 0.5
    assert scores["lstm/mean"]["low"] > 0.5
    assert pairs(numbers)["lstm/mean", "embedding/mean"] == "above"
    assert numbers["order"]["lstm/mean"]["drops"]["residues"]["drop"]["low"] > 0
    assert any("lstm/mean is above embedding/mean" in sentence for sentence in numbers["verdict"])


@pytest.mark.slow
def test_where_composition_alone_decides(composed, tmp_path):
    numbers = control(composed, tmp_path, ("avian", "equine"))
    assert numbers["comparisons"]["group"]["scores"]["embedding/mean"]["value"] > 0.9
    networks = {"lstm/mean", "embedding/mean"}
    (found,) = [said for pair, said in pairs(numbers).items() if set(pair) == networks]
    assert found in ("unclear", "equivalent")
