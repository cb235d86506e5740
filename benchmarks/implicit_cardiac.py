"""Heart: end-systole onto end-diastole, slices of 10 mm, Dice of both ventricles and the wall."""

from typing import Any

from implicit_brains import rows
from implicit_lung import Plan, levels, of_preset
from implicit_rows import Row

METHODS: dict[str, Plan] = {
    "compositive, preset cardiac": of_preset("cardiac"),
    "bspline(8), lncc + bending, lbfgs": (
        "bspline(spacing=8.0)",
        levels("lncc(radius=2) + 1*bending", "lbfgs", 50, 30, 15),
    ),
    "siren(15), standardised + bending, sampled": (
        "siren(omega=15.0)",
        levels("standardised + 1*bending", "sampled(points=6000)", 100, 100, 150),
    ),
    "cycle(15), standardised + bending, sampled": (
        "cycle(omega=15.0)",
        levels("standardised + 1*bending", "cycle_sampled(points=6000)", 80, 80, 90),
    ),
    "siren_velocity(15), standardised + diffusion, sampled": (
        "siren_velocity(omega=15.0)",
        levels("standardised + 0.1*diffusion", "sampled(points=3000)", 80, 80, 90),
    ),
    "sinr(8), lncc + bending, adam": (
        "sinr(spacing=8.0, omega=20.0)",
        levels("lncc(radius=2) + 1*bending", "adam(rate=0.002)", 80, 40),
    ),
    "least_squares, siren, standardised": (
        "siren(width=256, omega=10.0)",
        levels("standardised + 1*bending", "least_squares", 8, 8, 8),
    ),
}

ROWS: dict[str, Row] = rows("rigid start", METHODS, "cardiac/1")


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return rows
