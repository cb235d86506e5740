import numpy as np
import pytest

from coincide.report.codes import Codes


def test_values_come_back_finely_where_there_are_many():
    generator = np.random.default_rng(0)
    ct = np.concatenate(
        [
            np.full(60_000, -1000.0),
            generator.normal(50, 30, 50_000),
            generator.uniform(200, 2500, 2_000),
        ]
    )
    codes = Codes.of(ct)
    tissue = np.linspace(-40, 140, 50)
    error = np.abs(codes.values[codes(tissue)] - tissue)
    assert error.mean() < 2  # steps of equal size would be 3.4 HU off
    assert (np.diff(codes(np.linspace(-1000, 2500, 300)).astype(int)) >= 0).all()
    assert codes.hounsfield
    assert codes.window == (-160, 240)


def test_a_ct_of_lungs_opens_with_lungs_to_be_seen():
    generator = np.random.default_rng(0)
    chest = np.concatenate(
        [np.full(9000, -1000.0), generator.normal(-850, 40, 9000), generator.normal(40, 30, 9000)]
    )
    low, high = Codes.of(chest).window
    assert low < -900
    assert high > 0


@pytest.mark.parametrize(
    "values", [np.zeros(9), np.full(9, -3.0), np.array([np.nan, np.inf]), np.zeros(0)]
)
def test_an_image_of_nothing_has_codes(values):
    codes = Codes.of(values)
    assert codes(values).shape == values.shape
    assert np.isfinite(codes.values).all()
    assert codes.window[0] < codes.window[1]


@pytest.mark.parametrize(("most", "end"), [(1.0, 1.0), (200.0, 255.0), (4000.0, 4000.0)])
def test_colours_end_where_their_kind_ends(most, end):
    codes = Codes.of_colour(np.array([0.0, most]))
    assert codes.window == (0, end)
    assert codes(np.array([0, end])).tolist() == [0, 255]
