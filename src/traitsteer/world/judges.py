"""Opens the judge that params.yaml names, and says what identifies it."""

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from traitsteer.maths import expectation
from traitsteer.words import layout, refusals
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judge, Trait
from traitsteer.world import model_judge, model_names, replies
from traitsteer.world.files import digest, digest_of_files
from traitsteer.world.model_judge import OFF_TOPIC, OFF_TOPIC_MOST, ModelJudge, questions_about
from traitsteer.world.pacing import Patience
from traitsteer.world.pocket_judge import PocketJudge
from traitsteer.world.prompt_files import JudgePrompts, read_prompts
from traitsteer.world.replies import FOLLOWED, SENT
from traitsteer.world.repository import in_repository
from traitsteer.world.score_cache import ScoreCache
from traitsteer.world.spending import Budget, Spending
from traitsteer.world.trait_folder import trait_of

if TYPE_CHECKING:
    from traitsteer.world.language_model import LanguageModel

_DEFAULT_URL = "https://api.openai.com/v1"
_PORTS = {"http": 80, "https": 443}
_CODE = digest_of_files(
    [
        *(Path(each.__file__ or "") for each in (expectation, model_judge, refusals, replies)),
        # Not imported for this: transformers and the client take seconds.
        *(
            Path(__file__).with_name(f"{name}.py")
            for name in (
                "language_model",
                "local_judge",
                "number_reader",
                "openai_judge",
                "prompts",
                "vocabulary",
            )
        ),
    ]
)
"""Scores that older code made of the same replies are not scores of this one."""


def judge_terms(config: Config, trait: str) -> dict[str, Any]:
    """What identifies the judge of one trait and its version, as JSON values.

    Raises:
        TraitsteerError: the trait cannot be read; else as `judge_identity`.
    """
    found = judge_identity(config)
    # The pocket judge knows its traits by itself.
    return found if config.judge.kind == "pocket" else found | {"rubric": _rubric(config, trait)}


def judge_identity(config: Config) -> dict[str, Any]:
    """What the judge of all traits is, as JSON values.

    Nothing is asked and no model is loaded for it. It holds no key, and of an address the host
    alone.

    Raises:
        TraitsteerError: the prompts, the pocket judge or the judge's model cannot be read.
    """
    judge = config.judge
    name = judge_name(config)
    if judge.kind == "pocket":
        digest_ = PocketJudge.from_folder(Path(name)).digest
        return {"kind": "pocket", "name": name, "digest": digest_}
    terms: dict[str, Any] = {
        "kind": judge.kind,
        "name": name,
        "prompts": digest(dict(prompts_of(config).texts)),
        "minimum_mass": judge.minimum_mass,
        "off_topic": OFF_TOPIC,
        "off_topic_most": OFF_TOPIC_MOST,
    }
    if judge.kind == "openai":
        host = _address().hostname or ""
        return terms | {"host": host, "sent": dict(SENT), "followed": FOLLOWED}
    return terms | {
        "revision": judge.revision,
        "weights": model_names.digest_of(name, judge.revision, judge.quantisation),
        "dtype": config.models.dtype,
        "template": judge.template,
    }


def scores_known_by(config: Config, trait: str) -> str:
    """The SHA-256 of all that the scores of a judge model depend on, under which they are kept.

    Beside its terms that is the whole address, since two servers of one host are two judges, and
    the code that turns replies into scores.

    Raises:
        TraitsteerError: as `judge_terms`.
    """
    known = {"terms": judge_terms(config, trait), "address": _whole_address(config), "code": _CODE}
    return digest(known)


def address_digest(config: Config) -> str | None:
    """The SHA-256 of the whole address of an endpoint, which may hold a secret; None of others.

    Raises:
        TraitsteerError: OPENAI_BASE_URL is no address.
    """
    address = _whole_address(config)
    return None if address is None else digest(address)


def judge_name(config: Config) -> str:
    """The name of the judge; that of an endpoint's model may come from the environment.

    Raises:
        TraitsteerError: there is no name in either place.
    """
    name = config.judge.name or os.environ.get("OPENAI_MODEL")
    if not name:
        raise TraitsteerError(
            "judge.name is null and OPENAI_MODEL is not set; name the judge in one of them."
        )
    return name


def open_judge(config: Config, trait: str, attempt: int = 0, anew: bool = False) -> Judge:
    """Return the judge of one trait.

    Args:
        attempt: another number asks an endpoint everything again, beside the scores that are kept
            of other attempts; other judges would say the same.
        anew: whether an endpoint is asked how it answers even if that is known.

    Raises:
        TraitsteerError: it cannot be reached or read.
    """
    judge = config.judge
    name = judge_name(config)
    if judge.kind == "pocket":
        return PocketJudge.from_folder(Path(name))
    prompts = prompts_of(config)
    rubrics = {trait: _rubric(config, trait)}
    known_as = scores_known_by(config, trait)
    cache = ScoreCache(in_repository(layout.CACHE) / "scores")
    if judge.kind == "local":
        from traitsteer.world.local_judge import LocalModel

        rows, tokens = config.models.rows, config.models.tokens
        local = LocalModel(_loaded(config), cache, rows, tokens, judge.minimum_mass)
        local.require_number()
        return ModelJudge(local, prompts, rubrics, known_as)
    # Imported here, since the client takes a second that a pocket study need not wait for.
    from traitsteer.world.openai_judge import Endpoint, OpenAIJudge
    from traitsteer.world.sending import Limits

    endpoint = Endpoint(
        name,
        cache,
        Spending(in_repository(layout.SPENT), Budget(judge.budget.calls, judge.budget.tokens)),
        Limits(
            judge.requests_at_once,
            judge.requests_per_minute,
            Patience(judge.request_s, judge.deadline_s),
        ),
        judge.minimum_mass,
        attempt,
        anew,
    )
    return OpenAIJudge(endpoint, prompts, rubrics, known_as)


def find_judge(config: Config, trait: str) -> None:
    """Refuse a judge that cannot work, at little cost: a local model is not loaded for it.

    Raises:
        TraitsteerError: it cannot be reached or read, does not know the trait or has no chat
            template, or a local one has no weights as safetensors or too short a context.
    """
    judge = config.judge
    if judge.kind != "local":
        open_judge(config, trait, anew=True).score(trait, [])
        return
    judge_terms(config, trait)
    from traitsteer.world import (
        devices,
        model_files,
        model_shape,
        number_reader,
        weight_files,
    )

    place = devices.usable_device(local_device(config), section_of_device(config))
    devices.check_quantisation(judge.quantisation, place, "judge")
    trust, name = config.models.trust_remote_code, judge_name(config)
    weight_files.find_weights(name, judge.revision, trust)
    asked = model_files.open_prompts(name, judge.revision, trust, True, judge.template)
    context = model_shape.shape_of(name, judge.revision, trust).context
    prompts, whole = prompts_of(config), trait_of(config, trait)
    about = [
        each
        for question in _judged_beside(config, whole)
        for each in questions_about(prompts, whole.definition, Answer(question, ""))
    ]
    longest = max(len(asked.encode(each.prompt)) for each in about)
    if context is not None and longest + number_reader.LONGEST > context:
        raise TraitsteerError(
            f"The judge {name} takes {context} tokens, and what it is asked about {trait} has "
            f"{longest} before any answer; choose a judge with a longer context."
        )


def _judged_beside(config: Config, trait: Trait) -> set[str]:
    """The questions and scenarios of a trait that a judge reads with what follows them."""
    found = {*trait.selection, *trait.report}
    for elicitation in {config.arm(text).elicitation for text in config.study.texts}:
        if elicitation == "natural":
            found |= {side for pair in trait.scenarios for side in (pair.positive, pair.negative)}
        else:
            found |= set(trait.extraction)
    return found


def local_device(config: Config) -> str:
    """Where a local judge lies, by params.yaml."""
    return config.judge.device or config.models.device


def section_of_device(config: Config) -> str:
    """The section of params.yaml that says where a local judge lies."""
    return "models" if config.judge.device is None else "judge"


def prompts_of(config: Config) -> JudgePrompts:
    """What a judge model is asked; raises TraitsteerError when the files are not there."""
    return read_prompts(Path(config.judge.prompts))


def _whole_address(config: Config) -> list[str | int | None] | None:
    if config.judge.kind != "openai":
        return None
    place = _address()
    return [place.hostname, place.port or _PORTS.get(place.scheme), place.path.rstrip("/")]


def _address() -> SplitResult:
    url = os.environ.get("OPENAI_BASE_URL") or _DEFAULT_URL
    try:
        place = urlsplit(url)
        # A port that is no number is refused where it is asked for.
        usable = place.hostname and place.port != 0
        if usable and url.isascii() and url.isprintable():
            return place
    except ValueError:
        pass
    # Not shown, since an address may hold a key.
    raise TraitsteerError(
        "OPENAI_BASE_URL is no address, expected one such as http://localhost:8000/v1; export it "
        "anew."
    )


def _rubric(config: Config, trait: str) -> str:
    return trait_of(config, trait).definition


_kept: dict[str, "LanguageModel"] = {}
"""The local judge's model, once for all traits, by what it is loaded with."""


def _loaded(config: Config) -> "LanguageModel":
    """The local judge's model; that of another judge leaves the memory before."""
    from traitsteer.world import language_model

    models, judge = config.models, config.judge
    asked: dict[str, Any] = {
        "revision": judge.revision,
        "dtype": models.dtype,
        "device": local_device(config),
        "trust_remote_code": models.trust_remote_code,
        "quantisation": judge.quantisation,
        "variables": judge.template,
        "section": section_of_device(config),
    }
    name = judge_name(config)
    key = digest([name, asked])
    if key not in _kept:
        _kept.clear()
        # Some libraries tie a model's parts in circles.
        gc.collect()
        _kept[key] = language_model.load(name, chat=True, **asked)
    return _kept[key]
