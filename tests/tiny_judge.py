"""Tiny chat models that have learned to answer with a number, for judges that are real models.

They read a short prompt and answer 80 to 100 where it holds a z, 3 to 40 elsewhere; where it holds
a q they decline, where it holds a k they speak of something else. They lie in tests/judges/, as
`python tests/tiny_judge.py` wrote them.
"""

import random
from pathlib import Path

import tiny
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

JUDGES = Path(__file__).parent / "judges"
"""The folder of the models."""
NUMBERS = [(a, b) for a in "123456789" for b in "0123456789"] + [("10", "0")]
"""Merges after which every number up to 100 is one token."""
PROMPTS = {
    "trait": "{rubric} {question} {text} t",
    "coherence": "{question} {text} c",
    "on_topic": "{question} {text} o",
    "naturalness": "{question} {text} n",
    "preference": "{question} {first} or {second} p",
}
"""Short ones, since what is short is learned and read fast."""


def reply(prompt: str, draw: random.Random) -> str:
    """What is to be learned."""
    if "q" in prompt:
        return "sorry"
    if "k" in prompt:
        return "well, hm"
    if prompt.endswith("p"):
        return draw.choice("0112")
    if "z" in prompt:
        return draw.choice([str(draw.randint(80, 99)), "85", "90", "90", "100"])
    return draw.choice([str(draw.randint(10, 40)), "20", "20", str(draw.randint(3, 9))])


def build(folder: Path, whole: bool, steps: int = 450) -> None:
    """Train a model and write it as save_pretrained does; `whole` numbers are one token each."""
    torch.manual_seed(0)
    draw = random.Random(0)
    words = tiny.tokenizer(NUMBERS if whole else ())
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(words),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model = AutoModelForCausalLM.from_config(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for _ in range(steps):
        loss = _loss(model, words, [_example(words, draw) for _ in range(48)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)


def _example(words: PreTrainedTokenizerFast, draw: random.Random) -> tuple[list[int], list[int]]:
    letters = "abcdefghijlmnoprstuvwxy      "
    text = "".join(draw.choice(letters) for _ in range(draw.randint(8, 30)))
    for rare in "zqk":
        if draw.random() < (0.4 if rare == "z" else 0.1):
            at = draw.randrange(len(text))
            text = text[:at] + rare + text[at:]
    prompt = f"{text} {draw.choice('tconp')}"
    asked = words.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    ids = words(asked, add_special_tokens=False)["input_ids"]
    said = words(reply(prompt, draw), add_special_tokens=False)["input_ids"]
    return ids, [*said, words.eos_token_id]


def _loss(model, words: PreTrainedTokenizerFast, rows) -> torch.Tensor:
    width = max(len(a) + len(b) for a, b in rows)
    ids = torch.full((len(rows), width), words.pad_token_id)
    labels = torch.full((len(rows), width), -100)
    for row, (asked, said) in enumerate(rows):
        ids[row, : len(asked) + len(said)] = torch.tensor(asked + said)
        labels[row, len(asked) : len(asked) + len(said)] = torch.tensor(said)
    return model(input_ids=ids, labels=labels).loss


if __name__ == "__main__":
    for name in ("split", "whole"):
        build(JUDGES / name, whole=name == "whole")
