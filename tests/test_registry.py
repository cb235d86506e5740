import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from coincide.objective import Objective, PairedTerm, Penalty, Similarity, objective
from coincide.optimisers.optimiser import Optimiser
from coincide.presets.preset import read_ways
from coincide.registry import PARTS, build, named, parts, written
from coincide.search.search import Search
from coincide.transforms.transform import Transform

KINDS = {
    Similarity: (
        "correlation_ratio",
        "distance_map",
        "edges",
        "huber",
        "lncc",
        "lncc_gaussian",
        "local_mi",
        "local_nmi",
        "mi",
        "mind",
        "mind_ssc",
        "mse",
        "ncc",
        "ngf",
        "nmi",
        "overlap",
        "ssim",
    ),
    PairedTerm: ("labels", "landmarks"),
    Penalty: ("bending", "diffusion", "elastic", "folding"),
    Transform: (
        "affine",
        "bspline",
        "bspline_velocity",
        "displacement",
        "rigid",
        "similarity",
        "thin_plate",
        "translation",
        "velocity",
    ),
    Search: ("convex", "spanning_tree"),
    Optimiser: (
        "adam",
        "compositive",
        "compositive_adam",
        "conjugate",
        "descent",
        "gauss_newton",
        "lbfgs",
        "stochastic",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_folder_is_found_by_name(kind):
    assert set(KINDS[kind]) <= set(parts(kind))
    assert list(parts(kind)) == sorted(parts(kind))


@pytest.mark.parametrize("name", parts())
def test_every_part_can_be_made_from_its_name_alone(name):
    part = build(name)
    assert type(part).name == name
    assert part.name == name
    if is_dataclass(part):
        assert build(written(part)) == part


@pytest.mark.parametrize("name", [n for n, p in parts().items() if is_dataclass(p) and fields(p)])
def test_what_was_changed_is_written_and_read_back(name):
    first = fields(PARTS[name])[0]
    others = {tuple: (1, 2), str: "rigid", type(None): 2.5}
    changed = others[type(first.default)] if type(first.default) in others else first.default + 1
    changed = bool(changed) if isinstance(first.default, bool) else changed
    part = PARTS[name](**{first.name: changed})
    assert f"({first.name}={changed!r}" in str(part)
    assert build(str(part)) == part


@pytest.mark.parametrize(
    "text",
    [
        "affine >> convex(reach=36.0) >> displacement",
        "align(kind='rigid', rotations=0) >> velocity(spacing=4.0) >> bspline(spacing=12.0)",
        "affine >> optimise(transform=symmetric(spacing=2.0), levels=(level(steps=30, "
        "objective='ngf + 0.1*bending', optimiser='syn(step=0.75)'), level(spacing=1.5, steps=9)))",
        "thin_plate(spacing=24.0, smoothing=0.1)",
        "displacement >> auto(transform='bspline', levels=(level(steps=5),))",
    ],
)
def test_a_chain_of_ways_is_written_as_it_is_read(text):
    assert str(read_ways(text)) == text
    assert str(read_ways(str(read_ways(text)))) == text


def test_a_level_that_never_stops_early_is_written_as_one():
    level = build("level(spacing=0.0, tolerance=0.0, steps=5)")
    assert str(level) == "level(spacing=0.0, steps=5, tolerance=0.0)"
    assert build(str(level)) == level


def test_a_chain_is_built_alike_from_text_and_in_python():
    python = build("affine") >> build("convex(reach=36)") >> build("displacement")
    assert str(python) == "affine >> convex(reach=36) >> displacement"
    assert [part.name for part in python] == ["affine", "convex", "displacement"]


@pytest.mark.parametrize(
    "text", ["mse >> affine", "affine >> mse", "affine >> 2", "adam >> affine"]
)
def test_what_is_no_way_has_no_place_in_a_chain(text):
    with pytest.raises(ValueError, match="cannot read"):
        build(text)
    with pytest.raises(ValueError, match="is no way to a transform; write such as 'affine >>"):
        read_ways("mse")


def test_a_part_is_looked_for_in_the_module_of_its_name():
    code = (
        "import sys; from coincide.registry import build; build('convex');"
        "print(*(f'coincide.search.{n}' in sys.modules for n in ('convex', 'spanning_tree')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_an_unknown_part_is_answered_with_the_nearest_and_those_of_its_kind():
    for text in ("mse + 0.1*bendin", "bendin"):
        with pytest.raises(ValueError, match="no part is called 'bendin'; did you mean") as said:
            build(text)
        known = str(said.value).partition("known: ")[2].split(", ")
        assert "did you mean 'bending'" in str(said.value)
        assert {"bending", "diffusion"} <= set(known)
        assert not {"adam", "affine", "mse"} & set(known)
    with pytest.raises(ValueError, match=r"did you mean 'bending'\? known: ") as said:
        objective("mse + bendin")
    known = str(said.value).partition("known: ")[2].split(", ")
    assert {"mse", "bending"} <= set(known)
    assert not {"adam", "affine"} & set(known)
    with pytest.raises(ValueError, match=r"did you mean 'velocity'\? known: ") as said:
        read_ways("affine >> velocty(spacing=4)")
    known = str(said.value).partition("known: ")[2].split(", ")
    assert {"convex", "velocity"} <= set(known)
    assert not {"lncc", "adam"} & set(known)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("bspline(spacing=-4)", "bspline takes spacing above 0, not -4"),
        ("bspline(spacing=0)", "bspline takes spacing above 0, not 0"),
        ("bspline_velocity(spacing=-4)", "takes spacing above 0"),
        ("thin_plate(spacing=0)", "takes spacing above 0"),
        ("displacement(spacing=-1)", "displacement takes spacing of 0 or more, not -1"),
        ("velocity(spacing=-1)", "takes spacing of 0 or more"),
        ("symmetric(spacing=-1)", "takes spacing of 0 or more"),
        ("convex(reach=0)", "convex takes reach above 0, not 0"),
        ("convex(step=-2)", "convex takes step above 0"),
        ("spanning_tree(spacing=inf)", "spanning_tree takes spacing above 0, not inf"),
        ("level(tolerance=-1)", "level takes tolerance of 0 or more"),
        ("level(window=0)", "level takes window above 0"),
    ],
)
def test_impossible_numbers_are_answered_with_what_is_allowed(text, allowed):
    with pytest.raises(ValueError, match=allowed):
        build(text)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("lncc(radios=2)", "radius, floor"),
        ("mse(radius=2)", "nothing"),
        ("velocity(space=4)", "spacing"),
        ("adam(lr=1)", "rate, beta1, beta2"),
    ],
)
def test_an_unknown_argument_is_answered_with_those_that_are_taken(text, accepted):
    with pytest.raises(ValueError, match=f"does not take .*; it takes {accepted}"):
        build(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "lncc.__init__",
        "[mse for _ in (1,)]",
        "(lambda: mse)()",
        "lncc(radius=__import__('os'))",
        "mse if 1 else ncc",
        "lncc(*(1,))",
        "lncc(2)",
        "mse - ncc",
        "mse / 2",
        "mse @ ncc",
        "2**999999999 * mse",
        "f'{mse}'",
        "b'mse'",
        "None",
        "mse; ncc",
        "mse +",
        "",
    ],
)
def test_nothing_but_the_notation_is_understood(text):
    with pytest.raises(ValueError, match=r"cannot read|no part is called|does not take"):
        build(text)


@pytest.mark.parametrize(
    "text",
    [
        "mse + 1",
        "1 + mse",
        "mse*bending",
        "mse + adam",
        "adam + mse",
        "adam*2",
        "mse*'a'",
        "velocity + mse",
        "2",
        "'mse'",
        "adam",
        "velocity",
        "(mse, ncc)",
        "-mse",
    ],
)
def test_what_is_no_sum_of_terms_is_no_objective(text):
    with pytest.raises(ValueError, match=r"cannot read|is not an? "):
        objective(text)


def test_the_wrong_kind_of_part_is_answered_with_the_right_ones():
    with pytest.raises(ValueError, match="'mse' is not a transform; known: affine, bspline"):
        build("mse", Transform)
    with pytest.raises(ValueError, match=r"'velocity' is not an? optimiser; known: adam"):
        build("velocity", Optimiser)


def test_two_parts_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two parts are called 'mse'"):

        @named("mse")
        class Other:
            pass

    assert PARTS["mse"].__name__ == "MSE"


def test_an_objective_is_built_alike_from_text_and_in_python():
    text = objective("lncc(radius=2) + 0.5*mse + 0.1*bending")
    python = build("lncc(radius=2)") + 0.5 * build("mse") + build("bending") * 0.1
    assert isinstance(python, Objective)
    assert python == text
