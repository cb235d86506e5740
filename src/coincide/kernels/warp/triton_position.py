"""Where the voxels of a block look in a volume; pieces of the kernels that sample."""

import triton
import triton.language as tl


@triton.jit
def entry(field, axis: tl.constexpr, dim: tl.constexpr, voxels, p, inside):
    """Component of a (dim, voxels) displacement along one of three axes; missing axes stay."""
    there = inside & (axis >= 3 - dim)
    return tl.load(field + (axis - 3 + dim) * voxels + p, mask=there, other=0.0)


@triton.jit
def held(x, n):
    """Lower neighbour, fraction, whether free to move, and whether inside n voxels."""
    # written so that what is not a number ends inside the volume
    c = tl.minimum(tl.where(x > 0, x, 0.0), n - 1)
    # the last voxel is the far end of the last cell; 0 where there is but one voxel
    low = tl.minimum(c.to(tl.int32), tl.maximum(n - 2, 0))
    # half a voxel beyond the outermost centres still counts as inside
    near = (x >= -0.5) & (x <= n - 0.5)
    return low, c - low, x == c, near


@triton.jit
def locate(
    field,
    index,
    scale,
    X,
    Y,
    Z,
    I,
    J,
    K,
    p,
    inside,
    DIM: tl.constexpr,
    MOVED: tl.constexpr,
):
    """Address of the lower corner, fractions, which axes are free, and whether inside.

    Voxel p of (I, J, K) looks at index · voxel + scale · field; a missing axis has one voxel.
    """
    row = p // K
    k = p - row * K
    i = row // J
    j = row - i * J
    x = tl.load(index) * i + tl.load(index + 1) * j + tl.load(index + 2) * k + tl.load(index + 3)
    y = (
        tl.load(index + 4) * i
        + tl.load(index + 5) * j
        + tl.load(index + 6) * k
        + tl.load(index + 7)
    )
    z = (
        tl.load(index + 8) * i
        + tl.load(index + 9) * j
        + tl.load(index + 10) * k
        + tl.load(index + 11)
    )
    if MOVED:
        voxels = I * J * K
        u = entry(field, 0, DIM, voxels, p, inside)
        v = entry(field, 1, DIM, voxels, p, inside)
        w = entry(field, 2, DIM, voxels, p, inside)
        x += tl.load(scale) * u + tl.load(scale + 1) * v + tl.load(scale + 2) * w
        y += tl.load(scale + 3) * u + tl.load(scale + 4) * v + tl.load(scale + 5) * w
        z += tl.load(scale + 6) * u + tl.load(scale + 7) * v + tl.load(scale + 8) * w
    ix, fx, mx, nx = held(x, X)
    iy, fy, my, ny = held(y, Y)
    iz, fz, mz, nz = held(z, Z)
    return (ix * Y + iy) * Z + iz, fx, fy, fz, mx, my, mz, nx & ny & nz


@triton.jit
def strides(X, Y, Z):
    """Offsets to the next voxel along each axis; none along an axis of one voxel."""
    return tl.where(X > 1, Y * Z, 0), tl.where(Y > 1, Z, 0), tl.where(Z > 1, 1, 0)


@triton.jit
def slopes(volume, grad, channels, X, Y, Z, voxels, p, inside, q, fx, fy, fz):
    """Sum over channels of grad · ∂volume/∂index at address q, along each axis."""
    sx, sy, sz = strides(X, Y, Z)
    ex, ey, ez = 1 - fx, 1 - fy, 1 - fz
    gx, gy, gz = 0 * fx, 0 * fx, 0 * fx
    for _ in range(channels):
        g = tl.load(grad + p, mask=inside, other=0.0)
        v = volume + q
        a = tl.load(v, mask=inside, other=0.0)
        b = tl.load(v + sz, mask=inside, other=0.0)
        d = tl.load(v + sy, mask=inside, other=0.0)
        e = tl.load(v + sy + sz, mask=inside, other=0.0)
        r = tl.load(v + sx, mask=inside, other=0.0)
        s = tl.load(v + sx + sz, mask=inside, other=0.0)
        t = tl.load(v + sx + sy, mask=inside, other=0.0)
        w = tl.load(v + sx + sy + sz, mask=inside, other=0.0)
        gx += g * (ey * (ez * (r - a) + fz * (s - b)) + fy * (ez * (t - d) + fz * (w - e)))
        gy += g * (ex * (ez * (d - a) + fz * (e - b)) + fx * (ez * (t - r) + fz * (w - s)))
        gz += g * (ex * (ey * (b - a) + fy * (e - d)) + fx * (ey * (s - r) + fy * (w - t)))
        volume += X * Y * Z
        grad += voxels
    return gx, gy, gz
