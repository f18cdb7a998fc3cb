"""A saved W&B dashboard for sweeps, as code: the same panels for everyone who runs this.

    python scripts/wandb_dashboard.py --entity TEAM                     saves it to the project
    python scripts/wandb_dashboard.py --entity TEAM --sweep SWEEP       of one sweep's runs alone
    python scripts/wandb_dashboard.py --dry-run                         prints what would be saved

Needs `pip install 'protemb[dashboards]'`; saving needs a server and a login. What it shows is what
`logger=wandb` sends: the names of metrics are those of training and of the summary.
"""

import argparse
import sys
from typing import Any

# A sweep's objective, by what its task is about; panels of metrics that no run has stay empty.
OBJECTIVES = ("val/balanced_accuracy", "val/accuracy", "val/spearman", "val/macro_f1", "val/loss")
SCORES = (
    *("test/balanced_accuracy", "test/macro_f1", "test/mcc", "test/auroc"),
    *("test/accuracy", "test/spearman", "test/cross_entropy"),
)
RATES = ("train/grad_norm", "train/grad_norm_max", "residues_per_second")
STEP = "epoch"
# Places in the config.
ENCODER, POOLING = "choices.encoder", "choices.pooling"


def main(arguments: list[str] | None = None) -> None:
    """Build it; save it, or print its JSON."""
    options = parser().parse_args(arguments)
    try:
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError:
        fail("a dashboard needs wandb-workspaces: pip install 'protemb[dashboards]'")
    dashboard = build(options.entity, options.project, options.name, options.sweep)
    if options.dry_run:
        print(dashboard._to_model().model_dump_json(by_alias=True, indent=2))
        return
    if not options.entity:
        fail("--entity: got nothing, expected the user or team that the project belongs to")
    try:
        dashboard.save()
    except Exception as error:  # wandb's own: no login, no server, no right
        lines = str(error).strip().splitlines() or [type(error).__name__]
        fail(f"W&B did not save the dashboard: {lines[0]}")
    print(dashboard.url)


def fail(problem: str) -> None:
    """One line, exit code 2."""
    print(f"protemb: {problem}", file=sys.stderr)
    raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(description="Save a W&B dashboard for protemb's runs.")
    top.add_argument("--entity", default="", help="user or team")
    top.add_argument("--project", default="protemb", help="as logger.project (default: protemb)")
    top.add_argument("--name", default="protemb sweeps")
    top.add_argument("--sweep", help="a sweep's folder name: its runs alone")
    top.add_argument("--dry-run", action="store_true", help="print the JSON, save nothing")
    return top


def build(entity: str, project: str, name: str, sweep: str | None = None) -> Any:
    """The workspace; nothing is sent.

    Args:
        entity: user or team.
        project: of the runs.
        name: that people see.
        sweep: group of the runs to show (the sweep's folder name); None for all.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import And, Metric

    filters = And(Metric("Group") == sweep) if sweep else And()
    return ws.Workspace(
        entity=entity or "nobody",
        project=project,
        name=name,
        sections=[training(), scores(), choices(), speed(), reports()],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=100),
        runset_settings=ws.RunsetSettings(filters=filters),
    )


def training() -> Any:
    """Objectives and losses by epoch."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    curves = [wr.LinePlot(title=name, x=STEP, y=[name]) for name in OBJECTIVES]
    curves.append(wr.LinePlot(title="train/loss", x=STEP, y=["train/loss"]))
    return ws.Section(name="Training", panels=curves, is_open=True)


def scores() -> Any:
    """Test scores, averaged over the runs of an encoder, and of a pooling."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    bars = [
        wr.BarPlot(title=f"{metric} by {word}", metrics=[metric], groupby=wr.Config(key))
        for metric in SCORES
        for word, key in (("encoder", ENCODER), ("pooling", POOLING))
    ]
    return ws.Section(name="Test scores by encoder and pooling", panels=bars, is_open=True)


def choices() -> Any:
    """One line per run, through what was chosen to what came out."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    chosen = {
        "encoder": ENCODER,
        "pooling": POOLING,
        "learning rate": "optimizer.lr",
        "seed": "seed",
    }
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key), display_name=name)
        for name, key in chosen.items()
    ]
    columns += [
        wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(name), display_name=name)
        for name in (OBJECTIVES[0], SCORES[0])
    ]
    plot = wr.ParallelCoordinatesPlot(title="choices and scores", columns=columns)
    return ws.Section(name="Choices", panels=[plot], is_open=True)


def speed() -> Any:
    """Size of gradients, residues per second."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    curves = [wr.LinePlot(title=name, x=STEP, y=[name]) for name in RATES]
    return ws.Section(name="Gradients and speed", panels=curves)


def reports() -> Any:
    """The table of a sweep's report, and of a grid."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    return ws.Section(name="Reports", panels=[wr.WeavePanelSummaryTable(table_name="scores")])


if __name__ == "__main__":
    main()
