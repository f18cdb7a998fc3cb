"""Dashboards are a mirror of the run folder: what they show is read from there."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from protemb.apps.config import build
from protemb.errors import ConfigError
from protemb.files import content_key
from protemb.intervals import Interval
from protemb.vectors.table import VectorTable


@contextlib.contextmanager
def open_loggers(values: Mapping[str, Any]) -> Iterator[list[Logger]]:
    """The run's loggers, closed on every path: W&B's next run would go on in one left open."""
    loggers = [build(values["logger"])] if values["logger"] else []
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


def log_config(loggers: Iterable[Logger], values: Mapping[str, Any]) -> None:
    """Send the config, without the folders of this machine.

    Raises:
        ConfigError: W&B does not let the run begin.
    """
    hidden = ("paths", "logger", "out_dir")
    shown = {name: value for name, value in values.items() if name not in hidden}
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
        "resume": "allow",
    }
    with open_loggers({"logger": {**node, **options}}) as loggers:
        log_config(loggers, {"callbacks": {}, "sweep": folder.name})
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
