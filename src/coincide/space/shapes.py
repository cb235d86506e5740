"""Names of tensor shapes: B pairs, C channels, D axes, *S voxels in file axis order, P points."""

from jaxtyping import Float
from torch import Tensor

Volume = Float[Tensor, "B C *S"]
Field = Float[Tensor, "B D *S"]
Points = Float[Tensor, "B P D"]
Matrix = Float[Tensor, "B E E"]
PerPair = Float[Tensor, "B"]
