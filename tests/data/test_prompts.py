"""Prompt files of every kind, and every mistake that can be made in them."""

import json
from pathlib import Path

import pytest

from diffeval.data.prompts import LONGEST, Prompt, read_prompts
from diffeval.errors import DiffevalError


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_lines_are_numbered_without_the_empty_ones(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, "a.txt", "a cat\r\n\n  two dogs, <b>running</b>  \n"))
    assert found == (Prompt("0", "a cat"), Prompt("1", "two dogs, <b>running</b>"))


def test_tables_are_read_by_their_head(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'ID,Prompt,group,seed,negative_prompt\nx,"a, b",animals,7,blur\ny,c,,,\n')
    assert read_prompts(path) == (Prompt("x", "a, b", "blur", "animals", 7), Prompt("y", "c"))
    assert read_prompts(written(tmp_path, "a.tsv", "caption\nan eel\n")) == (Prompt("0", "an eel"),)


def test_partiprompts_table_has_its_groups(tmp_path: Path) -> None:
    path = written(tmp_path, "p.tsv", "Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\t\n")
    assert read_prompts(path) == (Prompt("0", "bond", group="Abstract"),)


def test_json_lines_and_lists(tmp_path: Path) -> None:
    rows = [{"id": 3, "prompt": "a", "seed": 1}, {"id": "k", "prompt": "b", "group": "g"}]
    expected = (Prompt("3", "a", seed=1), Prompt("k", "b", group="g"))
    assert read_prompts(written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))) == expected
    assert read_prompts(written(tmp_path, "a.json", json.dumps(rows))) == expected
    assert read_prompts(written(tmp_path, "b.json", '["x", "y"]')) == (Prompt("0", "x"), Prompt("1", "y"))


def test_cocos_captions_are_ordered_by_image_and_numbered(tmp_path: Path) -> None:
    annotations = [
        {"image_id": 20, "id": 5, "caption": "late "},
        {"image_id": 3, "id": 9, "caption": "second"},
        {"image_id": 3, "id": 8, "caption": "first"},
    ]
    found = read_prompts(written(tmp_path, "captions.json", json.dumps({"images": [], "annotations": annotations})))
    assert found == (
        Prompt("3/0", "first", image="3"),
        Prompt("3/1", "second", image="3"),
        Prompt("20/0", "late", image="20"),
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "\n\n", "a.txt holds none"),
        ("a.md", "x", "a.md ends in none of .txt, .csv"),
        ("a.csv", "id,words\n1,x\n", "has the columns id, words, needs one of prompt, caption, text"),
        ("a.csv", "prompt,id\nx,1\ny,1\n", "1 id occurs twice ('1'); pairing goes by id"),
        ("a.csv", "prompt,id\nx,1\ny,\n", "prompt 2 has no id, where others have one"),
        ("a.csv", "prompt,id\nx\n", "row 1 has not as many fields as the head"),
        ("a.csv", "prompt,id\nx,y,1\n", "row 1 has not as many fields as the head"),
        ("a.csv", "prompt,seed\nx,soon\n", "has the seed 'soon', needs a whole number"),
        ("a.csv", "prompt,id\n,1\n", "prompt '1' is empty; leave it out"),
        ("a.txt", "a\x1b[2Jb", "holds the control character '\\x1b'"),
        ("a.txt", "x" * (LONGEST + 1), "has 10,001 characters, at most 10,000"),
        ("a.jsonl", '{"prompt": "a"}\n{oh\n', "a.jsonl, line 2 is no JSON"),
        ("a.jsonl", '"a"\n', "is a str, needs an object"),
        ("a.json", '[{"prompt": ["a"]}]', "prompt 1 is a list where its text should be"),
        ("a.json", '[{"prompt": "a", "id": "x"}, {"prompt": "b"}]', "prompt 2 has no id, where others have one"),
        ("a.csv", "id;prompt\nx;y\n", "its columns are parted by semicolons, save it with commas"),
        ("a.txt", "a\u202eb", "holds the control character '\\u202e'"),
        ("a.json", '{"images": []}', "neither a list of prompts nor COCO's captions"),
        ("a.json", '{"annotations": [{"caption": "x"}]}', "1 annotations lack image_id or caption"),
        ("a.json", "[" * 100_000, "is no JSON"),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DiffevalError) as caught:
        read_prompts(written(tmp_path, name, text))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


def test_a_file_that_is_none_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match="is no file"):
        read_prompts(tmp_path / "none.txt")
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DiffevalError, match="no UTF-8 text"):
        read_prompts(tmp_path / "a.txt")


def test_characters_that_people_write_are_no_control_characters(tmp_path: Path) -> None:
    found = read_prompts(
        written(tmp_path, "a.txt", "deux\u00a0chats\n\u732b\u3000\u72ac\n\U0001f468\u200d\U0001f469\n")
    )
    assert [one.text for one in found] == ["deux chats", "\u732b \u72ac", "\U0001f468\u200d\U0001f469"]
