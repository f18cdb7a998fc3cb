"""The files that Bepler and Berger and ProSE published, by name: what they are, and their sizes.

A file of such a name has to be that network. And a state dict does not say how its model compares
proteins, but the name does.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from protemb.models.pretrained.inert import RefusedPickle

LM = {"embed_dim": 21, "hidden_dim": 1024, "layers": 2, "tied": True}
STACKED = {"lm": LM, "inner_dim": 512, "hidden_dim": 512, "layers": 3, "out_dim": 100}
TAIL = "L1_100d_lstm3x512_lm_i512_mb64_tau0.5"


class Published(NamedTuple):
    """A published file.

    Attributes:
        title: what it is, for people.
        options: of `PublishedRecurrent`; those left out have their default.
        method: how it compares proteins, or None.
    """

    title: str
    options: Mapping[str, Any]
    method: str | None = None


_FULL = Published("SSA with contacts (Bepler and Berger 2019)", STACKED, "ssa")
PUBLISHED = {
    "pfam_lm_lstm2x1024_tied_mb64.sav": Published(
        "bidirectional language model (Bepler and Berger 2019)", {"lm": LM}
    ),
    f"ssa_{TAIL}_lambda0.1_p0.05_epoch100.sav": _FULL,
    f"ssa_{TAIL}_lambda0.1_p0.05_epoch100_updated.state_dict": _FULL,
    f"ssa_{TAIL}_p0.05_epoch100.sav": Published(
        "SSA without contacts (Bepler and Berger 2019)", STACKED, "ssa"
    ),
    f"ua_{TAIL}_p0.05_epoch100.sav": Published(
        "uniform alignment (Bepler and Berger 2019)", STACKED, "ua"
    ),
    f"me_{TAIL}_p0.05_epoch100.sav": Published(
        "mean embedding (Bepler and Berger 2019)", STACKED, "me"
    ),
    "prose_mt_3x1024.sav": Published(
        "ProSE, multi-task (Bepler and Berger 2021)",
        {"hidden_dim": 1024, "layers": 3, "out_dim": 100, "skip": True},
        "ssa",
    ),
    "prose_dlm_3x1024.sav": Published(
        "ProSE, language model (Bepler and Berger 2021)",
        {"hidden_dim": 1024, "layers": 3, "out_dim": 21, "skip": True},
    ),
}


def known_file(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Facts that a file's name tells; none for a name that nobody published.

    >>> known_file("mine.sav", {})
    {}

    Args:
        name: of the file.
        options: of the network that was read from it.

    Raises:
        RefusedPickle: the file is not the one that its name promises.
    """
    found = PUBLISHED.get(name)
    if found is None:
        return {}
    for option, expected in found.options.items():
        if options.get(option) != expected:
            raise RefusedPickle(
                f"its name is that of {found.title}, but its {option} is {options.get(option)}, "
                f"not {expected}"
            )
    facts = {"published": found.title}
    return facts if found.method is None else {**facts, "align_method": found.method}
