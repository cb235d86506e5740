"""Linear map: how the matrix of a linear transform follows its parameters."""

import numpy as np
import torch

from coincide.optimisers.optimiser import Problem
from coincide.transforms.linear import Linear


class LinearMap:
    """The parameters of a linear transform as one vector.

    Args:
        problem: With the transform, which is moved in place.
        asking: Name of the optimiser, for the error.

    Raises:
        ValueError: if the transform is not linear.
    """

    def __init__(self, problem: Problem, asking: str):
        if not isinstance(problem.transform, Linear):
            raise ValueError(
                f"{asking} moves linear transforms (translation, rigid, similarity, affine), not "
                f"{type(problem.transform).__name__}; use lbfgs or adam"
            )
        self.transform = problem.transform
        self.parameters = [p for p in problem.free() if p.numel()]

    def point(self) -> np.ndarray:
        """All parameters, (P,), mm."""
        return np.concatenate([p.detach().cpu().numpy().reshape(-1) for p in self.parameters])

    def move(self, point: np.ndarray) -> None:
        """Set all parameters."""
        start = 0
        for parameter in self.parameters:
            part = torch.as_tensor(point[start : start + parameter.numel()])
            # past autograd, so that parameters remain leaves
            parameter.data.copy_(part.view_as(parameter))
            start += parameter.numel()

    def jacobian(self) -> np.ndarray:
        """Derivative of the upper rows of the matrix by the parameters, (D, D+1, P)."""
        # the last row of the matrix is 0 ... 0 1 whatever the parameters
        entries = self.transform.matrix()[0, :-1]
        rows = [
            torch.autograd.grad(entry, self.parameters, retain_graph=True)
            for entry in entries.reshape(-1)
        ]
        flat = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
        return flat.cpu().numpy().reshape(*entries.shape, -1)
