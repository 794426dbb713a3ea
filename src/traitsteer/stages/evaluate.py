"""evaluate: the chosen settings again, on the report questions, with fresh samples.

Reads the searches of one trait and arm, the vectors with the activations that they were fitted on,
the steered model and the judge; writes scores and chosen vectors to data/evaluation/<trait>/<arm>/.

Answered in one batch, for every method of the arm:
1. the chosen setting, and the unsteered baseline;
2. null vectors of the same norm at the same layer: random, shuffled-label, orthogonal, negated;
3. the trait's positive system prompts without steering: what prompting reaches;
4. the chosen vector at a ladder of strengths, so that arms are compared at equal coherence.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import ceil
from typing import Any

from torch import Tensor

from traitsteer.experiment.answering import Bench, Questions, Setting, unsteered
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.calls import announce
from traitsteer.experiment.evaluation import steps_of, summary
from traitsteer.experiment.evidence import Terms
from traitsteer.experiment.models import calibrated_norms, content_of, read_vectors
from traitsteer.experiment.nulls import null_vectors, read_fitted
from traitsteer.experiment.protocols import frozen_protocol, refuse_other_protocol
from traitsteer.maths.direction import cosine
from traitsteer.words import layout, scores
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.findings import estimate
from traitsteer.words.records import ScoredAnswer, Trait
from traitsteer.words.results import NULL_KINDS
from traitsteer.words.seeds import small_seed_for
from traitsteer.world import tensors
from traitsteer.world.files import read_json, read_jsonl, write_json, write_jsonl
from traitsteer.world.progress import progress, say
from traitsteer.world.trait_folder import trait_of


def run(config: Config, trait_name: str, arm: str) -> None:
    """Evaluate the best setting of every method of the arm.

    Raises:
        TraitsteerError: a search was made under another protocol, the vectors or activations do
            not fit, or baseline or steered answers lack too many scores.
    """
    trait = trait_of(config, trait_name)
    sha = frozen_protocol(config, trait)
    bench = open_bench(config, trait_name)
    # The terms stay with the results that were made under them.
    protocol = read_json(layout.protocol(trait_name))
    write_json(layout.evaluation_terms(trait_name, arm), protocol)
    norms = calibrated_norms(config, bench.model)
    for method in config.arm(arm).methods:
        found = read_json(layout.search_record(trait_name, arm, method))
        refuse_other_protocol("search", found, sha)
        vectors = read_vectors(config, bench.model, trait_name, arm, method)
        if found["content"] != content_of(vectors, norms):
            raise TraitsteerError(
                f"The search of {trait_name} {arm} {method} was made with other vectors or another "
                "calibration than those in models/; run `dvc repro` to search again."
            )
        _evaluate(config, bench, trait, found, vectors)


def _evaluate(
    config: Config, bench: Bench, trait: Trait, found: dict[str, Any], vectors: Tensor
) -> None:
    """Answer, judge and write what is reported of one searched vector."""
    arm, method = found["arm"], found["method"]
    title = f"evaluate {trait.name} {arm} {method}"
    settings = _settings(config, bench, trait, found, vectors)
    answers = _answers(config, bench, trait, settings, title)
    result = summary(
        found,
        read_jsonl(layout.search_scores(trait.name, arm, method)),
        answers,
        _cosines(settings),
        config.evaluate.ladder,
        Terms(
            config.study.coherence_floor,
            config.evaluate.up_by,
            config.judge.missing_at_most,
            config.evaluate.confidence,
            small_seed_for(config.seed, "evaluate", trait.name, arm, method),
        ),
    )
    head = {"trait": trait.name, "arm": arm, "method": method, "protocol": found["protocol"]}
    write_jsonl(
        layout.evaluation_answers(trait.name, arm, method),
        [{"setting": n} | asdict(answer) for n, rows in answers.items() for answer in rows],
    )
    if found["best"] is not None:
        chosen = {name: str(found["best"][name]) for name in ("layer", "strength", "coefficient")}
        tensors.write(
            layout.chosen_vector(trait.name, arm, method),
            {"vector": settings["steered"].vector},
            head | chosen | {"source": config.source(arm).name},
        )
    write_json(layout.evaluation_record(trait.name, arm, method), head | result)
    delta, coherence = estimate(result["delta"]), estimate(result["coherence"])
    say(f"{title}: delta {delta}, coherence {coherence}")


def _settings(
    config: Config, bench: Bench, trait: Trait, found: dict[str, Any], vectors: Tensor
) -> dict[str, Setting]:
    """Every setting by name; baseline and system prompts alone if nothing is feasible."""
    settings = {"baseline": unsteered(bench.model)}
    settings |= _prompted(config, bench, trait)
    best = found["best"]
    if best is None:
        return settings
    arm, method, layer = found["arm"], found["method"], best["layer"]
    vector = vectors[layer]
    for step in steps_of(best, config.evaluate.ladder):
        settings[step.name] = Setting(layer, vector, step.coefficient)
    fitted = read_fitted(config, trait.name, arm, method, layer)
    nulls = null_vectors(config, vector, fitted, (trait.name, arm, method))
    samples = config.evaluate.nulls.samples
    return settings | {
        name: Setting(layer, null, best["coefficient"], samples=samples)
        for name, null in nulls.items()
    }


def _cosines(settings: Mapping[str, Setting]) -> dict[str, float]:
    """Between every steered setting's vector and the chosen one."""
    if "steered" not in settings:
        return {}
    vector = settings["steered"].vector
    return {
        name: float(cosine(setting.vector, vector))
        for name, setting in settings.items()
        if setting.coefficient != 0
    }


def _prompted(config: Config, bench: Bench, trait: Trait) -> dict[str, Setting]:
    """The unsteered model under each positive system prompt; none without a chat template.

    The samples are spread over the prompts, at least one for each.
    """
    if not bench.model.chat:
        return {}
    prompts = [pair.positive for pair in trait.system_prompts]
    each = ceil(config.evaluate.samples / len(prompts))
    plain = unsteered(bench.model)
    return {
        f"prompted-{n}": replace(plain, first_sample=n * each, samples=each, system=prompt)
        for n, prompt in enumerate(prompts)
    }


def _answers(
    config: Config, bench: Bench, trait: Trait, settings: Mapping[str, Setting], title: str
) -> dict[str, list[ScoredAnswer]]:
    samples = config.evaluate.samples
    total = sum(each.samples or samples for each in settings.values()) * len(trait.report)
    questions = Questions(trait.name, "report", trait.report)
    announce(config, trait.name, title, trait.report, total, config.answers.max_new_tokens)
    with progress(title, total, "answer") as advance:
        found = bench.answers(questions, list(settings.values()), samples, advance)
    answers = dict(zip(settings, found, strict=True))
    for name, rows in answers.items():
        # A null, a strength above the cliff or a model that was told to be evil may leave a judge
        # nothing that it scores: it is left out.
        if name.partition("-")[0] not in (*NULL_KINDS, "frontier", "prompted"):
            scores.refuse_missing(rows, config.judge.missing_at_most, f"{title}, {name}")
    return answers
