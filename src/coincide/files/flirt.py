"""FLIRT: the matrices of FSL, which mean something only beside the two images they are of."""

from pathlib import Path

import numpy as np

from coincide.space.grid import Grid
from coincide.transforms.linear import Affine


def is_flirt(path: Path) -> bool:
    """Whether a file holds four rows of four numbers in text, as FLIRT writes them."""
    return path.suffix.lower() in (".mat", ".txt") and _matrix(path) is not None


def read_flirt(path: str | Path, fixed: Grid, moving: Grid) -> Affine:
    r"""The map of points that a matrix of FLIRT stands for.

    FLIRT counts mm along the axes of the voxels, from the first one, and from the other end along
    x where the image is stored in neurological order: $x_\mathrm{FSL} = s_x (n_x - 1 - i)$ if the
    determinant of its affine is positive, $s_x i$ if not. Its matrix M takes such points of the
    moving image (`-in`) to those of the fixed one (`-ref`). With the affines W and the matrices S
    of voxels to FSL's mm, the map of the fixed to the moving world is
    $W_m S_m^{-1} M^{-1} S_f W_f^{-1}$.

    Args:
        path: What FLIRT wrote by `-omat`.
        fixed: Grid of the image given as `-ref`.
        moving: Grid of the image given as `-in`.

    Raises:
        ValueError: if the file is not a matrix of FLIRT, or the images are not 3-D.

    References:
        Jenkinson, Smith (2001), doi:10.1016/S1361-8415(01)00036-6; and FSL's FLIRT FAQ, "What is
        the format of the matrix used by FLIRT".
    """
    path = Path(path)
    matrix = _matrix(path)
    if matrix is None:
        raise ValueError(f"{path} is not a matrix of FLIRT: four rows of four numbers")
    if fixed.dim != 3 or moving.dim != 3:
        raise ValueError(
            f"{path} is a matrix of FLIRT, which is for 3-D images; these have {fixed.dim} and "
            f"{moving.dim} axes"
        )
    there = moving.affine @ np.linalg.inv(_to_fsl(moving)) @ np.linalg.inv(matrix)
    return Affine(there @ _to_fsl(fixed) @ fixed.inverse)


def _to_fsl(grid: Grid) -> np.ndarray:
    """Voxel index to FSL's mm, (4, 4)."""
    matrix = np.diag([*grid.spacing, 1.0])
    if np.linalg.det(grid.affine[:3, :3]) > 0:
        matrix[0, 0] *= -1
        matrix[0, 3] = (grid.shape[0] - 1) * grid.spacing[0]
    return matrix


def _matrix(path: Path) -> np.ndarray | None:
    try:
        rows = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
        matrix = np.array(rows, np.float64)
    except (UnicodeDecodeError, ValueError):
        return None
    fits = matrix.shape == (4, 4) and np.allclose(matrix[3], [0, 0, 0, 1])
    return matrix if fits and abs(np.linalg.det(matrix)) > 1e-12 else None
