"""Pairs recipe: what a predictor is trained to do."""

from dataclasses import dataclass

from coincide.networks.precision import Precision
from coincide.objective import Objective, PairedTerm, Penalty
from coincide.objective import objective as read_objective


@dataclass(frozen=True)
class PairsRecipe:
    """What a predictor is trained to do, and on how much at once.

    Args:
        predictor: Which network, as text.
        objective: What is lowered: similarities of the images, penalties on the velocity, and
            `labels`, `landmarks` and `field` where these are known.
        seed: Of the weights, of the order of pairs and of how they are moved.
        batch: Pairs of each step.
        warm: Share of the steps, from the first, that lower `10*mse` instead of the similarities,
            and tell a conditional network weights of at most 0.4.
        augmented: How often both images of a pair are turned, stretched and shown otherwise.
        precision: Numbers of the layers of the network.
        simulated: How often the moving image is made from the fixed one, by a deformation that is
            known and that `field` compares.
        start: Model of the same predictor that it goes on from; empty: random weights.

    Raises:
        ValueError: if the objective compares nothing, a share lies outside of 0 to 1, or one has
            no meaning for this objective.
    """

    predictor: str = "pyramid"
    objective: str = "lncc(radius=2, floor=0.001) + 0.2*diffusion"
    seed: int = 0
    batch: int = 2
    warm: float = 0.0
    augmented: float = 0.0
    precision: Precision = "float32"
    simulated: float = 0.0
    start: str = ""

    def __post_init__(self):
        target = read_objective(self.objective)
        if all(isinstance(term, Penalty) for _, term in target.terms):
            raise ValueError(
                f"{self.objective!r} compares nothing; add a similarity such as lncc, or what is "
                "known of the pairs: labels, landmarks or field"
            )
        if self.warm and not compared(target).terms:
            raise ValueError(
                f"a warm-up compares by mse instead of the similarities, and {self.objective!r} "
                "has none; leave out --warm"
            )
        if self.simulated and "field" not in target.absent:
            raise ValueError(
                f"of simulated pairs the field is known, which {self.objective!r} does not "
                "compare; add field to it, or leave out --simulated"
            )
        for name in ("warm", "augmented", "simulated"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if self.batch < 1:
            raise ValueError(f"a step takes 1 pair or more, not {self.batch}")


def compared(objective: Objective) -> Objective:
    """The part of an objective that compares the images themselves."""
    beside = Penalty | PairedTerm
    return Objective(tuple((w, t) for w, t in objective.terms if not isinstance(t, beside)))
