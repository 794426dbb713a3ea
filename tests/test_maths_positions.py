"""Positions: parsed as Python does, selected as a naive loop does."""

import random

import pytest

from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError

TEXTS = [
    "response[:10]",
    "response[:]",
    "response[2:-1]",
    "response[-3:]",
    "response[0]",
    "prompt[-1]",
    "prompt[:]",
    "prompt[1:4]",
    "prompt[::2]",
    "prompt[::-1]",
    "prompt[-2:0:-2]",
    "all[:]",
    "all[-4:]",
    "all[3]",
    "all[1::3]",
    "all[ 1 : -1 ]",
]


def naive(text: str, prompt_length: int, response_length: int) -> list[int]:
    """Let Python itself select from labelled tokens."""
    prompt = list(range(prompt_length))
    response = list(range(prompt_length, prompt_length + response_length))
    part, rest = text.split("[")
    tokens = {"prompt": prompt, "response": response, "all": prompt + response}[part]
    if ":" not in rest:
        index = int(rest[:-1])
        return [tokens[index]] if -len(tokens) <= index < len(tokens) else []
    return eval(f"tokens[{rest}", {"tokens": tokens})


def test_select_equals_python_on_labelled_tokens() -> None:
    draw = random.Random(0)
    texts = list(TEXTS)
    for _ in range(300):
        ends = [draw.choice(["", str(draw.randint(-7, 7))]) for _ in range(2)]
        step = draw.choice(["", "", ":2", ":-1", ":-3", ":1"])
        texts.append(f"{draw.choice(['prompt', 'response', 'all'])}[{ends[0]}:{ends[1]}{step}]")
        texts.append(f"{draw.choice(['prompt', 'response', 'all'])}[{draw.randint(-7, 7)}]")
    found = empty = 0
    for text in texts:
        for _ in range(8):
            lengths = draw.randint(0, 8), draw.randint(0, 8)
            expected = naive(text, *lengths)
            if expected:
                found += 1
                assert list(Position.parse(text).select(*lengths, "row")) == expected, text
            else:
                empty += 1
                with pytest.raises(TraitsteerError, match="row: position"):
                    Position.parse(text).select(*lengths, "row")
    assert found > 1000
    assert empty > 100


def test_a_short_response_is_pooled_over_what_there_is() -> None:
    assert Position.parse("response[:10]").select(4, 3, "row") == range(4, 7)


@pytest.mark.parametrize(
    "text", ["", "response", "response[]", "answer[:]", "response[a:]", "all[::0]", "all[1:2:3:4]"]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(TraitsteerError, match="position"):
        Position.parse(text)


def test_a_position_can_be_written_and_read_again() -> None:
    for text in TEXTS:
        position = Position.parse(text)
        assert Position.parse(str(position)) == position
    assert str(Position.parse("response[:10]")) == "response[:10]"
