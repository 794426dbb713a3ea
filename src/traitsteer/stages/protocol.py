"""protocol: the terms of one trait's study, written down before anything is scored.

Reads params.yaml, the trait folder and what identifies the judge and the steered model; writes
data/protocols/<trait>/extraction.json and protocol.json. Vetting depends on the first, search and
all that follows on the second, so that no score is older than its terms.
"""

from traitsteer.experiment.protocols import extraction_of, protocol_of
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.protocol import refuse_few_questions, refuse_repeats
from traitsteer.world.files import digest, write_json
from traitsteer.world.progress import say
from traitsteer.world.trait_folder import trait_of


def run(config: Config, trait_name: str) -> None:
    """Write both records of one trait.

    Raises:
        TraitsteerError: the trait folder, the judge or the steered model cannot be found, or a
            question or contrast pair stands twice, one side stands for both polarities, or a
            question set is too small for an error over questions.
    """
    trait = trait_of(config, trait_name)
    refuse_repeats(trait)
    refuse_few_questions(trait, config.search.margin)
    for path, terms in (
        (layout.extraction_protocol(trait_name), extraction_of(config, trait)),
        (layout.protocol(trait_name), protocol_of(config, trait)),
    ):
        write_json(path, {"sha256": digest(terms), "terms": terms})
        say(f"{path}: {digest(terms)[:12]}")
