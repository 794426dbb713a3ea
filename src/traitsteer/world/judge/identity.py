"""What identifies a judge: its terms, its address, and what scores that are kept depend on.

Nothing is asked and no model is loaded for it.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from traitsteer.maths import expectation
from traitsteer.words import refusals
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import digest, digest_of_files
from traitsteer.world.judge import model_judge, replies
from traitsteer.world.judge.model_judge import OFF_TOPIC, OFF_TOPIC_MOST
from traitsteer.world.judge.prompt_files import JudgePrompts, read_prompts
from traitsteer.world.judge.replies import FOLLOWED, SENT
from traitsteer.world.model import model_names
from traitsteer.world.model.software import versions
from traitsteer.world.pocket_judge import PocketJudge
from traitsteer.world.trait_folder import trait_of

_DEFAULT_URL = "https://api.openai.com/v1"
_PORTS = {"http": 80, "https": 443}
_CODE = digest_of_files(
    [
        *(Path(each.__file__ or "") for each in (expectation, model_judge, refusals, replies)),
        # Not imported for this: transformers and the client take seconds.
        *(
            Path(__file__).parents[1] / f"{name}.py"
            for name in (
                "judge/local_judge",
                "judge/number_reader",
                "judge/openai_judge",
                "model/language_model",
                "model/prompts",
                "model/vocabulary",
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
    return found if config.judge.kind == "pocket" else found | {"rubric": rubric_of(config, trait)}


def judge_identity(config: Config) -> dict[str, Any]:
    """What the judge of all traits is, as JSON values.

    It holds no key, and of an address the host alone.

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

    Beside its terms that is the whole address, since two servers of one host are two judges, what
    computes a local model, and the code that turns replies into scores.

    Raises:
        TraitsteerError: as `judge_terms`.
    """
    known = {
        "terms": judge_terms(config, trait),
        "address": _whole_address(config),
        "software": judge_software(config),
        "code": _CODE,
    }
    return digest(known)


def judge_software(config: Config) -> dict[str, str]:
    """Package and version of what computes a local model; nothing of other judges."""
    judge = config.judge
    return versions(judge.quantisation != "none") if judge.kind == "local" else {}


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


def prompts_of(config: Config) -> JudgePrompts:
    """What a judge model is asked; raises TraitsteerError when the files are not there."""
    return read_prompts(Path(config.judge.prompts))


def rubric_of(config: Config, trait: str) -> str:
    """What a judge model is told that the trait is; raises TraitsteerError without its folder."""
    return trait_of(config, trait).definition


def _whole_address(config: Config) -> list[str | int | None] | None:
    if config.judge.kind != "openai":
        return None
    place = _address()
    return [place.hostname, place.port or _PORTS.get(place.scheme), place.path.rstrip("/")]


def base_url() -> str:
    """The address of the endpoint; an empty OPENAI_BASE_URL counts as none.

    Raises:
        TraitsteerError: OPENAI_BASE_URL is no address.
    """
    return _address().geturl()


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
