"""Choices that train.py and variants.py share: conf/shared is searched after the program's own."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SharedChoices(SearchPathPlugin):
    """Hydra finds it here and asks it whenever it has a folder to search."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add conf/shared to conf and to conf/variants."""
        for entry in list(search_path.get_path()):
            conf = Path(entry.path.removeprefix("file://").removesuffix("/variants"))
            if entry.provider == "main" and (conf / "shared").is_dir():
                search_path.append("protemb", f"file://{conf / 'shared'}")
