"""Hydra's callback at the end of a sweep; light, because Hydra loads it for every command."""

import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from protemb.errors import ProtembError


class SweepSummary(Callback):
    """When all jobs have ended, summarise their folders.

    Args:
        report: compare and explain the runs as well; the verdict comes last.
    """

    def __init__(self, report: bool = False) -> None:
        self.report = report

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the summary and print it; exit code 1 if a point failed."""
        from protemb.apps.sweep import summarise
        from protemb.apps.train import is_first_process

        if is_first_process():
            folder = Path(config.hydra.sweep.dir)
            try:
                records = summarise(folder)
            except Exception:  # Hydra would make a warning of it, and end well
                traceback.print_exc()
                sys.exit(1)
            failed = any(record["status"] != "done" for record in records)
            if self.report and any(record["status"] == "done" for record in records):
                from protemb.apps.report.write import make_report, print_report

                try:
                    print_report(*make_report([folder]))
                except Exception as error:  # Hydra would make a warning of it, and end well
                    if isinstance(error, ProtembError):
                        print(f"protemb: no report: {error}", file=sys.stderr)
                    else:
                        traceback.print_exc()
                    failed = True
            if failed:
                sys.exit(1)
