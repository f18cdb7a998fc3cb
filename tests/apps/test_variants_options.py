"""variants.py with what cannot work, as a process, killed, in sweeps, and on own tables."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from started import Started

from protemb.apps.variants.config import register_schema
from protemb.variants.demo import DemoTable

ROOT = Path(__file__).parents[2]
slow = pytest.mark.slow
HOSTILE = "\"'><script>window.canary=1</script><img src=x onerror=window.canary=1>$_{"

TINY = ["~encoders.physchem", "pooling=position", "features=difference"]


def result(folder):
    return json.loads((folder / "result.json").read_text())


def predictions(folder):
    return pq.read_table(folder / "predictions.parquet").to_pydict()


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def demo_rows(proteins=8, mutations=12):
    """The simulated table as a user's file would have it."""
    table = DemoTable(proteins=proteins, mutations=mutations).load()
    return [
        {
            "protein": str(table.proteins_N[row]),
            "mutation": str(table.mutations[row]),
            "value": repr(float(table.values_N[row])),
            "sequence": table.wild_type(row),
            "struc": str(table.covariates["struc"][row]),
        }
        for row in range(len(table))
    ]


# What cannot work: said before anything is computed


@pytest.fixture
def refused(grid_config, run_grid, tmp_path, monkeypatch, capsys):
    """Run a job; check that it gives one line and exit code 2, and return the line."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from protemb.apps.variants.run import main

    monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(mode=RunMode.RUN))

    def start(*options):
        with pytest.raises(SystemExit) as stopped:
            main(grid_config(tmp_path, *options))
        out, err = capsys.readouterr()
        assert stopped.value.code == 2 and err.count("\n") == 1 and err.startswith("protemb: ")
        return err.removeprefix("protemb: ").rstrip("\n"), out

    return start


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (
            "pooling=middle",
            "pooling: got 'middle', expected one of mean, max, last, ends, position",
        ),
        ("pooling=[]", "pooling: got [], expected a word or a list of words"),
        ('pooling="window(x)"', "pooling: got 'window(x)', expected one of"),
        ("features=sum", "features: got 'sum', expected one of wild_type, variant, concatenated"),
        ("features=7", "features: got 7, expected a word or a list of words"),
        ("regressor=forest", "regressor: got 'forest', expected one of mlp50, ridge"),
        ("regressor=logistic", "regressor: got 'logistic', expected one of mlp50, ridge"),
        ("encoders.random.levels=[hidden]", "level: got 'hidden', expected one of table, states"),
        ("level=7", "level: got 7, expected a word"),
        (
            "folds.count=9",
            "folds.count: got 9, expected at most 8, as there are 8 distinct protein",
        ),
        ("folds.count=1", "folds.count: got 1, expected a whole number from 2 on"),
        ("folds.kind=family", "folds.kind: got 'family', expected one of protein, cluster, group"),
        ("+folds.seed=1", "folds.seed: got 1, expected no such option"),
        ("nested=2", "nested: got 2, expected a whole number from 3 on"),
        ("nested=9", "at most 8, as there are 8 distinct proteins"),
        ("seeds=[]", "seeds: got [], expected whole numbers from 0 on"),
        ("seeds=[1,1]", "seeds: got [1, 1], expected whole numbers from 0 on, each once"),
        ("seeds=[-1]", "seeds: got [-1], expected whole numbers from 0 on"),
        ("replicates=1", "replicates: got 1, expected a whole number from 2 on"),
        ("workers=0", "workers: got 0, expected a whole number from 1 on"),
        ("residues=0", "residues: got 0, expected a whole number from 1 on"),
        ("device=gpu", "gpu"),
        ("resume=maybe", "resume: got 'maybe', expected one of auto, never"),
        ("~encoders.random ~encoders.physchem", "encoders: got {}, expected encoders by name"),
        ("+encoders.random.weight=x", "encoders.random.weight: got 'x', expected no such option"),
        ("+encoders.random.control=onehot", "encoders.random: got ['control', 'network']"),
        ("encoders.physchem.control=volume", "encoder.kind: got 'volume', expected one of"),
        ("+encoders.random.network.hidden=3", "encoders.random.network.hidden: got 3"),
        ("encoders.random.network._target_=os.system", "os.system"),
        ("+table.source.colour=red", "table.source.colour: got 'red', expected no such option"),
        ("table.source.mutations=0", "table.mutations: got 0, expected a number from 1"),
        ("+table.sauce=1", "table.sauce: got 1, expected no such option"),
        ("encoders=one", "encoders.model.weights: got '???', expected a value"),
        ("encoders=one encoders.model.weights=models/none", "models/none"),
        (
            "encoders=one encoders.model.weights=7",
            "encoders.model.weights: got 7, expected a conve",
        ),
        ("table=csv", "table.source.path: got '???', expected a value"),
        ("table=csv table.source.path=none.csv", "none.csv"),
        ("table=fireprotdb", "(`protemb fetch fireprotdb` makes it)"),
        ("table=s2648", "PoPMuSiC-S2648.tsv of github.com/ivankovlab/proddg"),
    ],
)
def test_one_line(refused, tmp_path, option, line):
    said, _ = refused(*option.split())
    assert line in said
    # Nothing was computed; a folder that was begun says why there is nothing in it.
    assert not (tmp_path / "cache").exists()
    begun = list((tmp_path / "runs").rglob("[!.]*.*"))
    if begun:
        (path,) = begun
        assert path.name == "result.json" and said in json.loads(path.read_text())["error"]


@pytest.mark.parametrize(
    ("change", "options", "line"),
    [
        ({}, "table.source.value=ddG", "no column 'ddG'"),
        ({}, "table.source.covariates=[site]", "site"),
        ({}, "table.source.label=struc", "a value column or a label column, one of them"),
        ({"value": "much"}, "", "own.csv:3: "),
        ({"value": "nan"}, "", "own.csv:3: "),
        ({"value": ""}, "", "own.csv:3: "),
        ({"mutation": "A999G"}, "", "own.csv:3: record 'demo01 A999G': position 999 is outside"),
        ({"mutation": "A1B"}, "", "own.csv:3: "),
        ({"sequence": "MK1"}, "", "own.csv:3: "),
        ({"protein": ""}, "", "own.csv:3: "),
    ],
)
def test_one_line_for_a_table(refused, tmp_path, change, options, line):
    rows = demo_rows(4, 6)
    rows[1] |= change
    path = write_csv(tmp_path / "own.csv", rows)
    said, _ = refused("table=csv", f"table.source.path={path}", *options.split())
    assert line in said and ("own.csv" in said or "table" in said)
    assert not (tmp_path / "runs").exists()


def test_an_unknown_key_is_hydras_own_error(grid_config, tmp_path):
    from hydra.errors import ConfigCompositionException

    with pytest.raises(ConfigCompositionException, match="regresor"):
        grid_config(tmp_path, "regresor=ridge")


def test_values_that_are_all_the_same_are_refused(refused, tmp_path):
    path = write_csv(tmp_path / "own.csv", [row | {"value": "1.5"} for row in demo_rows(4, 6)])
    said, _ = refused("table=csv", f"table.source.path={path}")
    assert said == "table: got 'csv', expected values that are not all the same"


# Tables of one's own


def test_a_file_gives_the_numbers_of_the_table_that_it_holds(run_grid, tmp_path):
    path = write_csv(tmp_path / "own.csv", demo_rows())
    source = [f"table.source.path={path}", "table.source.covariates=[struc]"]
    own = run_grid(tmp_path, "table=csv", *source, *TINY, name="own")
    demo = run_grid(tmp_path, *TINY, name="demo")
    assert predictions(own) == predictions(demo)
    assert result(own)["scores"] == result(demo)["scores"]
    reading = result(own)["data"]["reading"]
    assert reading["rows_read"] == 144 and reading["files"] == [path]


def test_groups_weights_and_what_is_left_out(run_grid, tmp_path, capsys):
    rows = [
        row | {"family": f"f{int(row['protein'][-1]) // 2}", "w": str(1 + n % 2)}
        for n, row in enumerate(demo_rows())
    ]
    rows[3]["value"] = ""
    path = write_csv(tmp_path / "own.csv", rows)
    options = ["table=csv", f"table.source.path={path}", "table.source.group=family"]
    options += ["table.source.weight=w", "table.source.missing=drop", "folds.kind=group"]
    folder = run_grid(tmp_path, *options, "folds.count=3", "nested=null", *TINY)
    record = result(folder)
    assert record["data"]["rows"] == 143 and record["units"] == {"count": 5}
    assert record["folds"]["kind"] == "group" and record["folds"]["groups"] == 5
    assert "144 rows read, 143 kept" in capsys.readouterr().out
    found = predictions(folder)
    value, baseline = np.array(found["value"]), np.array(found["baseline"])
    weights = np.array([float(row["w"]) for row in rows if row["value"]])
    covariance = np.cov(value, baseline, aweights=weights)
    r = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert record["scores"]["baseline"]["pearson"]["value"] == pytest.approx(r)


def test_the_page_opens_and_names_are_never_markup(run_grid, browser, tmp_path):
    rows = [
        row | {"protein": row["protein"].replace("demo", HOSTILE), "struc": HOSTILE}
        for row in demo_rows()
    ]
    path = write_csv(tmp_path / "own.csv", rows)
    source = [f"table.source.path={path}", "table.source.covariates=[struc]"]
    options = ["table=csv", *source, "~encoders.physchem", "features=difference"]
    folder = run_grid(tmp_path, *options, "pooling=[mean,position,max]")
    trouble, file = [], folder / "report.html"
    page = browser.new_page()
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request",
        lambda r: (
            r.url[:5] in ("data:", "blob:") or r.url == file.as_uri() or trouble.append(r.url)
        ),
    )
    page.goto(file.as_uri())
    assert page.locator("nav a").count() >= 6
    shown = page.locator("#within-proteins tbody th").all_text_contents()
    assert sorted(shown) == sorted({row["protein"] for row in rows})
    page.locator("#all-cells thead button").nth(2).click()
    assert page.evaluate("window.canary") is None and page.locator("img[src=x]").count() == 0
    page.close()
    assert trouble == []


# As a process


def start(root, *options):
    return Started("variants.py", *options, f"paths.root={root}")


def finish(process):
    """Exit code, stdout and stderr of a process that ends by itself."""
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def kept(root):
    """What the cache holds, with the time of writing."""
    return {path: path.stat().st_mtime_ns for path in root.glob("cache/variants/predictions/[!.]*")}


def when_kept(root, count, process):
    """Wait until the predictions of so many cells are there."""
    deadline = time.monotonic() + 240
    while len(kept(root)) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)


@slow
def test_a_grid_that_is_stopped_twice_ends_as_if_it_had_not_been(run_grid, grid_options, tmp_path):
    # A forest takes some tenths of a second a cell: long enough to be hit by a signal.
    options = ["~encoders.physchem", "regressor=random_forest", "nested=null"]
    command, stopped = grid_options(*options), tmp_path / "stopped"
    process = start(stopped, *command)
    when_kept(stopped, 1, process)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130 and "Interrupted. The same command continues this grid.\n" in err
    (folder,) = stopped.glob("runs/variants/demo/*")
    assert result(folder)["status"] == "interrupted"
    first = kept(stopped)

    process = start(stopped, *command)
    when_kept(stopped, len(first) + 1, process)
    process.kill()
    process.communicate()
    assert result(folder)["status"] == "running"
    assert not (folder / "predictions.parquet").exists()
    second = kept(stopped)
    assert first.items() < second.items() and len(second) < 6

    code, out, err = finish(start(stopped, *command))
    assert code == 0, err
    assert f"Results: {folder}" in out and result(folder)["status"] == "done"
    assert second.items() < kept(stopped).items() and len(kept(stopped)) == 6
    straight = run_grid(tmp_path / "straight", *options)
    assert predictions(folder) == predictions(straight)
    for name in ("scores", "contrasts", "antisymmetry", "leak", "verdict", "objective"):
        assert result(folder)[name] == result(straight)[name]
    assert not list(folder.rglob(".part-*"))


@slow
def test_a_sweep_goes_past_a_failing_point(grid_options, tmp_path):
    command = ["-m", *grid_options(*TINY, "regressor=forest,ridge", "nested=null")]
    for again in (False, True):
        _, out, err = finish(start(tmp_path, *command))
        assert err.count("protemb: regressor: got 'forest', expected one of mlp50") == 1
        assert out.count("Results: ") == (not again) and out.count("Done already") == again
        (sweep,) = tmp_path.glob("runs/variants/demo/*")
        records = [result(folder) for folder in sweep.iterdir() if folder.is_dir()]
        assert sorted(record["status"] for record in records) == ["done", "failed"]


@slow
@pytest.mark.parametrize("option", ["regresor=ridge", "nested=2"])
def test_exit_codes(tmp_path, option):
    code, out, err = finish(start(tmp_path, option))
    assert code == (1 if option.startswith("regresor") else 2) and "Results" not in out
    if code == 2:
        assert err.count("\n") == 1
    else:
        assert "Key 'regresor' not in 'VariantsConfig'" in err
    assert {result(path.parent)["status"] for path in tmp_path.rglob("result.json")} <= {"failed"}


@slow
@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_help_answers_without_torch(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['variants.py', *{arguments!r}]\n"
        "try:\n"
        "    runpy.run_path('variants.py', run_name='__main__')\n"
        "except SystemExit as stopped:\n"
        "    assert not stopped.code, stopped.code\n"
        "heavy = {'torch', 'sklearn', 'numpy', 'scipy', 'pyarrow', 'matplotlib'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "heavy: []\n"
    assert "pooling" in done.stdout and "regressor" in done.stdout


def test_the_schema_names_every_key_of_the_config(grid_config, tmp_path):
    from dataclasses import fields

    from protemb.apps.variants.config import VariantsConfig

    register_schema()
    assert set(grid_config(tmp_path)) == {field.name for field in fields(VariantsConfig)}
