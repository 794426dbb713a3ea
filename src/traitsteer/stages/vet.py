"""vet: which responses show the polarity that they were elicited for.

Reads the responses, the terms and the judge; writes one verdict for each response, kept or not, and
how many of how many were kept. Every response stays on record beside its verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from traitsteer.experiment.calls import announce
from traitsteer.experiment.elicitation import judged, read_responses
from traitsteer.experiment.judging import judge_all
from traitsteer.experiment.protocols import frozen_extraction
from traitsteer.words import layout
from traitsteer.words.config import Config, VetConfig
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import POLARITIES, Answer, Judgement, Verdict
from traitsteer.world.files import write_json, write_jsonl
from traitsteer.world.judge.judges import open_judge
from traitsteer.world.progress import progress, say
from traitsteer.world.trait_folder import trait_of

NOT_JUDGED = "not judged"
"""The reason of a response that the judge gave no score."""


def verdict(
    response: Mapping[str, Any], judgement: Judgement, vet: VetConfig, protocol: str
) -> Verdict:
    """Decide on one response; the reason says why it was dropped."""
    trait, coherence, polarity = judgement.trait_score, judgement.coherence, response["polarity"]
    reason = ""
    if not response["response_ids"]:
        reason = "empty"
    elif trait is None or coherence is None:
        reason = NOT_JUDGED
    elif coherence < vet.coherence_at_least:
        reason = "incoherent"
    elif polarity == "positive" and trait < vet.positive_at_least:
        reason = "trait not shown"
    elif polarity == "negative" and trait > vet.negative_at_most:
        reason = "opposite not shown"
    kept = reason == ""
    return Verdict(response["id"], trait, coherence, kept, reason, judged(response), protocol)


def run(config: Config, trait: str, text: str) -> None:
    """Judge every response of an arm that elicits.

    Raises:
        TraitsteerError: `text` is no arm or one that reads the text of another, the terms in
            data/protocols are not those of params.yaml, the responses are not those that it plans,
            the judge left out too many of them, or fewer than `vet.minimum` of a polarity remain.
    """
    config.eliciting(text)
    whole = trait_of(config, trait)
    terms = frozen_extraction(config, whole)
    rows = read_responses(config, whole, text)
    judge = open_judge(config, trait)
    title = f"vet {trait} {text}"
    # An empty response is dropped whatever a judge says of it.
    asked = [number for number, row in enumerate(rows) if row["response_ids"]]
    prompts = [rows[number]["prompt"] for number in asked]
    announce(config, trait, title, prompts, len(asked), config.elicit.max_new_tokens)
    judgements = dict.fromkeys(range(len(rows)), Judgement(None, None))
    with progress(title, len(asked), "response") as advance:
        answers = [Answer(rows[number]["prompt"], rows[number]["text"]) for number in asked]
        for place, judgement in judge_all(judge, trait, answers):
            judgements[asked[place]] = judgement
            advance(1)
    verdicts = [
        verdict(row, judgements[number], config.vet, terms) for number, row in enumerate(rows)
    ]
    counts = _counts(rows, verdicts)
    _refuse_unjudged(counts, title, config.judge.missing_at_most)
    say(
        f"{title}: kept {counts['positive_kept']} of {counts['positive']} positive and "
        f"{counts['negative_kept']} of {counts['negative']} negative responses"
    )
    write_jsonl(layout.verdicts(trait, text), map(asdict, verdicts))
    write_json(layout.vet_counts(trait, text), counts)
    for polarity in POLARITIES:
        kept_count = counts[f"{polarity}_kept"]
        if kept_count < config.vet.minimum:
            raise TraitsteerError(
                f"{kept_count} of {counts[polarity]} {polarity} responses of {trait} {text} show "
                f"their polarity, expected at least vet.minimum = {config.vet.minimum}; raise "
                "elicit.samples, add prompts or loosen the thresholds of vet."
            )


def _counts(rows: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]) -> dict[str, int]:
    """By polarity, how many responses there are, were kept and were not judged."""
    counts = {}
    for polarity in POLARITIES:
        found = [v for v, row in zip(verdicts, rows, strict=True) if row["polarity"] == polarity]
        counts[f"{polarity}_kept"] = sum(v.kept for v in found)
        counts[f"{polarity}_not_judged"] = sum(v.reason == NOT_JUDGED for v in found)
        counts[polarity] = len(found)
    return counts


def _refuse_unjudged(counts: Mapping[str, int], title: str, missing_at_most: float) -> None:
    """Stop before anything is written where a judge that fails would choose the responses."""
    for polarity in POLARITIES:
        lost, of = counts[f"{polarity}_not_judged"], counts[polarity]
        if lost > missing_at_most * of:
            raise TraitsteerError(
                f"{title}: {lost} of {of} {polarity} responses lack a score, expected at most the "
                f"share of judge.missing_at_most = {missing_at_most:g}; check the judge and run "
                "again."
            )
