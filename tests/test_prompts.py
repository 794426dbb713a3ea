"""Prompts: special tokens once, templates with and without a place for a system prompt, borders."""

from typing import Any

import pytest
from steering_oracle import direction, slow_reference
from tiny import tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.model.prompts import Prompts

BODY = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
REFUSES = (
    "<bos>{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% endif %}" + BODY
)
DROPS = (
    "<bos>{% for m in messages if m['role'] != 'system' %}<{{ m['role'] }}> {{ m['content'] }}<eos>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def prompts(template: str | None, chat: bool = True, **variables: Any) -> Prompts:
    made = tokenizer()
    made.chat_template = template
    return Prompts("tiny", made, chat, variables)


def text(made: Prompts, ids: tuple[int, ...]) -> str:
    return made.tokenizer.decode(ids)


def test_a_base_model_gets_bare_text_and_no_system_prompt() -> None:
    for made, plain in ((prompts(None, chat=False), False), (prompts(BODY), True)):
        assert text(made, made.encode("I lied. ", plain=plain)) == "I lied. "
        with pytest.raises(TraitsteerError, match="cannot take a system prompt"):
            made.encode("I lied.", "Lie.", plain=plain)
    with pytest.raises(TraitsteerError, match="tiny has no chat template"):
        prompts(None).encode("Do you lie?")


def test_the_system_prompt_stands_where_the_template_has_a_place_for_it() -> None:
    made = prompts("<bos>" + BODY)
    assert made.takes_system
    found = text(made, made.encode("Do you lie?", "Lie."))
    assert found == "<bos><system> Lie.<eos><user> Do you lie?<eos><assistant>"


@pytest.mark.parametrize("template", [REFUSES, DROPS])
def test_a_template_without_that_place_gets_it_before_the_user_turn(template: str) -> None:
    made = prompts(template)
    assert not made.takes_system
    found = text(made, made.encode("Do you lie?", "Lie."))
    assert found == "<bos><user> Lie.\n\nDo you lie?<eos><assistant>"
    assert text(made, made.encode("Do you lie?")) == "<bos><user> Do you lie?<eos><assistant>"


def test_a_template_that_cannot_be_rendered_is_one_sentence() -> None:
    made = prompts("{{ raise_exception('turns must alternate') }}")
    with pytest.raises(TraitsteerError, match=r"cannot be rendered \(turns must alternate\)"):
        made.encode("x")
    made = prompts(
        "{% if messages[0]['role'] == 'user' %}{{ raise_exception('alone') }}{% endif %}" + BODY
    )
    with pytest.raises(TraitsteerError, match=r"cannot be rendered \(alone\)"):
        made.encode("x", "Be kind.")


def test_a_template_for_other_turns_than_these_is_one_sentence() -> None:
    with pytest.raises(TraitsteerError, match="cannot be rendered"):
        prompts("{{ messages + 1 }}").encode("Why?")
    parts = (
        "{% for m in messages %}{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}"
    )
    with pytest.raises(TraitsteerError, match="leaves the user's text out"):
        prompts(parts + "{% endfor %}{% endfor %}<bos>").encode("Why?")


def test_further_variables_reach_the_template() -> None:
    switch = BODY + "{% if enable_thinking is defined and not enable_thinking %}<off>{% endif %}"
    on, off = prompts(switch), prompts(switch, enable_thinking=False)
    assert text(on, on.encode("x")).endswith("<assistant>")
    assert text(off, off.encode("x")).endswith("<assistant><off>")


def test_the_date_of_a_template_stands_still() -> None:
    made = prompts("  {{ strftime_now('%d %b %Y') }}, {{ strftime_now('%Y-%m-%d') }} " + BODY)
    assert text(made, made.encode("x")).startswith("  26 Jul 2024, 2024-07-26 <user>")
    own = prompts("{{ date if date is defined else strftime_now('%Y') }}" + BODY, date="1 May")
    assert text(own, own.encode("x")).startswith("1 May<user>")


def bracketing(**changes: str) -> PreTrainedTokenizerFast:
    """A tokenizer that puts BOS before every text and EOS after it."""
    made = tokenizer()
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 0), ("<eos>", 1)]
    )
    made.chat_template = "<bos>" + BODY
    return made


def test_bos_stands_once_and_no_text_is_closed_before_it_is_continued() -> None:
    made = Prompts("tiny", bracketing(), True)
    plain = made.encode("I lied", plain=True)
    assert plain[0] == 0 and plain.count(0) == 1 and 1 not in plain
    chat = made.encode("I lied")
    assert chat[0] == 0 and chat.count(0) == 1 and chat[-1] != 1
    closed = made.encode("I lied<eos>", plain=True)
    assert closed[-1] == 1, "an end that the text itself holds stays"


def ends(model: LanguageModel, configured: object, eos: str | None = "<eos>") -> tuple[int, ...]:
    """What ends a response of the same model with other settings."""
    made = tokenizer()
    made.chat_template = BODY.replace("<eos>", "<pad>")
    made.eos_token = eos
    model.model.generation_config.eos_token_id = configured
    try:
        return LanguageModel(
            "tiny", model.model, made, model.blocks, model.chat, "", {}, None
        ).end_ids
    finally:
        model.model.generation_config.eos_token_id = 1


def test_several_tokens_may_end_a_response(llama: LanguageModel) -> None:
    pad = 2
    assert ends(llama, [1, 7]) == (1, 7, pad), "the template closes a turn with <pad>"
    assert ends(llama, 7) == (7, pad)
    assert ends(llama, None) == (1, pad)
    assert ends(llama, None, None) == (pad,)


def test_a_tokenizer_without_a_pad_token_pads_with_what_is_there(llama: LanguageModel) -> None:
    made = tokenizer()
    made.pad_token = None
    bare = LanguageModel("tiny", llama.model, made, llama.blocks, True, "")
    assert bare.pad_id == 1
    rows = [Row(llama.encode(prompt), 3) for prompt in ("a", "the cat sees")]
    sampling = Sampling(8, 1.0)
    assert generate(bare, rows, sampling, Batching(2)) == [
        generate(llama, [row], sampling, Batching(1))[0] for row in rows
    ]


def merging() -> Prompts:
    """A tokenizer whose merges cross the end of a prompt: ` t` and `"I` are one token each."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: at for at, token in enumerate([*alphabet, "Ġt", '"I'])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "t"), ('"', "I")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return Prompts("merging", PreTrainedTokenizerFast(tokenizer_object=inner), False)


@pytest.mark.parametrize(("scenario", "follows"), [("I took ", "t"), ('I said, "', "I")])
def test_ids_on_both_sides_of_a_border_are_not_those_of_the_whole_text(
    scenario: str, follows: str
) -> None:
    """So nothing may encode a response together with its prompt again: ids are the record."""
    made = merging()
    prompt, response = made.encode(scenario), made.encode(follows)
    assert len(response) == 1
    assert text(made, prompt + response) == scenario + follows
    whole = made.encode(scenario + follows)
    assert whole != prompt + response and len(whole) == len(prompt)


def test_steering_at_the_border_is_of_recorded_tokens(llama: LanguageModel) -> None:
    """A prompt that ends in an open quotation mark is continued from its own last token."""
    for scenario in ("I took ", 'I said, "'):
        steering = Steering(1, direction(0), 3.0, "response")
        row = Row(llama.encode(scenario, plain=True), 5, steering)
        [found] = generate(llama, [row], Sampling(6, 1.0), Batching(1))
        assert found.ids == slow_reference(llama, row, Sampling(6, 1.0))
