"""Header extensions of NIfTI, which stand between the header and the voxels; none is needed."""

import numpy as np

MULTIPLE = 16


def malformed(data: bytes, start: int, end: int, order: str) -> tuple[str, ...]:
    """A sentence about the first extension that is not as the standard wants, or nothing.

    The place of the voxels comes from the header, not from the extensions, so these may be wrong
    and the image is still right.

    Args:
        data: Bytes of the file with the header.
        start: Where the header ends; four bytes follow that say whether there are extensions.
        end: Where the extensions must end: at the first voxel, or at the end of a .hdr file.
        order: Byte order of the header, `<` or `>`.
    """
    if not any(data[start : start + 1]):
        return ()
    place = start + 4
    while end - place >= MULTIPLE:
        size, code = np.frombuffer(data, f"{order}i4", 2, place).tolist()
        if size == code == 0:  # zeros that fill up the space before the voxels
            return ()
        if size < MULTIPLE:
            wrong = f"less than {MULTIPLE}"
        elif size > end - place:
            wrong = f"which reaches past the first voxel at byte {end}"
        elif size % MULTIPLE:
            wrong = f"not a multiple of {MULTIPLE}"
        else:
            place += size
            continue
        return (
            f"a header extension (code {code}) says it is {size} bytes long, {wrong}; it is "
            "passed over, the voxels are where the header says",
        )
    return ()
