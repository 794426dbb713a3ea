"""identify: what the study's models and its judge are now, for DVC follows neither.

Reads params.yaml, the files of models that are folders and the commits of hub models, the
versions of what computes them, and the judge's prompts; writes data/identity/base.json,
instruct.json and judge.json. It runs every time; what depends on a model that was trained again, a
branch that moved, an upgrade of torch or another endpoint runs after. So does the page where
reports/factorial.json is another or gone: it need not be there, which DVC cannot say of a file.
"""

from traitsteer.experiment.identity import model_identity
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world.files import digest_of_files, write_json
from traitsteer.world.judge.identity import address_digest, judge_identity, judge_software


def run(config: Config) -> None:
    """Write what each of the three is, and which factorial study there is.

    Raises:
        TraitsteerError: one of them cannot be found or read.
    """
    models = config.models
    found = {
        "base": model_identity(config, models.base),
        "instruct": model_identity(config, models.instruct),
        # Two servers of one host are two judges, though their terms name the host alone.
        "judge": judge_identity(config)
        | {"address": address_digest(config), "software": judge_software(config)},
    }
    crossed = digest_of_files([layout.FACTORIAL]) if layout.FACTORIAL.exists() else None
    found["factorial"] = {"sha256": crossed}
    for which, identity in found.items():
        write_json(layout.identity(which), identity)
