"""The card beside an exported vector: what it is, what was measured, how to use it, its limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitsteer.words.findings import MISSING, estimate, number
from traitsteer.words.model_config import ModelConfig

LIMITS = (
    "Measured with one model, one judge and one set of questions. Another model of the same width, "
    "a quantized one, other prompts or other sampling may behave otherwise.",
    "A judge's score is no truth about the model. Single answers can be incoherent while the mean "
    "is above the floor.",
    "Steering adds to every answer, not only to those that call for the trait; do not put a "
    "steered model before people who do not know it.",
)


@dataclass(frozen=True)
class VectorCard:
    """What the card says; None where it is not known."""

    trait: str
    arm: str
    method: str
    definition: str | None
    position: str
    source: ModelConfig
    source_digest: str | None
    steered: ModelConfig
    steered_digest: str | None
    dtype: str
    quantisation: str | None
    """int8 or int4, where the study is known to have steered the model so."""
    layers: tuple[int, ...]
    """Of the files, 0-based block outputs."""
    width: int
    tokens: str
    """Which tokens the study steered: all, prompt or response."""
    floor: float
    judge: str
    residual_norms: tuple[float, ...] | None
    """Mean residual norm of each layer of the steered model."""
    evaluation: Mapping[str, Any] | None
    """The result of the evaluation, whose layer is the one of `layers` if there is one alone."""
    searched: str | None
    """SHA-256 of the protocol under which no setting was feasible; None where one was, or none was
    looked for."""
    files: tuple[str, ...]
    scaled: bool
    """Whether the GGUF file holds the vector times the coefficient."""
    pocket: str | None
    """What is said where an embedded model or the embedded judge took part; else None."""

    @property
    def measured(self) -> bool:
        """Whether the files hold exactly what the evaluation steered with."""
        return self.evaluation is not None and self.layers == (self.evaluation["layer"],)

    def text(self) -> str:
        """The card as Markdown."""
        limits = [*LIMITS, *([self.pocket] if self.pocket else [])]
        parts = [
            self._front(),
            f"# {self.trait}: a steering vector ({self.arm}, {self.method})",
            f"A direction in the residual stream of `{self.steered.name}` that stands for the "
            f"trait **{self.trait}**, found with traitsteer.",
            *(
                ["## The trait, as the judge was told", _quote(self.definition)]
                * bool(self.definition)
            ),
            "## What it is",
            _table(self._facts()),
            "## What was measured",
            *self._measures(),
            "## Use it",
            *self._use(),
            "## Limits",
            "\n".join(f"- {limit}" for limit in limits),
            "## Licence",
            f"The vector was computed from `{self.source.name}` and is used with "
            f"`{self.steered.name}`; their licences and terms of use apply, as does the licence of "
            "the trait data. Name yours above before you publish it.",
        ]
        return "\n\n".join(parts) + "\n"

    def _front(self) -> str:
        local = Path(self.steered.name).exists()
        base = [] if local else [f"base_model: {self.steered.name}"]
        tags = "tags: [steering-vector, control-vector, traitsteer]"
        return "\n".join(["---", "license: other", *base, tags, "---"])

    def _facts(self) -> dict[str, str]:
        one = len(self.layers) == 1
        shown = self.layers[0] if one else f"{len(self.layers)}, {_layers(self.layers)}"
        facts = {
            "trait": self.trait,
            "arm": self.arm,
            "method": self.method,
            "source model": _model(self.source, self.source_digest),
            "steered model": _model(self.steered, self.steered_digest),
            "tokens pooled": f"`{self.position}`",
            "layer" if one else "layers": f"{shown} (0-based; the output of that block, before any "
            "final norm)",
            "width": str(self.width),
            "norm": "1",
        }
        if self.quantisation:
            facts["quantisation"] = self.quantisation
        if self.evaluation is not None:
            facts |= {
                "best layer": str(self.evaluation["layer"]),
                "coefficient": f"{self.evaluation['coefficient']:.4g}, the length of what is added",
                "strength": f"{self.evaluation['strength']:.3g}, coefficient / mean residual norm",
            }
        if self.residual_norms is not None:
            norms = ", ".join(f"{self.residual_norms[layer]:.4g}" for layer in self.layers)
            facts["mean residual norm"] = f"{norms} (of the steered model, at the layers above)"
        facts["files"] = ", ".join(f"`{name}`" for name in self.files)
        return facts

    def _measures(self) -> list[str]:
        found = self.evaluation
        if found is None and self.searched:
            return [
                "Nothing feasible: settings of this vector were searched under the protocol "
                f"`{self.searched}`, and none kept a mean coherence of {self.floor:g} by the judge "
                f"{self.judge}. It is not known to steer."
            ]
        if found is None:
            return [
                "Nothing: no setting of this vector has been evaluated, so neither the layer nor "
                "the coefficient that works is known. The coherence floor was "
                f"{self.floor:g} and the judge {self.judge}."
            ]
        rows = {
            "delta of the trait score": estimate(found["delta"], n=True),
            "trait score, steered": estimate(found["trait_score"], n=True),
            "trait score, unsteered": estimate(found["baseline"], n=True),
            "coherence, steered": estimate(found["coherence"], n=True),
        } | {
            f"null: {name}": f"delta {estimate(null['pooled'], n=True)}, rank p = "
            f"{_significant(null['p_value'])} of {len(null['each'])} vectors"
            for name, null in found["nulls"].items()
        }
        if found["prompted"]:
            delta = estimate(found["prompted"]["delta"], n=True)
            rows["prompted, not steered"] = f"delta {delta}"
        rows |= {
            "p of no difference": f"{_significant(found['p_value'])} (sign flips over questions)",
            "delta on the selection questions": number(found["selection_delta"]),
            "judge": self.judge,
            "coherence floor": f"{self.floor:g}",
            "tokens steered": self.tokens,
            "missing scores": str(found["missing"]),
            "protocol (SHA-256)": f"`{found['protocol']}`",
        }
        said = [
            f"At layer {found['layer']} with coefficient {found['coefficient']:.4g}, on report "
            "questions that took no part in fitting or choosing; scores from 0 to 100, intervals "
            "over questions, n of them. A null is another vector of the same norm at the same "
            "layer.",
            _table(rows),
        ]
        if not self.measured:
            said.append(
                "The files hold other layers than this one, or more; adding several at once is "
                "another intervention, which has not been measured."
            )
        return said

    def _use(self) -> list[str]:
        parts = []
        layer = self.evaluation["layer"] if self.evaluation else self.layers[0]
        coefficient = f"{self.evaluation['coefficient']:.6g}" if self.evaluation else None
        if layer not in self.layers:
            layer, coefficient = self.layers[0], None
        if self.tokens != "all":
            alone = f"The study steered {self.tokens} tokens alone"
            parts.append(f"{alone}; what follows steers all tokens.")
        if self.quantisation:
            parts.append(
                f"The study steered the model in {self.quantisation}; what follows loads it whole, "
                "where it may behave otherwise."
            )
        factor = coefficient or "1.0"
        if coefficient is None:
            begin = "1.0 is a place to begin"
            parts.append(f"No coefficient has been measured for this layer; {begin}.")
        if "vector.safetensors" in self.files:
            parts += [
                "With transformers (some architectures call their blocks otherwise, such as "
                "`model.transformer.h`):",
                self._snippet(layer, factor),
            ]
        if "vector.gguf" in self.files:
            if layer == 0:
                layer, factor = self.layers[1], "1.0"
                parts.append(
                    "llama.cpp steers no block before block 1, so the GGUF file lacks layer 0, and "
                    "for its layers no coefficient has been measured."
                )
            scale = "1" if self.scaled else factor
            only = f" --control-vector-layer-range {layer} {layer}" if len(self.layers) > 1 else ""
            parts += [
                "With llama.cpp, on a GGUF file of the same model (`direction.N` acts on the "
                "output of block N counted from 0, so the numbers are the same; older builds take "
                "the scale as a second argument instead of after a colon):",
                "```sh\nllama-cli -m model.gguf --control-vector-scaled "
                f"vector.gguf:{scale}{only}\n```",
            ]
            if self.scaled:
                parts.append(f"The GGUF file holds the vector times {coefficient}.")
        return parts or ["Multiply the vector by the coefficient and add it to the block's output."]

    def _snippet(self, layer: int, factor: str) -> str:
        revision = f', revision="{self.steered.revision}"' if self.steered.revision else ""
        variables = "".join(f", {name}={value!r}" for name, value in self.steered.template.items())
        ask = (
            'tokenizer.apply_chat_template([{"role": "user", "content": "How are you?"}], '
            f'add_generation_prompt=True, return_dict=True, return_tensors="pt"{variables})'
            if self.steered.chat
            else 'tokenizer("How are you?", return_tensors="pt")'
        )
        return "\n".join(
            [
                "```python",
                "import torch",
                "from safetensors.torch import load_file",
                "from transformers import AutoModelForCausalLM, AutoTokenizer",
                "",
                f'model = AutoModelForCausalLM.from_pretrained("{self.steered.name}"{revision}, '
                f"dtype=torch.{self.dtype})",
                f'tokenizer = AutoTokenizer.from_pretrained("{self.steered.name}"{revision})',
                f'added = {factor} * load_file("vector.safetensors")["vectors"]'
                f"[{self.layers.index(layer)}].to(model.dtype)",
                f"model.model.layers[{layer}].register_forward_hook(lambda block, given, out: "
                "(out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added)",
                f"prompt = {ask}",
                "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=60)[0]))",
                "```",
            ]
        )


def _model(model: ModelConfig, digest: str | None) -> str:
    pinned = f"revision {model.revision}" if model.revision else "no revision pinned"
    return f"`{model.name}`, {pinned}" + (f", digest `{digest}`" if digest else "")


def _layers(layers: tuple[int, ...]) -> str:
    whole = layers == tuple(range(layers[0], layers[-1] + 1))
    return f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))


def _significant(p_value: float | None) -> str:
    return MISSING if p_value is None else f"{p_value:.3g}"


def _quote(text: str | None) -> str:
    return "\n".join(f"> {line}".rstrip() for line in (text or "").splitlines())


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in rows.items())]
    )
