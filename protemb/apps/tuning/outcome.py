"""What came out of studies, in words and in the sweep's best.json; light, for every sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb.apps.tuning.space import Choice
from protemb.files import read_json

if TYPE_CHECKING:
    from protemb.apps.tuning.study import Study

BEST = "best.json"


def told(name: str, objective: str, study: "Study") -> list[str]:
    """Lines that say how many trials there were, and what was chosen by which score."""
    counts = study.counts()
    total = sum(counts.values()) - counts["failed"]
    others = [f"{n} {outcome}" for outcome, n in counts.items() if n and outcome != "complete"]
    lines = [", ".join([f"{name}: {total} trials", *others])]
    best = study.best()
    if best is None:
        lines.append("  no trial was trained to its end: nothing is chosen")
    else:
        score = f"{objective} {best.objective:.4g} (trial {best.number})"
        lines.append(f"  chosen by {score}: {in_words(best.values)}")
    if not study.missing():  # others have taken the places of those that failed
        return lines
    return lines + [f"  failed, and the same command tries others: {e}" for e in study.errors()]


def facts(study: "Study") -> dict[str, Any]:
    """Trials by outcome, and the best one, as plain values."""
    best = study.best()
    chosen = (
        {"trial": best.number, "value": best.objective, "chosen": best.values} if best else None
    )
    return {"trials": study.counts(), "missing": study.missing(), "best": chosen}


def unfinished(sweep: Path) -> bool:
    """Whether a sweep has tuned, and trials are missing, or were left, or nothing was chosen."""
    try:
        studies = read_json(sweep / BEST)["studies"]
        return any(
            study["best"] is None or study["missing"] or study["trials"]["left"]
            for study in studies
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def in_words(values: Mapping[str, Choice]) -> str:
    """Options and values, numbers to four digits.

    >>> in_words({"encoder.hidden_dim": 64, "optimizer.lr": 0.00123456})
    'encoder.hidden_dim=64, optimizer.lr=0.001235'
    """
    short = {key: f"{x:.4g}" if isinstance(x, float) else x for key, x in values.items()}
    return ", ".join(f"{key}={x}" for key, x in short.items())
