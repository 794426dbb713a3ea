"""What a vector of an arm is fitted on: how its files must describe themselves, and its seed."""

from traitsteer.maths.positions import Position
from traitsteer.words.config import Config
from traitsteer.words.seeds import small_seed_for


def provenance_of(config: Config, trait: str, arm: str) -> dict[str, str]:
    """What the activations and vectors of an arm say that they were made of, by params.yaml."""
    return {
        "trait": trait,
        "arm": arm,
        "text": config.text(arm),
        "source": config.source(arm).name,
        "position": str(Position.parse(config.arm(arm).position)),
    }


def fit_seed(config: Config, trait: str, arm: str) -> int:
    """Seed of folds and halvings; null vectors are fitted in the same folds."""
    return small_seed_for(config.seed, "fit", trait, arm)
