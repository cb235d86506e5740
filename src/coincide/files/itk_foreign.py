"""Kinds of ITK transforms that we do not read ourselves: ITK is asked where points go."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk  # noqa: N813

from coincide.files.itk_matrix import text_of
from coincide.files.itk_member import ItkMember
from coincide.transforms.transform import Transform


def transform_of(member: ItkMember, path: Path) -> Transform:
    """The same map of RAS points, mm, whatever the kind; any linear one is understood.

    Args:
        member: What the file says.
        path: The file, for messages.

    Raises:
        ValueError: if it is not linear and none of ours, naming it and what would work.
    """
    try:
        return member.transform() if member.exact else _linear(member).transform()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _linear(member: ItkMember) -> ItkMember:
    """The matrix of any linear transform, such as a versor or Euler angles with a centre."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "one.tfm"
        file.write_text(text_of(member), "utf-8")
        try:
            transform = sitk.ReadTransform(str(file)).Downcast()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"ITK cannot read its {member.kind}: {reason}") from None
    if not transform.IsLinear():
        raise ValueError(
            f"ITK's {member.kind} is not understood; turn it into a displacement field with "
            "SimpleITK.TransformToDisplacementField, save that as .nii.gz and read it"
        )
    dim = transform.GetDimension()
    # where the origin and the unit vectors go says all of a linear map, whatever its parameters
    origin = np.array(transform.TransformPoint([0.0] * dim))
    columns = [np.array(transform.TransformPoint(row.tolist())) - origin for row in np.eye(dim)]
    return ItkMember(
        f"AffineTransform_double_{dim}_{dim}",
        np.concatenate([np.stack(columns, 1).ravel(), origin]),
        np.zeros(dim),
    )
