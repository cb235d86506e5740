"""Compiled map of the Jacobian determinant of a displacement."""

from numba import prange

from coincide.kernels.native.jit import loop


@loop
def determinant(field, matrix, out):
    """Out = det(A + G) / det A with G the slopes of `field` (3, X, Y, Z) along the voxel axes.

    Central differences inside, one-sided at the border; `matrix` (3, 3) is A, the grid's affine.
    """
    _, X, Y, Z = field.shape
    f = field.dtype.type
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    whole = (
        m00 * (m11 * m22 - m12 * m21)
        - m01 * (m10 * m22 - m12 * m20)
        + m02 * (m10 * m21 - m11 * m20)
    )
    unit = f(1) / whole
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        i1, i2 = max(i - 1, 0), min(i + 1, X - 1)
        j1, j2 = max(j - 1, 0), min(j + 1, Y - 1)
        sx, sy = f(1) / max(i2 - i1, 1), f(1) / max(j2 - j1, 1)
        u, v, w, line = field[0], field[1], field[2], out[i, j]
        for k in range(Z):
            k1, k2 = max(k - 1, 0), min(k + 1, Z - 1)
            sz = f(0.5) if k2 - k1 == 2 else f(1)
            a = m00 + sx * (u[i2, j, k] - u[i1, j, k])
            b = m01 + sy * (u[i, j2, k] - u[i, j1, k])
            c = m02 + sz * (u[i, j, k2] - u[i, j, k1])
            d = m10 + sx * (v[i2, j, k] - v[i1, j, k])
            e = m11 + sy * (v[i, j2, k] - v[i, j1, k])
            g = m12 + sz * (v[i, j, k2] - v[i, j, k1])
            p = m20 + sx * (w[i2, j, k] - w[i1, j, k])
            q = m21 + sy * (w[i, j2, k] - w[i, j1, k])
            r = m22 + sz * (w[i, j, k2] - w[i, j, k1])
            line[k] = unit * (a * (e * r - g * q) - b * (d * r - g * p) + c * (d * q - e * p))
