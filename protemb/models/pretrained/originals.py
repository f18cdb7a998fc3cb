"""From the tensors of an original file to the network that they belong to.

Sizes are taken from the tensors' shapes; attributes in the file are hints at most.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from protemb.models.pretrained.filling import fill
from protemb.models.pretrained.pickles import RefusedPickle
from protemb.models.pretrained.recurrent import LETTERS, PublishedRecurrent

Arrays = Mapping[str, np.ndarray]
HEADS = ("scop_predict.", "cmap_predict.", "theta", "beta", "gap")


def recurrent_options(tensors: Arrays) -> dict[str, Any]:
    """Options of `PublishedRecurrent` for the tensors of an embedding (names without a prefix)."""
    options: dict[str, Any] = {}
    lm_prefix = next((prefix for prefix in ("embed.lm.", "") if _has_words(tensors, prefix)), None)
    if lm_prefix is not None:
        tied = f"{lm_prefix}rnn.0.weight_hh_l0" in tensors
        stack = f"{lm_prefix}{'rnn' if tied else 'lrnn'}."
        options["lm"] = {
            "embed_dim": tensors[f"{lm_prefix}embed.weight"].shape[1],
            "hidden_dim": tensors[f"{stack}0.weight_hh_l0"].shape[1],
            "layers": _count(tensors, rf"{re.escape(stack)}(\d+)\.weight_hh_l0"),
            "tied": tied,
        }
        if not lm_prefix:
            return options
    table = next((n for n in ("embed.embed.weight", "embed.weight") if n in tensors), None)
    if table is not None:
        options["inner_dim"] = tensors[table].shape[1]
    for pattern, place in (
        (r"rnn\.weight_hh_l(\d+)", "rnn.weight_hh_l0"),
        (r"layers\.(\d+)\.weight_hh_l0", "layers.0.weight_hh_l0"),
    ):
        if place in tensors:
            options["layers"] = _count(tensors, pattern)
            options["hidden_dim"] = tensors[place].shape[1]
    options["out_dim"] = len(tensors["proj.weight"])
    options["skip"] = "layers.0.weight_hh_l0" in tensors
    return options


def _has_words(tensors: Arrays, prefix: str) -> bool:
    """A language model's table has one row more than a table of residues: that of the stop."""
    words_VD = tensors.get(f"{prefix}embed.weight")
    return words_VD is not None and len(words_VD) == LETTERS + 1


def _count(tensors: Arrays, pattern: str) -> int:
    found = sorted(int(m[1]) for name in tensors if (m := re.fullmatch(pattern, name)))
    if found != list(range(len(found))):
        raise RefusedPickle(f"layers {found} do not follow one another")
    return len(found)


def renamed(tensors: Arrays) -> dict[str, np.ndarray]:
    """Names as in `PublishedRecurrent`; those of heads are left out."""
    found, alone = {}, _has_words(tensors, "")
    for name, array in tensors.items():
        if name.startswith("embed.lm.") or alone:
            name = "lm." + name.removeprefix("embed.lm.")
        elif name.startswith("embed.proj."):
            name = "mix." + name.removeprefix("embed.proj.")
        elif name == "embed.embed.weight":
            name = "embed.weight"
        elif name.startswith("proj."):
            name = "project." + name.removeprefix("proj.")
        elif match := re.fullmatch(r"rnn\.(\w+)_l(\d+)(_reverse)?", name):
            name = f"layers.{match[2]}.{match[1]}_l0{match[3] or ''}"
        found[name] = array
    return found


def recurrent_network(tensors: Arrays) -> PublishedRecurrent:
    """Build the network of an original file and give it the file's numbers.

    Raises:
        RefusedPickle: tensors are missing, of other shapes, not finite, or belong to nothing known.
    """
    if any(name.startswith("embedding.") for name in tensors):
        tensors = {
            n.removeprefix("embedding."): a
            for n, a in tensors.items()
            if n.startswith("embedding.") and not n.startswith("embedding.cloze.")
        }
    else:
        tensors = {n: a for n, a in tensors.items() if not n.startswith(HEADS)}
    try:
        network = PublishedRecurrent(**recurrent_options(tensors))
    except (KeyError, IndexError, ValueError) as error:
        raise RefusedPickle(f"its tensors are those of no known network ({error})") from None
    fill(network, renamed(tensors))
    return network
