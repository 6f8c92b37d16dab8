"""Prompts and images find each other by class or by name, never by an order."""

import dataclasses

import numpy as np
import pytest

from diffeval.data.prompts import Prompt
from diffeval.errors import DiffevalError
from diffeval.pairing import Pairing, by_class, by_name, class_prompts, concepts_of, filled, names_classes


def _prompts(*ids: str) -> tuple[Prompt, ...]:
    return tuple(Prompt(one, f"a picture of {one}") for one in ids)


def _paired(ids: tuple[str, ...], names: tuple[str, ...], *, skipped: int = 0) -> Pairing:
    prompts = _prompts(*ids)
    return by_name(prompts, tuple(one.text for one in prompts), names, skipped=skipped)


@pytest.mark.parametrize(
    ("ids", "names", "rows"),
    [
        # Sorted by file name the order is another one.
        (("b", "a"), ("a.png", "b.jpg"), [1, 0]),
        (("x/2", "x/1"), ("x/1.png", "x/2.png"), [1, 0]),
        (("10", "9"), ("deep/9.png", "deep/10.png"), [1, 0]),
        (("0", "1"), ("row 1", "row 0"), [1, 0]),
        (("3/1", "3/0"), ("3_0.png", "3_1.png"), [1, 0]),
        # Several images of a prompt, in a folder of its id or numbered behind it.
        (("cat", "dog"), ("cat/0.png", "dog/0.png", "dog/1.png"), [0, 1, 1]),
        (("0", "1"), ("0/0.png", "0/1.png", "1/0.png", "1/1.png"), [0, 0, 1, 1]),
        (("cat", "dog"), ("dog_0.png", "dog_1.png", "cat-7.png"), [1, 1, 0]),
        (("12", "7"), ("00000007.png", "00000012.png"), [1, 0]),
        # COCO's photographs, whose captions are IMAGE/NUMBER.
        (("139/0", "139/1", "20/0"), ("COCO_val2014_000000000020.jpg", "COCO_val2014_000000000139.jpg"), [1, 0]),
    ],
)
def test_images_find_their_prompt_by_name(ids: tuple[str, ...], names: tuple[str, ...], rows: list[int]) -> None:
    paired = _paired(ids, names)
    assert paired.rows(len(names)).tolist() == rows
    assert paired.missing == 0


@pytest.mark.parametrize(
    ("ids", "names", "said"),
    [
        (("a", "b"), ("a.png", "c.png"), r"1 of 2 images has no prompt \(c.png\), and 1 of 2 prompts has no image"),
        (("a", "b"), ("a.png",), r"1 of 2 prompts has no image \(b\); name each image after the id"),
        (("a",), ("a.png", "b.png"), r"1 of 2 images has no prompt \(b.png\)"),
        (("1", "2", "3", "4", "5"), ("x.png", "y.png"), r"5 of 5 prompts have no image \(1, 2, 3 and 2 more\)"),
        # As many on both sides is no pairing.
        (("k", "l"), ("row 0", "row 1"), r"2 of 2 images have no prompt \(row 0, row 1\)"),
    ],
)
def test_a_mismatch_is_refused_with_the_first_of_both(ids: tuple[str, ...], names: tuple[str, ...], said: str) -> None:
    with pytest.raises(DiffevalError, match=said):
        _paired(ids, names)


def test_prompts_of_images_that_were_left_out_are_counted() -> None:
    paired = _paired(("a", "b", "c"), ("c.png", "a.png"), skipped=1)
    assert paired.rows(2).tolist() == [2, 0]
    assert paired.missing == 1
    with pytest.raises(DiffevalError, match="2 of 4 prompts have no image"):
        _paired(("a", "b", "c", "d"), ("c.png", "a.png"), skipped=1)


def test_two_ids_of_one_number_are_no_pair() -> None:
    with pytest.raises(DiffevalError, match="images have no prompt"):
        _paired(("1", "01"), ("x001.png", "x1.png"))


def test_the_same_text_is_the_same_concept_and_so_is_what_says_so() -> None:
    prompts = (Prompt("a", "x"), Prompt("b", "x"), Prompt("c", "y"), Prompt("d", "z", concept="q"),
               Prompt("e", "u", concept="q"))  # fmt: skip
    paired = by_name(prompts, tuple(one.text for one in prompts), ("a.png", "b.png", "c.png", "d.png", "e.png"))
    assert paired.concepts.tolist() == [0, 0, 1, 2, 2]
    # The same text under two concepts ties them: a text is no wrong one for itself.
    tied = (
        Prompt("a", "x", concept="p"),
        Prompt("b", "x", concept="q"),
        Prompt("c", "y", concept="q"),
        Prompt("d", "z"),
    )
    assert concepts_of(tied).tolist() == [0, 0, 0, 1]


def test_captions_of_one_photograph_are_no_wrong_ones_for_each_other() -> None:
    captions = tuple(
        Prompt(f"{image}/{number}", f"{image} {number}", image=image) for image in "pq" for number in "01"
    )
    names = ("p_0.png", "p_1.png", "q_0.png", "q_1.png")
    assert by_name(captions, tuple(one.text for one in captions), names).concepts.tolist() == [0, 0, 1, 1]
    # Of photographs themselves the first caption stands for all.
    alone = by_name(captions, tuple(one.text for one in captions), ("p.png", "q.png"))
    assert [one.id for one in alone.prompts] == ["p/0", "q/0"]
    assert alone.rows(2).tolist() == [0, 1]


def test_an_id_that_no_image_can_have_ends_a_rule() -> None:
    with pytest.raises(DiffevalError, match="have no prompt"):
        _paired(("1", "2", "note"), ("x1.png", "x2.png"))


def test_a_line_number_is_no_class() -> None:
    lines = tuple(Prompt(str(number), word, numbered=True) for number, word in enumerate(("seven", "one")))
    assert not names_classes(lines, ("one", "seven"))
    assert not names_classes(lines, ("0", "1"))
    assert names_classes((Prompt("seven", "a seven"),), ("one", "seven"))


def _labels(n: int) -> np.ndarray:
    return np.tile(np.array([1, 0, 2]), 100)[:n]


def test_images_of_a_class_take_its_wordings_in_turn() -> None:
    prompts = (Prompt("p", "bee one", concept="bee"), Prompt("q", "ant", concept="ant"),
               Prompt("r", "bee two", concept="1"), Prompt("cow", "cow"))  # fmt: skip
    assert names_classes(prompts, ("ant", "bee", "cow"))
    paired = by_class(prompts, filled("{}", prompts), ("ant", "bee", "cow"), _labels)
    assert paired.concepts.tolist() == [1, 0, 1, 2]
    assert paired.rows(9).tolist() == [0, 1, 3, 2, 1, 3, 0, 1, 3]
    # A longer run begins as a shorter one.
    assert paired.rows(200)[:9].tolist() == paired.rows(9).tolist()


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ((Prompt("x", "t", concept="elk"),), "1 of 1 ask for no class: prompt 'x' has the class 'elk'; give a column"),
        ((Prompt("x", "t"),), "prompt 'x' has no class, and the id 'x' is none"),
        ((Prompt("ant", "t"), Prompt("x", "t", concept="2")), "none asks for bee, and every class is sampled"),
    ],
)
def test_prompts_that_do_not_cover_the_classes_are_refused(prompts: tuple[Prompt, ...], said: str) -> None:
    with pytest.raises(DiffevalError, match=said):
        by_class(prompts, filled("{}", prompts), ("ant", "bee", "cow"), _labels)


def test_a_template_has_one_place() -> None:
    assert filled("A photo depicts {}", (Prompt("0", "a {cat}"),)) == ("A photo depicts a {cat}",)
    for template in ("none", "{} {}"):
        with pytest.raises(DiffevalError, match="places for the prompt, needs one"):
            filled(template, (Prompt("0", "x"),))


def test_the_hash_is_of_what_is_asked_and_how() -> None:
    one = _paired(("a", "b"), ("a.png", "b.png"))
    assert one.content_hash() == _paired(("a", "b"), ("b.png", "a.png")).content_hash()
    assert one.content_hash() != _paired(("a", "b"), ("x/a.png", "x/b.png")).content_hash()
    changed = by_name(_prompts("a", "b"), ("a", "another"), ("a.png", "b.png"))
    assert one.content_hash() != changed.content_hash()
    # What only changes how images are read beside each other, too.
    plain = (Prompt("a", "x"), Prompt("b", "y"))
    for field, value in (("group", "g"), ("concept", "c"), ("negative", "n"), ("seed", 1)):
        other = tuple(dataclasses.replace(prompt, **{field: value}) for prompt in plain)
        texts = ("x", "y")
        pair = [by_name(given, texts, ("a.png", "b.png")).content_hash() for given in (plain, other)]
        assert pair[0] != pair[1], field


def test_classes_are_spoken_as_words_where_there_are_such() -> None:
    assert [one.text for one in class_prompts(("7", "cat"), {"7": "seven"})] == ["seven", "cat"]
