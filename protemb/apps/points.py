"""The points of a sweep are known before its first one runs: SWEEP/points.json.

Without it, a point that never began would be no point at all.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from protemb.claims import claim
from protemb.files import read_json, write_json

POINTS = "points.json"
BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def expand(config: DictConfig) -> dict[str, list[str]]:
    """Overrides of every point of a multirun by its folder's name, as Hydra will run them.

    Empty where only the sweeper will know them, because it chooses one after the other, and where
    the command cannot be understood: Hydra says so itself.

    Args:
        config: Hydra's own of the multirun, before its first job.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    sweeper = config.hydra.sweeper
    if sweeper.get("_target_") != BASIC:
        return {}
    params = [f"{name}={value}" for name, value in (sweeper.get("params") or {}).items()]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    try:
        overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
        (points,) = BasicSweeper.split_arguments(overrides, None)
    except HydraException:
        return {}
    return dict(zip(_names(config, points), points, strict=False))


def _names(config: DictConfig, points: list[list[str]]) -> list[str]:
    config = copy.deepcopy(config)
    names = []
    # Hydra 1.4 closes `hydra` by itself.
    with read_write(config.hydra), open_dict(config.hydra):
        for number, point in enumerate(points):
            config.hydra.overrides.task = point
            config.hydra.job.num = number
            names.append(str(OmegaConf.select(config, "hydra.sweep.subdir")))
    return names


def add_points(sweep: Path, points: Mapping[str, list[str]]) -> None:
    """Write the points beside those that an earlier command left in the same folder."""
    if points and not points.items() <= read_points(sweep).items():
        with claim(sweep / ".points.lock", wait=True):
            rows = [
                {"folder": name, "overrides": overrides}
                for name, overrides in (read_points(sweep) | dict(points)).items()
            ]
            write_json(sweep / POINTS, {"points": rows})


def read_points(sweep: Path) -> dict[str, list[str]]:
    """The points of a sweep, in the order of its command; empty where no command left them."""
    try:
        rows = read_json(sweep / POINTS)["points"]
        found = {str(row["folder"]): list(row["overrides"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    # Names from a file: of folders in this one, and of nothing else.
    return {
        name: point
        for name, point in found.items()
        if Path(name).name == name and name not in ("", "..")
    }
