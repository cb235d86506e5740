import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from coincide.registration import Candidate, Registration, Step
from coincide.report.page import decimals, number, page, write_report
from coincide.report.versions import versions
from coincide.scores.evaluate import evaluate
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
MODES = {"fixed", "other", "swipe", "checker", "blend"}


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
        candidates=(Candidate("moments", 0.5), Candidate("header", 0.6)),
        settings={"fixed": "/some/where/a.nii.gz", "moving": "b.nii.gz", "seed": 0},
        status="converged after 120 steps",
        seconds={"affine": 1.25, "deformable": 3.0},
        warnings=("The <b>spacing</b> was missing.", "A second thing."),
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
        "--virtual-time-budget=20000",
        "--dump-dom",
        f"{path.as_uri()}#selftest",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
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
            full(),
            registration((40, 36)),
            registration((44, 40, 9), thick),
            registration((30, 28, 20), sheared),
        ]
        path = write_report(registrations, tmp_path / "report.html")
        results = seen_by_chromium(path, tmp_path)
        assert len(results) == 4
        for result in results:
            assert result["trouble"] == []
            assert set(result["modes"]) == MODES
            pictures = [*result["modes"].values(), *result["overlays"].values(), result["before"]]
            assert len(set(pictures)) == len(pictures)
            assert result["after"] == result["modes"]["other"]
            assert result["flickers"]
            assert all(result["slices"])
        solid, flat, _, oblique = results
        assert solid["letters"] == ["RLAP", "RLSI", "APSI"] == oblique["letters"]
        assert len(solid["slices"]) == 3
        assert flat["slices"] == []
        assert len(flat["size"]) == 1

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
            "Converged after 120 steps. It took 4.2 s. 2 things about the input need a look.",
            "&lt;b&gt;spacing&lt;/b&gt;",
            f"{scores['overlap']['mean_dice']:.3f}",
            f"{scores['surface']['mean_hd95_mm']:.2f}",
            "The runner-up costs 20 % more",
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


def test_decimals():
    assert decimals(1.005, 1) == "1.0"
    assert decimals(None, 2) == "–"


def test_versions_name_what_computes():
    assert {"coincide", "torch", "numba", "python", "platform"} <= set(versions())
