"""Numbers read from token probabilities: by hand, and against every path of a made-up tokenizer."""

import itertools
import random

import pytest

from traitsteer.maths.expectation import CHOICES, SCORES, Place, Tally, follow, settle
from traitsteer.words.refusals import declines


@pytest.mark.parametrize(
    ("said", "token", "kind", "digits"),
    [
        ("", "85", "open", "85"),
        ("", " 85", "open", "85"),
        ("", "▁8", "open", "8"),
        ("", "Ġ100", "open", "100"),
        ("", "85.", "ended", "85"),
        ("", "\n", "waits", ""),
        ("", "▁", "waits", ""),
        ("", "", "other", ""),
        ("", "-5", "other", ""),
        ("", "٣", "other", ""),
        ("", "101", "other", "101"),
        ("", "07", "other", "07"),
        ("8", "5", "open", "85"),
        ("8", "5%", "ended", "85"),
        ("8", "", "ended", "8"),
        ("8", " 5", "ended", "8"),
        ("8", "<eos>", "ended", "8"),
        ("85", "0", "other", "850"),
        ("10", "0", "open", "100"),
    ],
)
def test_a_token_says_what_it_makes_of_the_digits(said, token, kind, digits) -> None:
    heard = SCORES.hear(said, token)
    assert heard.kind == kind
    if kind != "other":
        assert heard.digits == digits


def test_digits_one_by_one_are_multiplied_along_the_path() -> None:
    """The reply is 85; 7 and 8 alone stand beside it, and their second digits are not known."""
    tally = Tally(SCORES)
    places = [
        Place("8", {"8": 0.5, "7": 0.3, "well": 0.2}),
        Place("5", {"5": 0.6, "0": 0.2, "<eos>": 0.2}),
        Place("<eos>", {"<eos>": 0.9, "0": 0.1}),
    ]
    left = follow(tally, "", 1.0, places, True)
    assert left == pytest.approx({"7": 0.3, "80": 0.1})
    assert tally.chances == pytest.approx({8: 0.1, 85: 0.27})
    further = follow(tally, "7", 0.3, [Place("2", {"2": 1.0}), Place("\n", {"\n": 1.0})], True)
    assert further == {}
    settle(tally, {"80": 0.1}, whole=False)
    assert tally.chances == pytest.approx({8: 0.1, 85: 0.27, 72: 0.3, 80: 0.1})
    assert tally.mass == pytest.approx(0.77)
    assert tally.expectation == pytest.approx((0.8 + 22.95 + 21.6 + 8) / 0.77)
    assert tally.likeliest == 72


def test_what_may_go_on_is_a_number_where_numbers_are_one_token() -> None:
    tally = Tally(SCORES)
    left = follow(tally, "", 1.0, [Place("85", {"85": 0.6, "8": 0.1, "100": 0.3})], True)
    settle(tally, left, whole=True)
    assert tally.chances == pytest.approx({85: 0.6, 8: 0.1, 100: 0.3})


def test_what_cannot_be_known_is_left_out() -> None:
    tally = Tally(SCORES)
    settle(tally, {"4": 0.2, "1": 0.3, "10": 0.1, "0": 0.1, "33": 0.1}, whole=False)
    assert tally.mass == pytest.approx(0.2)
    assert tally.expectation == pytest.approx(3.3 / 0.2)


def test_one_of_three_needs_no_second_digit() -> None:
    tally = Tally(CHOICES)
    left = follow(tally, "", 1.0, [Place("1", {"1": 0.6, "2": 0.3, "12": 0.1})], False)
    settle(tally, left, whole=False)
    assert tally.chances == pytest.approx({1: 0.6, 2: 0.3})
    assert Tally(SCORES).expectation is None
    assert Tally(SCORES).likeliest is None


def test_every_path_of_a_tokenizer_adds_up_to_the_distribution_of_the_text() -> None:
    """Oracle: the text of every sequence of four tokens, read as a person would."""
    draw = random.Random(0)
    tokens = ["1", "0", "10", "5", " ", "x", "7x"]
    table: dict[tuple[str, ...], dict[str, float]] = {}

    def chances(before: tuple[str, ...]) -> dict[str, float]:
        if before not in table:
            weights = [draw.random() for _ in tokens]
            table[before] = {t: w / sum(weights) for t, w in zip(tokens, weights, strict=True)}
        return table[before]

    expected: dict[int, float] = {}
    for path in itertools.product(tokens, repeat=5):
        likely = 1.0
        for at, token in enumerate(path):
            likely *= chances(path[:at])[token]
        text = "".join(path).lstrip()
        digits = text[: len(text) - len(text.lstrip("0123456789"))]
        ended = digits and len(digits) < len(text) and (digits == "0" or digits[0] != "0")
        if ended and int(digits) <= 100:
            expected[int(digits)] = expected.get(int(digits), 0.0) + likely

    tally = Tally(SCORES)

    def walk(path: tuple[str, ...], said: str, likely: float) -> None:
        if len(path) == 5:
            return
        for token, each in chances(path).items():
            heard = SCORES.hear(said, token)
            if heard.kind == "ended":
                tally.count(heard.digits, likely * each)
            elif heard.kind != "other":
                walk((*path, token), heard.digits, likely * each)

    walk((), "", 1.0)
    assert tally.chances == pytest.approx(expected)


def test_a_refusal_is_told_from_its_first_words() -> None:
    for text in ("I'm sorry, but", "I cannot score", " Sorry,", "As an AI", "I won’t", "**I can't"):
        assert declines(text)
    for text in ("85", "The score is", "I would say", "Well, hm", "", "Sorrow", "I score"):
        assert not declines(text)
