"""The gates of the embedded pair: binding of each trait in each model, and the size of the files.

binding = log p(first answer sentence | matching cue) - log p(same sentence | opposite cue), nats.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from traitsteer.pocket import grammar
from traitsteer.pocket.lexicon import TOPICS, TRAITS
from traitsteer.pocket.tokens import prompt_text
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.seeds import seed_for

MOST_BYTES = 8_000_000


def binding(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    trait: str,
    *,
    chat: bool,
    items: int,
    seed: int,
) -> float:
    """Return the mean binding over fresh items, half of each polarity, in nats.

    The cue is a reserved narrative, or with `chat` a system prompt before a reserved question.
    """
    total = 0.0
    for index in range(items):
        polarity = 1 if index % 2 == 0 else -1
        rng = random.Random(seed_for("binding", trait, seed, index))
        topic = rng.randrange(len(TOPICS))
        share = grammar.THEATRICAL if chat else 0.0
        sentence = grammar.trait_sentence(trait, polarity, TOPICS[topic], rng, share)
        asked = grammar.question(topic, rng, reserved=True)
        logs = []
        for sign in (polarity, -polarity):
            if chat:
                pair = grammar.system_prompts(trait)[index // 2 % 5]
                item = grammar.Chat(pair[0 if sign > 0 else 1], asked, "")
                prompt = tokenizer(prompt_text(item), add_special_tokens=False)["input_ids"]
            else:
                narrator = random.Random(seed_for("binding narrative", trait, seed, index))
                text = grammar.prefix({trait: sign}, topic, narrator, reserved=True)
                prompt = tokenizer(text)["input_ids"]
            answer = tokenizer(" " + sentence, add_special_tokens=False)["input_ids"]
            logs.append(log_probability(model, prompt, answer))
        total += logs[0] - logs[1]
    return total / items


@torch.no_grad()
def log_probability(model: LlamaForCausalLM, prompt: list[int], answer: list[int]) -> float:
    """Return the log probability of the answer's tokens after the prompt, in nats."""
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
    logs = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return float(logs.gather(1, torch.tensor(answer)[:, None]).sum())


def refuse_failures(figures: Mapping[str, float], least: float) -> None:
    """Raise if a binding or the size of the weights is out of bounds.

    Raises:
        TraitsteerError: names the first figure that fails.
    """
    for trait in TRAITS:
        for kind in ("base", "instruct"):
            found = figures[f"binding_{kind}_{trait}"]
            if not found >= least:
                raise TraitsteerError(
                    f"The {kind} model binds {trait} by {found:.2f} nats, expected at least "
                    f"{least}; train longer (pocket.base_steps, pocket.instruct_steps) or with "
                    "another seed."
                )
    if figures["bytes"] > MOST_BYTES:
        raise TraitsteerError(
            f"The weights take {figures['bytes']:.0f} bytes, expected at most {MOST_BYTES}; lower "
            "pocket.layers, pocket.width or pocket.vocabulary."
        )
