import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from coincide.registration import Candidate, Registration, Step
from coincide.report.outliers import outliers
from coincide.report.page import decimals, figured, longest, number, page, write_report
from coincide.report.summary import lead
from coincide.report.versions import versions
from coincide.scores.evaluate import evaluate
from coincide.scores.overlap import overlap
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (path := shutil.which(name))
    ),
    None,
)
MODES = {"fixed", "other", "swipe", "checker", "fusion", "blend"}


def smooth(shape, seed, sigma=3.0):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return (noise / np.abs(noise).max()).astype(np.float32)


def registration(shape=(40, 44, 36), affine=None, **rest):
    dim = len(shape)
    grid = Grid(shape, np.eye(dim + 1) if affine is None else affine)
    fixed = Image.from_array(np.maximum(smooth(shape, 0), 0) * 100, grid.affine)
    moving = Image.from_array(np.maximum(smooth(shape, 1), 0) * 900, grid.affine)
    field = torch.tensor(np.stack([smooth(shape, 2 + d) * 4 for d in range(dim)]))[None]
    transform = Displacement(field=field, grid=grid)
    return Registration(fixed, moving, transform, transform.inverse(), **rest)


def full():
    steps = [
        Step(stage, level, step, math.exp(-step / 9) + level, {"mse": 0.5, "bending": 0.1 * step})
        for stage in ("affine", "deformable")
        for level in (0, 1)
        for step in range(30)
    ]
    return registration(
        history=tuple(steps),
        candidates=(Candidate("moments", 0.5, True, True), Candidate("header", 0.2)),
        margin=0.0125,
        settings={"fixed": "/some/where/a.nii.gz", "moving": "b.nii.gz", "seed": 0},
        status="converged after 120 steps",
        seconds={"affine": 1.25, "deformable": 3.0},
        warnings=("The <b>spacing</b> was missing.", "A second thing."),
    )


def with_everything():
    """A pair with masks, and a search whose confidence is known."""
    plain = full()
    mask = torch.zeros(1, 1, *plain.fixed.grid.shape)
    mask[..., 6:34, 6:38, 4:32] = 1
    clear = Image.from_array(smooth((5, 6, 5), 9, 1.0) ** 2, np.diag([8.0, 8.0, 8.0, 1.0]))
    return replace(
        plain,
        fixed=plain.fixed.with_mask(mask),
        moving=plain.moving.with_mask(mask),
        confidence=clear,
    )


def labelled(result):
    """The same with two labels and three landmarks."""
    first, second = (
        image.numpy() > image.numpy().max() / 4 for image in (result.fixed, result.moving)
    )
    points = np.array([[20.0, 22.0, 18.0], [12.0, 30.0, 20.0], [25.0, 15.0, 14.0]])
    return replace(
        result,
        labels=tuple(Image.from_array(one.astype(np.int16)) for one in (first, second)),
        points=(points, result.transform(points) + np.array([0.5, -0.5, 0.2])),
        label_names={1: "the bright <one>"},
    )


class Addresses(HTMLParser):
    """Everything on a page that a browser would fetch, and whether its elements are closed."""

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "action")]
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """An element that closes itself, as in SVG."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def seen_by_chromium(path, folder):
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr",
        "--v=0",
        "--virtual-time-budget=30000",
        "--dump-dom",
        f"{path.as_uri()}#selftest",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    found = re.search(r'data-selftest="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, done.stderr
    return json.loads(found.group(1).replace("&quot;", '"'))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
class TestInTheBrowser:
    def test_every_control_changes_the_picture(self, tmp_path):
        thick = np.diag([1.0, 1.0, 4.0, 1.0])
        sheared = np.array(
            [[0.0, -0.1, 2.0, 5], [-1.0, 0.2, 0.0, 6], [0.1, 1.5, 0.0, 7], [0, 0, 0, 1]]
        )
        registrations = [
            labelled(with_everything()),
            registration((40, 36)),
            registration((44, 40, 4), thick),
            registration((30, 28, 20), sheared),
        ]
        path = write_report(
            registrations,
            tmp_path / "report.html",
            scores=[
                evaluate(registrations[0]).to_dict(),
                None,
                None,
                None,
            ],
        )
        results = seen_by_chromium(path, tmp_path)
        assert len(results) == 4
        for result in results:
            assert result["trouble"] == []
            assert result["fetched"] == []
            assert result["drawn"] > 20
            assert set(result["modes"]) == MODES
            pictures = [*result["modes"].values(), result["before"]]
            assert len(set(pictures)) == len(pictures)
            assert all(result["overlays"].values()), result["overlays"]
            assert all(result["windows"].values())
            assert len(result["windows"]) == 4
            assert result["draggedWindow"]
            assert result["after"] == result["modes"]["other"]
            assert result["flickers"]
            assert result["zooms"]
            assert result["wheels"]
            assert result["pans"]
            assert result["zoomed"] == "188 %"
            assert result["returns"]
            assert all(result["slices"])
            # as fine as the screen, and no wider than the page
            for width, height, shown_width, shown_height in result["size"]:
                assert (width, height) == (shown_width, shown_height)
                assert 40 < width < 1300
        solid, flat, slab, oblique = results
        assert solid["letters"] == ["RLAP", "RLSI", "APSI"] == oblique["letters"]
        assert len(solid["slices"]) == 3
        assert solid["enlarges"]
        assert solid["shrinks"]
        assert solid["tables"] == {"label": True, "mark": True}
        assert set(solid["overlays"]) == {
            "edges",
            "labels",
            "mask",
            "landmarks",
            "grid",
            "jacobian",
            "confidence",
        }
        assert set(flat["overlays"]) == {"edges", "grid", "jacobian"}
        assert flat["slices"] == []
        assert len(flat["size"]) == 1
        # few slices: the plane in which there is most to see is the largest
        assert slab["size"][0][0] > 1.5 * slab["size"][1][0]
        width, height = slab["size"][1][:2]
        assert width / height == pytest.approx(44 / 16, rel=0.1)

    def test_a_stained_slide_is_in_colour_and_a_scan_is_not(self, tmp_path):
        grey = registration((40, 36))
        stained = grey.fixed.with_data(
            torch.stack([grey.fixed.data[0, 0] / 100, torch.zeros(40, 36), torch.ones(40, 36)])[
                None
            ]
        )
        coloured = Registration(stained, stained, grey.transform, grey.inverse)
        path = write_report([coloured, grey], tmp_path / "report.html")
        first, second = seen_by_chromium(path, tmp_path)
        assert first["colours"]
        assert not second["colours"]
        assert first["values"].startswith("fixed (")

    def test_the_readout_is_in_mm_of_the_world(self, tmp_path):
        image = registration((40, 44, 36), np.diag([-1.0, 1.0, 2.0, 1.0])).fixed
        matrix = np.diag([1.1, 1.0, 1.0, 1.0])
        matrix[:3, 3] = 0, 3, 0
        path = write_report(
            [Registration(image, image, Affine(matrix), Affine(np.linalg.inv(matrix)))],
            tmp_path / "report.html",
        )
        (result,) = seen_by_chromium(path, tmp_path)
        found = re.fullmatch(
            r"([RL]) ([\d.]+)  ([AP]) ([\d.]+)  ([SI]) ([\d.]+) mm · displaced ([\d.]+) mm"
            r" · volume × 1\.1\d",
            result["readout"],
        )
        assert found, result["readout"]
        assert found.group(1, 3, 5) == ("L", "A", "S")
        expected = math.hypot(0.1 * float(found.group(2)), 3)
        assert float(found.group(7)) == pytest.approx(expected, abs=0.11)


class TestPage:
    def test_holds_everything_and_fetches_nothing(self, tmp_path):
        result = full()
        labels = Image.from_array((result.fixed.numpy() > 20).astype(np.int16))
        scores = evaluate(result, fixed_labels=labels, moving_labels=labels).to_dict()
        path = write_report([result], tmp_path / "new" / "report.html", scores=[scores])
        text = path.read_text(encoding="utf-8")
        parser = Addresses()
        parser.feed(text)
        assert parser.open == []
        assert all(a.startswith(("data:", "#")) for a in parser.found)
        assert not re.search(r"https?://", text)
        for expected in (
            "b.nii.gz → a.nii.gz",
            "Converged after 120 steps. It took 4.2 s. 2 things need a look.",
            "&lt;b&gt;spacing&lt;/b&gt;",
            f"{scores['overlap']['mean_dice']:.3f}",
            f"{scores['surface']['mean_hd95_mm']:.2f}",
            "scored worse by 0.0125 in units of the similarity",
            "40 × 44 × 36",
        ):
            assert expected in text
        assert text.count('class="curve"') == 4
        assert len(list(path.parent.iterdir())) == 1

    def test_several_pairs_have_a_table_of_contents(self):
        text = page([full(), registration((20, 20))])
        assert 'href="#pair-2"' in text
        assert "Pair 2" in text

    def test_odd_values_do_not_stop_it(self):
        still = registration((20, 22, 18))
        broken = still.fixed.numpy().copy()
        broken[:5] = np.nan
        field = torch.full_like(still.transform.field.data, torch.nan)
        history = (Step("affine", 0, 0, math.nan, {}), Step("affine", 1, 0, math.inf, {}))
        text = page(
            [
                Registration(
                    Image.from_array(broken),
                    Image.from_array(np.zeros((5, 5, 5), np.int16)),
                    Displacement(field=field, grid=still.fixed.grid),
                    still.inverse,
                    history=history,
                    candidates=(Candidate("header", 0.0), Candidate("moments", 0.0)),
                )
            ],
            scores=[None],
        )
        data = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
        assert data
        json.loads(data.group(1), parse_constant=pytest.fail)

    def test_what_was_gained_is_told_before_and_after(self):
        result = with_everything()
        result = labelled(result)
        scores = evaluate(result).to_dict()
        before = overlap(*(labels.numpy() for labels in result.labels)).mean_dice
        text = page([result], scores=[scores])
        for value, count in ((before, 3), (scores["landmarks"]["initial_mean_mm"], 2)):
            assert f'title="before the registration">{value:.{count}f}</span>' in text
        assert "NMI" in text
        assert "the bright &lt;one&gt;" in text
        assert "gone on from" in text
        assert "folded (non-diffeomorphic) volume, %" in text

    def test_maps_that_number_organs_differently_are_pointed_out(self):
        result = registration()
        still = replace(result, moving=result.fixed, transform=Affine(np.eye(4)))
        labels = (result.fixed.numpy() > 20).astype(np.int16)
        fixed, moving = Image.from_array(labels), Image.from_array(5 * labels)
        told = "lie on another number of the moving map: 1 on 5"
        assert told in page([replace(still, labels=(fixed, moving))])
        assert "another number" not in page([replace(still, labels=(fixed, fixed))])

    def test_rounds_of_a_search_are_not_drawn_as_a_curve(self):
        rounds = tuple(Step("convex", 0, n, 0.2 + 0.1 * n, {}) for n in range(6))
        steps = tuple(Step("displacement", 0, n, 1 - 0.1 * n, {"mse": 1.0}) for n in range(6))
        text = page([registration((20, 20), history=rounds + steps)])
        assert text.count('class="curve"') == 1
        assert "A search in 6 rounds" in text

    def test_a_pair_unlike_the_others_is_marked(self):
        pairs = [registration((20, 20)) for _ in range(6)]
        scores = [
            {"overlap": {"mean_dice": dice, "labels": {}}}
            for dice in (0.80, 0.81, 0.79, 0.82, 0.80, 0.31)
        ]
        text = page(pairs, scores=scores)
        assert text.count('class="odd"') == 1
        assert "Dice z\u00a0" in text or "Dice z&nbsp;" in text
        assert "robust z-score" in text
        assert "from 5 pairs on" in page(pairs[:2], scores=scores[:2])

    def test_a_page_of_many_pairs_is_coarser_than_one_of_one(self):
        assert [longest(n) for n in (1, 2, 5, 40)] == [None, 256, 176, 112]

    def test_nothing_to_report(self):
        with pytest.raises(ValueError, match="at least one registration"):
            page([])

    def test_scores_must_match(self):
        with pytest.raises(ValueError, match="2 scores were given for 1 registrations"):
            page([registration((20, 20))], scores=[None, None])

    def test_a_failure_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "report.html"
        path.write_text("old")
        monkeypatch.setattr("coincide.report.page.page", lambda *_, **__: "bad \ud800")
        with pytest.raises(UnicodeEncodeError):
            write_report([registration((20, 20))], path)
        assert path.read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.12345, "0.123"), (-2.0, "\u22122"), (12345, "12\u202f345"), ("a", "a")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("margin", "said"),
    [
        (None, ""),
        (math.inf, "No start that ended in a different place"),
        (0.02, "scored worse by 0.02 in units of the similarity"),
        (-0.02, "scored better, by 0.02"),
    ],
)
def test_the_margin_is_told_in_units_of_the_similarity(margin, said):
    assert lead(margin).find(said) >= 0
    assert "%" not in lead(margin)
    assert bool(lead(margin)) == bool(said)


def test_outliers_are_on_the_bad_side_only():
    best = [{"Dice": d, "Folding": 0.0} for d in (0.5, 0.51, 0.49, 0.52, 0.5, 0.99)]
    assert outliers(best) == [{}] * 6
    folded = [{"Dice": None, "Folding": f} for f in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0)]
    assert list(outliers(folded)[-1]) == ["Folding"]
    assert outliers(folded[-4:]) == [{}] * 4  # too few to know what is usual
    assert outliers([{"Dice": 0.8}] * 8) == [{}] * 8


def test_a_little_folding_is_not_written_as_none():
    assert [figured(value, 3) for value in (0.0, 0.0002, 0.0021)] == ["0", "< 0.001", "0.002"]


def test_decimals():
    assert decimals(1.005, 1) == "1.0"
    assert decimals(None, 2) == "–"


def test_versions_name_what_computes():
    assert {"coincide", "torch", "numba", "python", "platform"} <= set(versions())
