"""Opens the models that params.yaml names, and the vectors and calibration made for them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from traitsteer.engine.rows import Batching, Sampling
from traitsteer.engine.trial import try_out
from traitsteer.experiment.fitting import provenance_of
from traitsteer.experiment.identity import digest_of
from traitsteer.maths.memory import Footprint, Load
from traitsteer.words import layout
from traitsteer.words.config import Config, SamplingConfig
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.model_config import ModelConfig
from traitsteer.world import tensors
from traitsteer.world.files import digest, read_json
from traitsteer.world.model import devices, language_model, memory, model_files
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.model.prompts import Prompts
from traitsteer.world.model.reasoning import Thinking
from traitsteer.world.trait_folder import read_lines


def open_model(config: Config, which: ModelConfig) -> LanguageModel:
    """Load one of the study's models.

    Raises:
        TraitsteerError: it cannot be read, does not fit into the memory, or the engine cannot
            steer models of its kind.
    """
    models, thinking = config.models, which.thinking
    check_memory(config, which, prompt_tokens=0)
    model = language_model.load(
        which.name,
        revision=which.revision,
        dtype=models.dtype,
        device=models.device,
        chat=which.chat,
        trust_remote_code=models.trust_remote_code,
        quantisation=models.quantisation,
        blocks=which.blocks,
        variables=which.template,
        thinking=None if thinking is None else Thinking(thinking.start, thinking.end),
    )
    try_out(model, batching_of(config).capture)
    return model


def open_prompts(config: Config, which: ModelConfig) -> Prompts:
    """What turns prompts of one of the study's models into token ids, without the model."""
    trust = config.models.trust_remote_code
    return model_files.open_prompts(which.name, which.revision, trust, which.chat, which.template)


def check_memory(config: Config, which: ModelConfig, prompt_tokens: int, beside: int = 0) -> str:
    """Estimate what one of the study's models needs, with prompts of at most so many tokens.

    Args:
        beside: bytes of the weights of another model that stays on the same device.

    Returns:
        The estimate, as one line.

    Raises:
        TraitsteerError: it cannot be read, cannot be quantised here or does not fit.
    """
    models = config.models
    place = devices.usable_device(models.device)
    devices.check_quantisation(models.quantisation, place)
    skeleton = model_files.skeleton(
        which.name, which.revision, models.trust_remote_code, models.dtype
    )
    needed = Footprint(
        memory.sizes_of(skeleton, models.quantisation, which.blocks),
        Load(
            models.rows,
            prompt_tokens + max(config.elicit.max_new_tokens, config.answers.max_new_tokens),
            models.tokens,
        ),
        beside,
    )
    free = devices.free_memory(models.device)
    where = "all GPUs" if models.device in devices.SPREAD else str(place)
    memory.require(which.name, needed, where, free)
    return memory.told(which.name, needed, where, free)


def sampling_of(section: SamplingConfig) -> Sampling:
    """The sampling that a section of params.yaml describes."""
    return Sampling(section.max_new_tokens, section.temperature, section.top_p)


def batching_of(config: Config) -> Batching:
    """What is decoded together, by params.yaml."""
    models = config.models
    return Batching(models.rows, models.tokens, None if models.capture else False)


def check_vocabulary(config: Config, arm: str) -> None:
    """Refuse to read token ids by a model that takes them for other tokens.

    Raises:
        TraitsteerError: the arm reads the text of another model, whose vocabulary differs.
    """
    text = config.text(arm)
    writer, reader = config.source(text), config.source(arm)
    if writer == reader:
        return
    differing, whole = differing_tokens(config, writer, reader)
    if differing:
        raise TraitsteerError(
            f"The arm {arm!r} reads the text of {text!r} with {reader.name}, whose vocabulary "
            f"lacks or renumbers {differing} of the {whole} tokens of {writer.name}; token ids "
            "are never encoded again: read it with a model of the same vocabulary."
        )


def differing_tokens(config: Config, which: ModelConfig, another: ModelConfig) -> tuple[int, int]:
    """How many tokens of a model the vocabulary of another lacks or renumbers, and of how many.

    Raises:
        TraitsteerError: a tokenizer cannot be read.
    """
    ids, others = (open_prompts(config, each).tokenizer.get_vocab() for each in (which, another))
    return sum(others.get(token) != number for token, number in ids.items()), len(ids)


def calibration_prompts(config: Config, model: LanguageModel) -> list[tuple[int, ...]]:
    """Token ids of the questions on which the residual norm of the steered model is measured."""
    questions = read_lines(Path(config.calibrate.questions))
    return [model.encode(question.text) for question in questions]


def calibration_terms(config: Config, model: LanguageModel) -> dict[str, Any]:
    """All that the calibration of the steered model depends on, as JSON values."""
    return {
        "digest": model.digest,
        "dtype": config.models.dtype,
        "prompts": digest(calibration_prompts(config, model)),
        "max_new_tokens": config.answers.max_new_tokens,
    }


def calibrated_norms(config: Config, model: LanguageModel) -> Tensor:
    """Mean residual norms [layers], float32, of the steered model, as its calibration says.

    Raises:
        TraitsteerError: the calibration is missing or was made otherwise.
    """
    found = read_json(layout.CALIBRATION)
    for term, value in calibration_terms(config, model).items():
        if found.get(term) != value:
            raise TraitsteerError(
                f"{layout.CALIBRATION} was measured on {model.name} with other {term} than "
                "params.yaml asks for; run `dvc repro calibrate` to measure it again."
            )
    return torch.tensor(found["mean_residual_norm"])


def content_of(vectors: Tensor, norms: Tensor) -> str:
    """SHA-256 of what a search searches: the vectors [layers, width] and the unit of strength."""
    return digest([vectors.tolist(), norms.tolist()])


def read_vectors(config: Config, model: LanguageModel, trait: str, arm: str, method: str) -> Tensor:
    """Fitted vectors [layers, width] of one method, ready for this model.

    Raises:
        TraitsteerError: the file is missing, corrupt, of another trait, arm, method, text,
            position or source model, or its vectors do not fit the model.
    """
    path = layout.fitted_vectors(trait, arm, method)
    found = tensors.read(path, provenance_of(config, trait, arm) | {"method": method})
    source = config.source(arm)
    if found.provenance.get("source_digest") != digest_of(config, source):
        raise TraitsteerError(
            f"{path} was fitted on activations of {source.name} as it was before; run `dvc repro` "
            "to elicit and read them again."
        )
    vectors = found.tensors["vectors"]
    if tuple(vectors.shape) != (model.layers, model.width):
        raise TraitsteerError(
            f"{path} holds vectors of shape {tuple(vectors.shape)} from "
            f"{found.provenance.get('source')}, expected {(model.layers, model.width)} for "
            f"{model.name}; fit it on a model of the same family."
        )
    return vectors
