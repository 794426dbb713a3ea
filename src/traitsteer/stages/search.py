"""search: layer and strength of the best steering delta whose mean coherence is at the floor.

Reads the vectors of one trait and arm, the calibration, the steered model, the judge and the
selection questions; writes every trial and every score to data/search/<trait>/<arm>/.

1. A coarse design over layers and strengths, answered as one batch with the unsteered baseline.
2. Batches that halve the brackets around each layer's cliff, as long as a layer promises more.
3. Batches that Optuna's sampler proposes, with coherence as its constraint.
4. A recount: the best settings are answered again with fresh samples, and the choice rests on
   those alone, since the best of many noisy scores is too good to be true.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from traitsteer.experiment.answering import Questions
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.calls import announce
from traitsteer.experiment.models import calibrated_norms, content_of, read_vectors
from traitsteer.experiment.protocols import frozen_protocol
from traitsteer.experiment.searching import Search
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.seeds import small_seed_for
from traitsteer.world import ledger
from traitsteer.world.files import digest, write_json, write_jsonl
from traitsteer.world.progress import progress, say
from traitsteer.world.repository import in_repository
from traitsteer.world.studies import LayerStrengthStudy
from traitsteer.world.trait_folder import trait_of

KEPT = ("number", "layer", "strength", "coefficient", "trait_score", "coherence", "delta")
"""What is said of the chosen setting."""


def run(config: Config, trait_name: str, arm: str) -> None:
    """Search every method of the arm.

    Raises:
        TraitsteerError: the terms in data/protocols are not those of params.yaml, the vectors
            belong to another model, the calibration is stale, or too many unsteered answers lack
            a score.
    """
    trait = trait_of(config, trait_name)
    terms = frozen_protocol(config, trait)
    bench = open_bench(config, trait_name)
    norms = calibrated_norms(config, bench.model)
    for method in config.arm(arm).methods:
        vectors = read_vectors(config, bench.model, trait_name, arm, method)
        content = content_of(vectors, norms)
        steered = config.models.instruct.name
        ledger.record(ledger.Attempt(trait_name, arm, method, steered, terms, content))
        name = digest([terms, bench.model.digest, bench.model.software, content])[:8]
        search = Search(
            config=config,
            bench=bench,
            questions=Questions(trait_name, "selection", trait.selection),
            vectors=vectors,
            norms=norms,
            study=LayerStrengthStudy(
                f"{trait_name}-{arm}-{method}-{name}",
                bench.model.layers,
                config.search.strength,
                config.search.step,
                config.study.coherence_floor,
                small_seed_for(config.seed, "search"),
                protocol=terms,
            ),
        )
        found = _found(search, f"search {trait_name} {arm} {method}")
        write_jsonl(layout.search_scores(trait_name, arm, method), search.scores)
        write_json(
            layout.search_record(trait_name, arm, method),
            {
                "trait": trait_name,
                "arm": arm,
                "method": method,
                "protocol": terms,
                "content": content,
                "floor": config.study.coherence_floor,
                "layers": bench.model.layers,
                "mean_residual_norm": [round(norm, 6) for norm in norms.tolist()],
                "study": search.study.name,
                **found,
            },
        )


def _found(search: Search, title: str) -> dict[str, Any]:
    """Search, show each batch in the journal, and say what was found."""
    config, most = search.config, search.most_answers()
    journal = in_repository(Path(config.track.studies))
    asked = search.questions
    announce(config, asked.trait, title, asked.texts, most, config.answers.max_new_tokens)
    with progress(title, most, "answer") as advance:
        for _ in search.batches(advance):
            search.study.publish(journal)
        search.study.publish(journal, ended=True)
        recounted, best = search.recount(advance)
    if best is None:
        say(f"{title}: nothing feasible at a coherence of {search.config.study.coherence_floor}")
    return {
        "baseline": search.baseline,
        "trials": search.trials,
        "recounted": recounted,
        "best": best and {name: best[name] for name in KEPT},
        "tokens": {name: round(count) for name, count in asdict(search.rungs.tokens).items()},
    }
