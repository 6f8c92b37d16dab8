import pytest

from diffeval.errors import DiffevalError
from diffeval.sweeps.grid import Axis, parse_over, parse_scales, points

PARSERS = {"steps": int, "w": float, "sampler": str, "karras": bool}


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("3", (3.0,)),
        ("1,1.5,2", (1.0, 1.5, 2.0)),
        ("7, 1 ,2:4:0.5", (1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 7.0)),
        # In binary, 1 + 3 * 0.1 is 1.3000000000000003.
        ("1:2:0.1", (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0)),
        ("1:8:3", (1.0, 4.0, 7.0)),
        ("1:2:3", (1.0,)),
        ("2:2:1", (2.0,)),
        ("1,1.0,1:3:1,2e0", (1.0, 2.0, 3.0)),
        ("0", (0.0,)),
    ],
)
def test_scales_are_read_ascending_each_once(text: str, scales: tuple[float, ...]) -> None:
    assert parse_scales(text) == scales


def test_minus_zero_is_zero() -> None:
    assert str(parse_scales("-0")) == "(0.0,)"


def test_a_hundred_points_are_allowed() -> None:
    assert len(parse_scales("0.5:50:0.5")) == 100
    assert len(parse_scales("1:50:1,1:50.5:0.5")) == 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one", "'one' is no number"),
        ("nan", "'nan' is no number"),
        ("snan", "'snan' is no number"),
        ("inf", "'inf' is no number"),
        ("1e400", "'1e400' is no number"),
        ("1e99999999999999999999", "is no number"),
        ("1:x:1", "'x' is no number"),
        ("1::1", "'' is no number"),
        ("", "empty place"),
        ("1,,2", "empty place"),
        ("1:8", "'1:8' is no range"),
        ("1:2:3:4", "'1:2:3:4' is no range"),
        ("1:8:0", "step of '1:8:0' is not above 0"),
        ("8:1:-1", "step of '8:1:-1' is not above 0"),
        ("8:1:1", "'8:1:1' ends before it starts"),
        ("-1,2", "w=-1 is below 0"),
        ("1:102:1", "more than 100 points"),
        ("1:101:1", "more than 100 points"),
        ("0:1e300:1e-300", "more than 100 points"),
        ("0:1:1e-999999", "more than 100 points"),
        ("1:60:1,100:160:1", "more than 100 points"),
    ],
)
def test_scales_that_are_none_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(DiffevalError, match=r"^--scales: ") as caught:
        parse_scales(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_axes_keep_their_order_numbers_ascend_and_words_stay_as_written() -> None:
    axes = parse_over(["sampler=dpm++,ddim,dpm++", "steps=50,5:20:5,5", "w=2,1:1.2:0.1", "karras=true,False"], PARSERS)
    assert axes == (
        Axis("sampler", ("dpm++", "ddim")),
        Axis("steps", (5, 10, 15, 20, 50)),
        Axis("w", (1.0, 1.1, 1.2, 2.0)),
        Axis("karras", (True, False)),
    )
    assert [type(value) for axis in axes for value in axis.values[:1]] == [str, int, float, bool]


def test_ranges_of_whole_numbers_are_whole_however_they_are_written() -> None:
    assert parse_over(["steps=1e2:3.0e2:1e2"], PARSERS)[0].values == (100, 200, 300)


def test_words_may_hold_colons() -> None:
    assert parse_over(["sampler=a:b:c"], PARSERS)[0].values == ("a:b:c",)


def test_a_parser_of_its_own_says_what_is_wrong() -> None:
    def even(text: str) -> int:
        if int(text) % 2:
            raise ValueError("it is odd")
        return int(text)

    assert parse_over(["size=4,2"], {"size": even})[0].values == (4, 2)
    with pytest.raises(DiffevalError, match=r"^--over size: '3' is no value: it is odd$"):
        parse_over(["size=2,3"], {"size": even})


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["steps"], "'steps' has no values"),
        (["steps="], "empty place"),
        (["step=5"], "did you mean 'steps'? known: karras, sampler, steps, w"),
        (["=5"], "unknown setting ''"),
        (["steps=5", "steps=10"], "steps is given twice"),
        (["steps=5.5"], "'5.5' is no whole number"),
        (["steps=1:2:0.5"], "'1.5' is no whole number"),
        (["steps=5:1:1"], "ends before it starts"),
        (["w=high"], "'high' is no number"),
        (["w=inf"], "'inf' is no number"),
        (["karras=yes"], "'yes' is no true or false"),
        (["w=1:60:1,100:160:1"], "more than 100 points"),
    ],
)
def test_axes_that_are_none_are_refused_in_one_line(texts: list[str], said: str) -> None:
    with pytest.raises(DiffevalError, match=r"^--over") as caught:
        parse_over(texts, PARSERS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_grid_turns_its_last_axis_fastest() -> None:
    grid = points(parse_over(["sampler=ddim,dpm++", "steps=5,10"], PARSERS))
    assert grid == (
        {"sampler": "ddim", "steps": 5},
        {"sampler": "ddim", "steps": 10},
        {"sampler": "dpm++", "steps": 5},
        {"sampler": "dpm++", "steps": 10},
    )


def test_without_axes_there_is_one_point_that_sets_nothing() -> None:
    assert points(()) == ({},)
