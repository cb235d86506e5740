"""ITK's .tfm and .txt text, and ANTs' .mat (MATLAB v4): linear transforms."""

from io import BytesIO
from pathlib import Path

import numpy as np
import scipy

from coincide.files.itk_member import ItkMember, affine_member
from coincide.transforms.composite import Composite
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform

HEADING = "#Insight Transform File V1.0"


def one_matrix(transform: Transform, suffix: str) -> ItkMember:
    """A linear transform, or a chain of them, as one matrix.

    Raises:
        ValueError: if a part of it is not linear.
    """
    members = list(transform) if isinstance(transform, Composite) else [transform]
    matrix = None
    for member in members:
        if not isinstance(member, Linear):
            raise ValueError(
                f"{suffix} holds linear transforms only, not {type(member).__name__}; save as .h5"
            )
        own = member.matrix()
        if len(own) != 1:
            raise ValueError(f"a file holds one transform, not a batch of {len(own)}")
        own = member.numpy()
        # outermost first, as members are listed: the last one acts first
        matrix = own if matrix is None else matrix @ own
    if matrix is None:
        raise ValueError("this composite is empty; there is nothing to save")
    return affine_member(matrix)


def text_of(member: ItkMember) -> str:
    """The member as ITK's text."""
    return "\n".join(
        [
            HEADING,
            "#Transform 0",
            f"Transform: {member.kind}",
            # the shortest digits that are read back as the very same number
            "Parameters: " + " ".join(repr(float(v)) for v in member.parameters),
            "FixedParameters: " + " ".join(repr(float(v)) for v in member.fixed),
            "",
        ]
    )


def from_text(text: str) -> list[ItkMember]:
    """Every entry of ITK's text, in its order, an enclosing composite too."""
    entries: list[tuple[str, dict[str, np.ndarray]]] = []
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key == "Transform":
            entries.append((rest.strip(), {}))
        elif key in ("Parameters", "FixedParameters") and entries:
            entries[-1][1][key] = np.array(rest.split(), np.float64)
    none = np.empty(0)
    return [
        ItkMember(kind, values.get("Parameters", none), values.get("FixedParameters", none))
        for kind, values in entries
    ]


def mat_of(member: ItkMember) -> bytes:
    """The member as a MATLAB v4 file, as ANTs writes it."""
    file = BytesIO()
    columns = {member.kind: member.parameters[:, None], "fixed": member.fixed[:, None]}
    scipy.io.savemat(file, columns, format="4")
    return file.getvalue()


def from_mat(path: Path) -> ItkMember:
    """The transform of an ANTs .mat file.

    Raises:
        ValueError: if it is not one.
    """
    try:
        content = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
        fixed = content.pop("fixed")
        (kind, values), *_ = content.items()
    except (ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{path} is not an ITK transform in MATLAB v4 format: {error}") from None
    return ItkMember(kind, np.asarray(values).ravel(), np.asarray(fixed).ravel())
