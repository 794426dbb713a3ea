"""Positions: parsed as Python does, selected and pooled as a naive loop does."""

import random

import pytest
import torch

from traitsteer.maths.positions import Position, pooling_weights
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


def test_pooling_weights_equal_the_mean_of_the_selected_tokens() -> None:
    draw = random.Random(1)
    for text in [*TEXTS, "response[7:1:-2]", "all[-1:-9:-3]", "prompt[-100:100]"]:
        position = Position.parse(text)
        rows = [(draw.randint(4, 9), draw.randint(4, 9), draw.randint(0, 5)) for _ in range(20)]
        prompt, response, starts = (torch.tensor(column) for column in zip(*rows, strict=True))
        length = int((prompt + response + starts).max()) + 2
        names = [f"r{i}" for i in range(20)]
        weights = pooling_weights(position, prompt, response, starts, length, names)
        hidden = torch.randn(20, length, 3)
        pooled = torch.bmm(weights[:, None], hidden)[:, 0]
        for row, (p, r, start) in enumerate(rows):
            tokens = [start + token for token in position.select(p, r, "row")]
            torch.testing.assert_close(pooled[row], hidden[row, tokens].mean(dim=0))
            assert weights[row].count_nonzero() == len(tokens)
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(20))


def test_a_short_response_is_pooled_over_what_there_is() -> None:
    assert Position.parse("response[:10]").select(4, 3, "row") == range(4, 7)


def test_an_empty_selection_names_the_row() -> None:
    position = Position.parse("response[:10]")
    lengths = torch.tensor([3, 3]), torch.tensor([2, 0]), torch.tensor([0, 2])
    with pytest.raises(TraitsteerError, match="evil-7: position response"):
        pooling_weights(position, *lengths, 5, ["evil-6", "evil-7"])


def test_tokens_past_the_batch_name_the_row() -> None:
    lengths = torch.tensor([3]), torch.tensor([2]), torch.tensor([1])
    with pytest.raises(TraitsteerError, match="evil-6: its tokens end at column 6"):
        pooling_weights(Position.parse("all[:]"), *lengths, 5, ["evil-6"])


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
