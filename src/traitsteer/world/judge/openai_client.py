"""The home of the OpenAI client: one request to a chat model behind HTTP, and what came of it.

The key comes from the environment variable OPENAI_API_KEY and is never shown or written, not even
where an endpoint repeats it; the address is that of `identity.py`.
"""

import asyncio
import os
import re
from dataclasses import dataclass
from typing import Any

from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    OpenAIError,
)

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.judge.identity import base_url
from traitsteer.world.judge.pacing import retry_after
from traitsteer.world.judge.replies import SENT, Malformed, NoLogprobs, Reply, read_reply, refusal

_TRANSIENT = (408, 409, 425, 429)
"""Statuses below 500 that another attempt may change."""
_OF_ONE = (400, 403, 413, 422)
"""Statuses that a prompt may bring about, by its length or by what it speaks of."""
_SECRET = r"api.?key|token|bearer|credential|secret|\bsk-"
"""What is said of these may repeat parts of them."""
_ADVICE = {
    401: "check OPENAI_API_KEY",
    403: "check OPENAI_API_KEY and what it may use",
    404: "choose a model that it serves, and check OPENAI_BASE_URL",
    429: "check the account's quota",
}


@dataclass(frozen=True)
class Trouble:
    """Why an attempt failed that may be made again."""

    what: str
    wait: float | None = None
    """Seconds that the endpoint asks to wait."""
    unreached: bool = False
    """Whether there was no connection, or it broke."""
    too_many: bool = False
    """Whether it was sent too soon after others, and cost nothing."""


class Refused(Exception):
    """What no other attempt changes, as a sentence."""

    def __init__(self, sentence: str, of_one: bool = False) -> None:
        super().__init__(sentence)
        self.of_one = of_one
        """Whether it may be this prompt alone that is refused."""


class Client:
    """Sends prompts to one model at one endpoint."""

    def __init__(self, model: str, seconds: float) -> None:
        """Open the client; nothing is sent yet.

        Args:
            seconds: most that connecting, sending or a silence within a reply may take.

        Raises:
            TraitsteerError: there is no key, it holds what cannot be sent, or OPENAI_BASE_URL is no
                address.
        """
        key = os.environ.get("OPENAI_API_KEY", "")
        if not (key.isascii() and key.isprintable() and key == key.strip()):
            raise TraitsteerError(
                "OPENAI_API_KEY holds white space or a character that no key has; export it anew."
            )
        # An empty variable would be an empty address to the client.
        address = base_url()
        try:
            self._client = AsyncOpenAI(base_url=address, max_retries=0, timeout=seconds)
        except OpenAIError:
            raise TraitsteerError(
                "The judge needs a key; export OPENAI_API_KEY (and OPENAI_BASE_URL for another "
                "endpoint), or choose another judge.kind."
            ) from None
        url = self._client.base_url
        self.model, self.host = model, url.host
        self.address = f"{url.host}:{url.port}{url.path}"
        """Where requests go, without what an address may hold of keys."""
        self.gives_probabilities = False
        """Whether it is known to: then a reply without them is an accident, as behind gateways that
        spread requests over several providers."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def send(self, prompt: str, begun: str, seconds: float) -> Reply | Trouble:
        """One request and its reply, within so many seconds from its first byte to its last.

        Args:
            begun: what the reply begins with, which the endpoint is to continue; may be empty.

        Raises:
            Refused: the endpoint will never answer.
        """
        messages = [{"role": "user", "content": prompt}]
        further: dict[str, object] = {}
        if begun:
            messages.append({"role": "assistant", "content": begun})
            further = {"continue_final_message": True, "add_generation_prompt": False}
        create: Any = self._client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(seconds):
                raw = await create(
                    model=self.model, messages=messages, extra_body=further or None, **SENT
                )
            reply = read_reply(raw.text)
        except APIStatusError as error:
            return self._status(error)
        except NoLogprobs:
            if self.gives_probabilities:
                return Trouble("a reply without probabilities")
            raise Refused(
                f"The judge {self.model!r} at {self.host} gives no probabilities of its tokens, "
                "from which scores are computed; choose an endpoint with logprobs, or judge.kind: "
                "local."
            ) from None
        except Malformed as error:
            return Trouble(str(error))
        except (APIError, TimeoutError) as error:
            late = isinstance(error, APITimeoutError)
            unreached = isinstance(error, APIConnectionError) and not late
            return Trouble(type(error).__name__, unreached=unreached)
        self.gives_probabilities |= bool(reply.places)
        return reply

    def _status(self, error: APIStatusError) -> Reply | Trouble:
        """What a status other than success comes to."""
        status, code = error.status_code, error.code
        if code == "content_filter":
            return refusal()
        if code != "insufficient_quota" and (status >= 500 or status in _TRANSIENT):
            wait = retry_after(error.response.headers)
            return Trouble(f"status {status}", wait, too_many=status == 429)
        words = " ".join(str(error).split()).replace(self._client.api_key or "***", "***")
        said = f" ({words[:160]})"
        advice = _ADVICE.get(status, "it needs a chat model with logprobs")
        of_key = re.search("api.?key", words, re.IGNORECASE)
        hidden = re.search(_SECRET, words, re.IGNORECASE) if status == 403 else of_key
        if hidden or status == 401:
            said = ""
        if of_key:
            advice = _ADVICE[401]
        does = f"does not serve judge.name {self.model!r}" if status == 404 else "refuses requests"
        raise Refused(
            f"The judge at {self.host} {does} with status {status}{said}; {advice}.",
            of_one=status in _OF_ONE and not of_key,
        ) from None
