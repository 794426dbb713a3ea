"""check: everything that can be refused before any expensive work; takes seconds.

Reads params.yaml, the trait folders, the judge and the models' configurations; writes nothing.
"""

from pathlib import Path

from traitsteer.experiment.calls import announce_study
from traitsteer.maths.positions import Position
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.world import language_model
from traitsteer.world.devices import usable_device
from traitsteer.world.judges import find_judge
from traitsteer.world.progress import say
from traitsteer.world.trait_folder import read_lines, read_trait


def run(config: Config) -> None:
    """Refuse what a study would stumble over later.

    Raises:
        TraitsteerError: a position cannot be parsed, a trait folder or the calibration set cannot
            be read, the judge cannot be reached or does not know a trait, a model cannot be found,
            or instruction elicitation is asked of a model without a chat template.
    """
    for name in config.study.arms:
        arm = config.arm(name)
        Position.parse(arm.position)
        if arm.elicitation == "instruction" and not config.source(name).chat:
            raise TraitsteerError(
                f"The arm {name!r} elicits by instruction from {config.source(name).name}, which "
                "has `chat: false`; set its source to a chat model."
            )
    for trait in config.study.traits:
        read_trait(Path(config.study.trait_folder) / trait)
    if not read_lines(Path(config.calibrate.questions)):
        raise TraitsteerError(
            f"{config.calibrate.questions} holds no question, expected neutral ones, one a line."
        )
    usable_device(config.models.device)
    for model in (config.models.base, config.models.instruct):
        language_model.find(model.name, model.revision, config.models.trust_remote_code)
    for trait in config.study.traits:
        find_judge(config, trait)
    announce_study(config)
    say(
        f"check: {len(config.study.traits)} traits, {len(config.study.arms)} arms, judge and models"
    )
