"""Dashboards are a mirror of the run folder: what they show is read from there."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from protemb.apps.config import build
from protemb.errors import ConfigError
from protemb.files import content_key
from protemb.intervals import Interval
from protemb.training.history import History
from protemb.vectors.table import VectorTable


@contextlib.contextmanager
def open_loggers(
    values: Mapping[str, Any], identity: Mapping[str, object] | None = None
) -> Iterator[list[Logger]]:
    """The run's loggers, closed on every path: W&B's next run would go on in one left open.

    Args:
        values: config; nothing is logged where it has no logger.
        identity: what makes it this run and no other: whoever comes with the same goes on in the
            same W&B run.
    """
    loggers = [_open(values["logger"], identity)] if values["logger"] else []
    failed = True
    try:
        yield loggers
        failed = False
    finally:
        for logger in loggers:
            # Lightning did so when training ended; the results came later.
            logger.finalize("failed" if failed else "success")
            # Not by its version: a run with an id of its own has one before it begins.
            if isinstance(logger, WandbLogger) and logger._experiment is not None:
                logger.experiment.finish(exit_code=int(failed))


def _open(node: Mapping[str, Any], identity: Mapping[str, object] | None) -> Logger:
    if not str(node["_target_"]).endswith(".WandbLogger"):
        return build(node)
    if identity is not None and node.get("id") is None:
        node = {**node, "id": content_key(identity)}
    logger = build({**node, "log_model": False})
    # Lightning refuses to do so offline; wandb keeps the files' places and sends them later.
    logger._log_model = node.get("log_model", False)
    return logger


class EpochMirror(pl.Callback):
    """Sends W&B what Lightning does not: residues per second, and epochs that a kill has cost.

    wandb writes its file in blocks, and what is not written yet goes with the process; so a run
    that continues sends the epochs before it again, unless the server says that it has them. An
    epoch that is there twice is one point of each curve: its numbers and its step are the same.

    Args:
        loggers: of the run.
        history: the callback that keeps the epochs.
    """

    def __init__(self, loggers: Iterable[Logger], history: History) -> None:
        self.loggers = [logger for logger in loggers if isinstance(logger, WandbLogger)]
        self.history = history

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Send the epochs that the checkpoint knows and W&B does not."""
        for logger in self.loggers:
            known = logger.experiment.summary.get("epoch", -1)
            for row, steps in zip(self.history.rows, self.history.steps, strict=True):
                if row["epoch"] - 1 > known:
                    # Lightning counts epochs from 0, and the step is that of the last batch.
                    logger.log_metrics({**row, "epoch": row["epoch"] - 1}, steps - 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Send the rate."""
        name = "residues_per_second"
        for logger in self.loggers:
            row = {name: self.history.rate(), "epoch": trainer.current_epoch}
            logger.log_metrics(row, trainer.global_step - 1)


def log_config(loggers: Iterable[Logger], values: Mapping[str, Any]) -> None:
    """Send the config, without the folders of this machine.

    Raises:
        ConfigError: W&B does not let the run begin.
    """
    hidden = ("paths", "logger", "out_dir")
    shown = {name: value for name, value in values.items() if name not in hidden}
    if "callbacks" in values:
        shown["callbacks"] = {
            name: {option: value for option, value in node.items() if option != "dirpath"}
            for name, node in values["callbacks"].items()
        }
    for logger in loggers:
        try:
            logger.log_hyperparams(shown)
        except Exception as error:
            if not type(error).__module__.startswith("wandb."):
                raise
            expected = f"a W&B that answers ({error}), or logger.offline=true"
            raise ConfigError("logger", "wandb", expected) from error


def mirror_results(loggers: Iterable[Logger], scores: Mapping[str, Interval], folder: Path) -> None:
    """Send final scores, figures and vectors to the loggers that can show them."""
    numbers = {
        f"test/{metric}/{end}".removesuffix("/value"): number
        for metric, interval in scores.items()
        for end, number in interval.as_dict().items()
        if number is not None
    }
    pictures = sorted((folder / "figures").glob("*.png"))
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(numbers)
            for picture in pictures:
                logger.log_image(picture.stem, [str(picture)])
            for path in sorted((folder / "vectors").glob("*.h5")):
                table = VectorTable.read(path)
                columns, rows = _projector_rows(table)
                logger.log_table(f"vectors/{path.stem}", columns=columns, data=rows)
        else:
            logger.log_metrics(numbers)
        if isinstance(logger, TensorBoardLogger):
            _show_pictures(logger, pictures)


def mirror_report(
    values: Mapping[str, Any],
    folder: Path,
    said: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
) -> None:
    """Send a sweep's verdict, score table and figures to one W&B run of its own.

    The run is named after the sweep's folder, so that a second report goes on in it.

    Args:
        values: config of one of the sweep's runs; without W&B in it nothing is sent.
        folder: the sweep's; the figures are the PNG files in its `report`.
        said: sentences of the verdict.
        columns: of the score table.
        rows: of the score table.
    """
    node = values["logger"]
    if not node or not str(node["_target_"]).endswith(".WandbLogger"):
        return
    # The config may be a stranger's: where W&B is stays this machine's word.
    settings = {name: x for name, x in (node.get("settings") or {}).items() if name != "base_url"}
    options = {
        "settings": settings,
        "save_dir": str(folder),
        "name": f"{values['data']['name']}/{folder.name}",
        "id": "report-" + content_key({"sweep": folder.name})[:16],
        "group": folder.name,
        "job_type": "report",
        "log_model": False,
    }
    with open_loggers({"logger": {**node, **options}}) as loggers:
        log_config(loggers, {"callbacks": {}, "sweep": folder.name})
        _show_report(loggers, folder, said, columns, rows)


def mirror_grid(loggers: Iterable[Logger], folder: Path, said: Sequence[str]) -> None:
    """Send a grid's verdict, the scores of its cells and its figures to W&B.

    Args:
        loggers: of the grid's run.
        folder: the grid's, with cells.parquet and its report.
        said: sentences of the verdict.
    """
    loggers = list(loggers)
    if loggers:
        cells = pq.read_table(folder / "cells.parquet")
        rows = [list(row.values()) for row in cells.to_pylist()]
        _show_report(loggers, folder, said, cells.column_names, rows)


def _show_report(
    loggers: Iterable[Logger],
    folder: Path,
    said: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
) -> None:
    for logger in loggers:
        assert isinstance(logger, WandbLogger)
        logger.experiment.summary.update({"verdict": "\n".join(said)})
        logger.log_table("scores", columns=list(columns), data=[list(row) for row in rows])
        for picture in sorted((folder / "report").glob("*.png")):
            logger.log_image(f"report/{picture.stem}", [str(picture)])


def _projector_rows(table: VectorTable) -> tuple[list[str], list[list[object]]]:
    """Columns and rows in the form that the 2D projector panel takes: one column per feature."""
    columns = ["id", "label", *(f"d{i}" for i in range(table.vectors_ND.shape[1]))]
    labels = table.labels if table.labels is not None else [""] * len(table)
    rows = [
        [record, str(label), *vector_D.tolist()]
        for record, label, vector_D in zip(table.ids, labels, table.vectors_ND, strict=True)
    ]
    return columns, rows


def _show_pictures(logger: TensorBoardLogger, pictures: Iterable[Path]) -> None:
    from matplotlib.image import imread

    for picture in pictures:
        logger.experiment.add_image(picture.stem, imread(picture), dataformats="HWC")
