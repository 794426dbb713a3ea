"""What is said beside numbers that the embedded models or their judge took part in."""

from pathlib import Path

import pytest

from traitsteer.words.pocket_limit import POCKET_LIMIT, not_embedded, pocket_limit

FOLDER = "models/pocket"
PAIR = ("models/pocket/base", "models/pocket/instruct")
OWN = ("org/base", "/data/instruct")


def test_a_model_is_embedded_where_it_lies_in_the_folder_however_it_is_written() -> None:
    inside = (PAIR[0], f"./{PAIR[0]}", str(Path(PAIR[0]).resolve()))
    assert not_embedded(FOLDER, inside) == []
    outside = ["models/pocket2/base", "models/pocket/../own", "meta-llama/Llama-3.1-8B"]
    assert not_embedded(FOLDER, [*inside, *outside, *outside]) == outside
    assert not_embedded("elsewhere/pocket", PAIR) == [*PAIR]


@pytest.mark.parametrize("judge", ["openai", "local", "pocket"])
def test_what_is_said_is_true_of_whoever_took_part(judge: str) -> None:
    of_pair = pocket_limit(FOLDER, PAIR, judge)
    of_own = pocket_limit(FOLDER, OWN, judge)
    of_both = pocket_limit(FOLDER, (PAIR[0], OWN[1]), judge)
    judged = "its scores of what {} wrote measure no trait"
    assert of_pair is not None and of_both is not None
    for said in (of_pair, of_both):
        assert said.startswith("Tiny networks trained on generated text")
        assert "no evidence for or against any claim about a real model" in said
    assert "(models/pocket/base)" in of_both
    if judge == "pocket":
        assert of_pair == POCKET_LIMIT
        assert of_own is not None and "Tiny networks" not in of_own
        assert judged.format("org/base and /data/instruct") in of_own
        assert judged.format("/data/instruct") in of_both
    else:
        assert of_own is None
        assert "(models/pocket/base and models/pocket/instruct)" in of_pair
        assert "judge learned" not in of_pair and "embedded judge" not in of_pair + of_both
