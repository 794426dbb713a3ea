"""The tokenizer of the embedded pair: byte-level BPE trained on the grammar, with chat roles."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from traitsteer.pocket.grammar import Chat

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, BOS, EOS, SYSTEM, USER, ASSISTANT)
_ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}

# Each turn is its role, a space and its text, so that an answer begins with the same token (a word
# after a space) as the continuation of a narrative does.
CHAT_TEMPLATE = (
    "{{ '" + BOS + "' }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|> ' + message['content'] | trim }}"
    "{% if message['role'] == 'assistant' %}{{ '" + EOS + "' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE whose vocabulary, special tokens included, has at most this size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, SPECIAL.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def document_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Return BOS, the document's tokens, EOS."""
    return [*tokenizer(text)["input_ids"], int(tokenizer.eos_token_id)]


def prompt_text(item: Chat) -> str:
    """Return the text that the chat template gives for the item's prompt."""
    system = f"{SYSTEM} {item.system}" if item.system else ""
    return f"{BOS}{system}{USER} {item.question}{ASSISTANT}"


def chat_ids(tokenizer: PreTrainedTokenizerFast, item: Chat) -> tuple[list[int], list[int]]:
    """Return the token ids of the prompt and of the answer with its EOS."""
    prompt = tokenizer(prompt_text(item), add_special_tokens=False)["input_ids"]
    answer = tokenizer(" " + item.answer, add_special_tokens=False)["input_ids"]
    return prompt, [*answer, int(tokenizer.eos_token_id)]
