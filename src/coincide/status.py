"""Status: what was done and how it ended, in one sentence for a person."""

from collections.abc import Sequence

import numpy as np

from coincide.initialise.align import Align
from coincide.initialise.rotations import angle
from coincide.optimisers.loop import converged
from coincide.optimisers.optimise import Optimise
from coincide.predictors.predict import Predict
from coincide.registration import Candidate, Step
from coincide.search.search import Search
from coincide.transforms.linear import Linear
from coincide.way import Found

TURNED = 20.0  # degrees from the header that are worth a word
GAIN = 0.05  # share of what a level gained that its last steps may bring if it has settled
NAMES = {
    "header": "from the position that the files state",
    "given": "from the start that was given",
    "geometric centres": "from the centres of the images",
    "centres of mass": "from the centres of what they show",
    "principal axes": "from the principal axes of what they show",
    "centres": "after trying many positions",
    "rotation": "after trying all orientations",
}


def status(founds: Sequence[Found], *, initial: str) -> str:
    """One sentence: how it was aligned, what followed, whether the cost had settled.

    Args:
        founds: What every way found, in order.
        initial: Where the first began: `search`, `header`, or anything else for a start that was
            given.
    """
    told = [_told(found, initial if number == 0 else "") for number, found in enumerate(founds)]
    sentence = ", then ".join(told)
    levels = [_levels(found) for found in founds if isinstance(found.way, Optimise)]
    if levels:
        falling = sum(not settled for one in levels for settled in one)
        count = sum(len(one) for one in levels)
        if not falling:
            ending = "the cost had settled on every level" if count > 1 else "the cost had settled"
        else:
            where = "at the end" if count == 1 else f"at the end of {falling} of {count} levels"
            ending = f"the cost was still falling {where}, so more steps may bring more"
        sentence = f"{sentence}; {ending}"
    return sentence[0].upper() + sentence[1:] + "."


def _told(found: Found, initial: str) -> str:
    if isinstance(found.way, Align):
        chosen = next((c for c in found.candidates if c.chosen), Candidate("given", 0.0))
        name = "header" if chosen.name == "given" and initial == "header" else chosen.name
        how = next((text for key, text in NAMES.items() if name.startswith(key)), "")
        degrees = _turn(found)
        turned = f", turned by {degrees:.0f}° against it" if degrees > TURNED else ""
        turned = turned.replace("against it", "against their headers")
        return f"aligned {how}{turned}"
    if isinstance(found.way, Search):
        return "searched for large motion"
    if isinstance(found.way, Predict):
        return "predicted by a trained network"
    where = {"header": " from the position that the files state", "search": "", "": ""}
    return f"deformed{where.get(initial, ' from the start that was given')}"


def _turn(found: Found) -> float:
    """Degrees between the two worlds."""
    if not isinstance(found.transform, Linear):
        return 0.0
    matrix = found.transform.numpy()[:-1, :-1]
    left, _, right = np.linalg.svd(matrix)
    return angle(left @ right, np.eye(len(matrix)))


def _levels(found: Found) -> list[bool]:
    """Whether the cost had settled on each level, coarse to fine."""
    numbers = dict.fromkeys(step.level for step in found.history)
    return [_settled([s for s in found.history if s.level == number]) for number in numbers]


def _settled(steps: Sequence[Step]) -> bool:
    """Whether the last fifth of the steps gained little of what all of them gained."""
    costs = [step.cost for step in steps]
    last = max(2, len(costs) // 5)
    return len(costs) < 2 * last or converged(costs, GAIN, last)
