"""Dashboards are a mirror of the run folder: what they show is read from there."""

from collections.abc import Iterable
from pathlib import Path

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from protemb.apps.results import Outcome
from protemb.vectors.table import VectorTable


def mirror_results(loggers: Iterable[Logger], outcome: Outcome, folder: Path) -> None:
    """Send final scores, figures and vectors to the loggers that can show them."""
    scores = {
        f"test/{metric}/{end}".removesuffix("/value"): number
        for metric, interval in outcome.scores[outcome.label].items()
        for end, number in interval.as_dict().items()
        if number is not None
    }
    pictures = sorted((folder / "figures").glob("*.png"))
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(scores)
            for picture in pictures:
                logger.log_image(picture.stem, [str(picture)])
            for path in sorted((folder / "vectors").glob("*.h5")):
                table = VectorTable.read(path)
                columns, rows = _projector_rows(table)
                logger.log_table(f"vectors/{path.stem}", columns=columns, data=rows)
        else:
            logger.log_metrics(scores)
        if isinstance(logger, TensorBoardLogger):
            _show_pictures(logger, pictures)


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


def finish_logger(logger: Logger) -> None:
    """Close a dashboard's run; without this the next run of a sweep would write into it."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
