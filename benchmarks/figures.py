"""Figures: Dice against seconds, one panel for each kind of pair."""

from pathlib import Path

from results import Typical


def fronts(entries: list[Typical], path: Path) -> bool:
    """Draw every group that has labels; False: none has.

    The line is the front: no peer is both faster and better than one on it.

    Args:
        entries: What is typical of each peer in each group.
        path: PNG file.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = [e for e in entries if "dice" in e.values and "seconds" in e.values]
    groups = list(dict.fromkeys(e.group for e in shown))
    if not groups:
        return False
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    size = (5.2 * columns, 3.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis, group in zip(axes.flat, groups, strict=False):
        points = sorted(
            (e.values["seconds"], e.values["dice"], e.peer) for e in shown if e.group == group
        )
        best = front([point[:2] for point in points])
        axis.step(*zip(*best, strict=True), where="post", color="0.8", zorder=0)
        for seconds, dice, peer in points:
            colour = "tab:red" if peer.startswith("coincide") else "tab:blue"
            axis.plot(seconds, dice, "o", color=colour, markersize=5)
            axis.annotate(
                peer, (seconds, dice), xytext=(4, 3), textcoords="offset points", fontsize=7
            )
        axis.set(xscale="log", xlabel="seconds", ylabel="Dice", title=group)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="x", which="both", labelsize=7, rotation=45)
        axis.margins(x=0.2, y=0.1)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(groups) :]:
        axis.remove()
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return True


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (seconds, Dice) that nothing beats in both, from fast to slow."""
    best: list[tuple[float, float]] = []
    for seconds, dice in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or dice > best[-1][1]:
            best.append((seconds, dice))
    return best
