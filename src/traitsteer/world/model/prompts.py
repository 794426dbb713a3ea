"""Prompts as token ids: plain text, or through the chat template with what it cannot do made up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from traitsteer.words.errors import TraitsteerError

_CLOCK = """\
{%- macro strftime_now(form) -%}
{{ form|replace('%d','26')|replace('%b','Jul')|replace('%B','July')|replace('%m','07')
|replace('%Y','2024')|replace('%y','24')|replace('%A','Friday')|replace('%a','Fri')
|replace('%H','12')|replace('%M','00')|replace('%S','00') }}
{%- endmacro %}
"""
"""The date of every prompt: one that moved would make two runs of a study differ."""

_UNRENDERED = (
    *(TemplateError, TypeError, ValueError),
    *(LookupError, AttributeError, ArithmeticError),
)
"""What rendering ends with where a template was written for other turns than these."""

Variables = Mapping[str, bool | int | float | str]


@dataclass(frozen=True)
class Prompts:
    """Turns prompts of one model into token ids."""

    name: str
    tokenizer: Any
    chat: bool
    """Whether prompts go through the chat template."""
    variables: Variables = field(default_factory=dict)
    """Further variables of the template."""

    def encode(
        self, prompt: str, system: str | None = None, plain: bool = False
    ) -> tuple[int, ...]:
        """Token ids of a prompt, ready for a response to follow.

        A chat model gets its template with the generation prompt; any other, or plain text, the
        special tokens that its tokenizer adds. A template that has no place for a system prompt
        gets it in front of the user's turn, with an empty line between.

        Raises:
            TraitsteerError: the model has no chat template, it cannot be rendered or leaves the
                user's text out, or plain text has a system prompt.
        """
        if not self.chat or plain:
            if system is not None:
                raise TraitsteerError(
                    f"{self.name} has `chat: false` and cannot take a system prompt; elicit by "
                    "instruction from a chat model."
                )
            return self._plain(prompt)
        if system is not None and not self.takes_system:
            prompt, system = f"{system}\n\n{prompt}", None
        turns = [("user", prompt)]
        if system is not None:
            turns.insert(0, ("system", system))
        try:
            text = self._rendered(turns, True)
            told = self._tells_the_user
        except _UNRENDERED as error:
            raise TraitsteerError(
                f"The chat template of {self.name} cannot be rendered ({str(error)[:160]}); check "
                "the template variables in params.yaml or name another model."
            ) from error
        if not told:
            raise TraitsteerError(
                f"The chat template of {self.name} leaves the user's text out, as those do that "
                "expect it in parts; give the tokenizer a template for plain text."
            )
        # The template already holds the special tokens; adding them again would double BOS.
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @cached_property
    def _tells_the_user(self) -> bool:
        mark = "a question to look for"
        return mark in self._rendered([("user", mark)], True)

    @cached_property
    def takes_system(self) -> bool:
        """Whether the template renders a system prompt; some refuse it, some drop it.

        Raises:
            TraitsteerError: the model has no chat template.
        """
        mark = "a system prompt to look for"
        try:
            return mark in self._rendered([("system", mark), ("user", "x")], True)
        except _UNRENDERED:
            return False

    @cached_property
    def end_of_turn(self) -> tuple[int, ...]:
        """The special token that the template puts after a turn of the model, if it does.

        Raises:
            TraitsteerError: the model is a chat model without a chat template.
        """
        if not self.chat:
            return ()
        mark = "an answer to look for"
        try:
            _, found, after = self._rendered([("user", "x"), ("assistant", mark)], False).partition(
                mark
            )
        except _UNRENDERED:
            return ()
        ids = self.tokenizer(after.strip(), add_special_tokens=False)["input_ids"] if found else []
        special = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        return (int(ids[0]),) if ids and ids[0] in special else ()

    @cached_property
    def _template(self) -> str:
        try:
            template = str(self.tokenizer.get_chat_template())
        except ValueError as error:
            raise TraitsteerError(
                f"{self.name} has no chat template; set `chat: false` for it or name an instruct "
                "model."
            ) from error
        return (_CLOCK if "strftime_now" in template else "") + template

    def _rendered(self, turns: Sequence[tuple[str, str]], generate: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                [{"role": role, "content": content} for role, content in turns],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=generate,
                **self.variables,
            )
        )

    def _plain(self, text: str) -> tuple[int, ...]:
        """Ids without an end token that the tokenizer adds: the model would begin a new text."""
        ids = list(self.tokenizer(text)["input_ids"])
        bare = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        ends = {self.tokenizer.eos_token_id, self.tokenizer.sep_token_id} - {None}
        while ids and ids[-1] in ends and ids[-1:] != bare[-1:]:
            ids.pop()
        return tuple(ids)
