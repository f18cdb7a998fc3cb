"""Files stay small enough to read at once and are named for what they hold."""

LONGEST = 320  # lines
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "misc", "common", "stuff", "tools"}


def too_long(tree):
    lengths = {name: len(path.read_text().splitlines()) for name, path in tree.modules.items()}
    return {name: length for name, length in lengths.items() if length > LONGEST}


def says_nothing(tree):
    return [name for name in tree.modules if SAYS_NOTHING & set(name.split("."))]


def no_packages(tree):
    """Folders of modules without an `__init__.py`."""
    folders = {path.parent for path in tree.modules.values()}
    return sorted(folder.name for folder in folders if not (folder / "__init__.py").is_file())


def test_files_are_short(tree):
    assert too_long(tree) == {}


def test_names_say_something(tree):
    assert says_nothing(tree) == []


def test_folders_are_packages(tree):
    assert no_packages(tree) == []


def test_violations_are_found(planted):
    tree = planted({"models/utils.py": "x = 1\n" * (LONGEST + 1), "files.py": "x = 1\n" * LONGEST})
    assert too_long(tree) == {"protemb.models.utils": LONGEST + 1}
    assert says_nothing(tree) == ["protemb.models.utils"]
    assert no_packages(tree) == ["models"]
