"""The factorial study: planted parts come back, what is missing is named, designs are refused."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import report_inputs
import torch
from ruamel.yaml import YAML
from tiny import build

from benchmarks.factorial import tell
from traitsteer.cli import main
from traitsteer.experiment.identity import digest_of
from traitsteer.experiment.studied import texts_of
from traitsteer.stages import factorial, report, show
from traitsteer.words import layout
from traitsteer.words.config import Config, load
from traitsteer.words.design import FACTORS, design
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.factor_findings import falsifiers
from traitsteer.words.factor_tables import tables
from traitsteer.world import tensors
from traitsteer.world.figures.plot_style import arm_place
from traitsteer.world.files import read_json, write_json, write_jsonl
from traitsteer.world.judge.identity import judge_identity
from traitsteer.world.trait_folder import trait_of

QUESTIONS, SAMPLES, LAYERS, WIDTH = 16, 2, 3, 32
START = 60.0
PLANTED = {"text": -20.0, "source": 0.0, "position": 6.0, "method": 0.0}
"""What switching each factor does to the delta, in this made-up study."""
NOTHING = ("hallucination", "natural-all", "probe")
OF = {
    "base": {"name": "own/base", "digest": "12" * 32},
    "instruct": {"name": "own/instruct", "digest": "34" * 32},
    "judge": {"kind": "openai", "name": "some-judge", "host": "localhost"},
    "coherence_floor": 70.0,
}


def write_study(config: Config, nothing: tuple[str, str, str] | None = None) -> None:
    """What evaluate and fit would have written, with the planted effects and little noise."""
    plan = design(config)
    report_inputs.write_terms(config, OF)
    for trait in config.study.traits:
        hardness = [random.Random(f"{trait} {n}").gauss(0, 8) for n in range(QUESTIONS)]
        for cell in plan.cells:
            levels = dict(zip(FACTORS, cell.place, strict=True))
            delta = START + sum(PLANTED[name] * at for name, at in levels.items())
            _write_cell(
                trait, cell.arm, cell.method, levels, delta, hardness,
                (trait, cell.arm, cell.method) != nothing,
            )  # fmt: skip


def _write_cell(
    trait: str,
    arm: str,
    method: str,
    levels: dict[str, int],
    delta: float,
    hardness: list[float],
    feasible: bool,
) -> None:
    draw = random.Random(f"{trait} {arm} {method}")
    rows = [
        {"setting": setting, "question": question, "sample": sample, "trait_score": score}
        for question, sample in itertools.product(range(QUESTIONS), range(SAMPLES))
        for setting, score in (
            ("baseline", 5.0),
            ("steered", 5.0 + delta + hardness[question] + draw.gauss(0, 2)),
        )
    ]
    interval = {"value": delta, "lower": delta - 3, "upper": delta + 3, "n": QUESTIONS}
    head = {"trait": trait, "arm": arm, "method": method, "protocol": f"of {trait}"}
    result = {"layer": 1, "strength": 0.5, "delta": interval, "coherence": interval}
    result |= {"random": {"value": 0.0, "lower": -1.0, "upper": 1.0, "n": QUESTIONS}}
    folder = layout.evaluation(trait, arm)
    write_jsonl(folder / f"{method}.answers.jsonl", rows)
    write_json(
        folder / f"{method}.json",
        head
        | {"status": "feasible" if feasible else "nothing feasible"}
        | (result if feasible else dict.fromkeys(result)),
    )
    # Vectors turn with the text alone.
    towards = torch.zeros(LAYERS, WIDTH)
    towards[:, 0], towards[:, 1] = 1.0, float(levels["text"])
    vectors = torch.nn.functional.normalize(towards, dim=1)
    folder = layout.vectors(trait, arm)
    tensors.write(folder / f"{method}.safetensors", {"vectors": vectors}, head)
    write_json(folder / f"{method}.json", {"split_half_cosine": [0.97] * LAYERS})


@pytest.fixture
def config(repository: Path, tmp_path: Path, monkeypatch) -> Config:
    monkeypatch.chdir(tmp_path)
    config = load(repository / "profiles/pocket-factorial.yaml")
    report_inputs.write_texts(config)
    return config


def of(config: Config) -> dict[str, Any]:
    """What a study of these models is of, with the texts that lie there now."""
    texts = {trait: texts_of(trait_of(config, trait)) for trait in config.study.traits}
    return OF | {"texts": texts}


def test_the_profiles_have_every_combination_and_keep_the_founding_arms(repository: Path) -> None:
    for name in ("pocket-factorial", "llama-3.1-8b-factorial"):
        config = load(repository / f"profiles/{name}.yaml")
        plan = design(config)
        assert [f.name for f in plan.factors] == list(FACTORS)
        assert len({cell.place for cell in plan.cells}) == len(plan.cells) == 16
        first, last = plan.cell((0, 0, 0, 0)), plan.cell((1, 1, 1, 1))
        assert (first.arm, first.method) == ("instruction", "mean_difference")
        assert (last.arm, last.method) == ("natural", "probe")
        plain = load(repository / f"profiles/{name.removesuffix('-factorial')}.yaml")
        for arm in ("instruction", "natural"):
            for key in ("elicitation", "text", "source", "position"):
                assert getattr(config.arm(arm), key) == getattr(plain.arm(arm), key)


def test_a_design_is_told_and_anything_else_refused(
    repository: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, code in (("pocket-factorial", 0), ("pocket", 1)):
        profile = (repository / f"profiles/{name}.yaml").read_text(encoding="utf-8")
        Path("params.yaml").write_text(profile, encoding="utf-8")
        assert main(["design"]) == code
    said = capsys.readouterr()
    assert said.out.startswith("design: 16 cells a trait, every combination of text instruction or")
    assert "take profiles/pocket-factorial.yaml as the pattern" in said.err


def test_a_factorial_profile_changes_arms_and_budget_alone(repository: Path) -> None:
    allowed = {"profile", "study", "arms"}
    allowed |= {("search", "trials"), ("search", "recount"), ("evaluate", "samples")}
    allowed |= {("evaluate", "nulls"), ("evaluate", "ladder")}
    for name in ("pocket", "llama-3.1-8b"):
        plain = load(repository / f"profiles/{name}.yaml").model_dump()
        crossed = load(repository / f"profiles/{name}-factorial.yaml").model_dump()
        for section in plain.keys() - allowed:
            both = plain[section], crossed[section]
            if both[0] != both[1]:
                differing = {(section, key) for key in both[0] if both[0][key] != both[1][key]}
                assert differing <= allowed, differing
        for key in ("traits", "texts", "trait_folder", "coherence_floor"):
            assert plain["study"][key] == crossed["study"][key]


def test_what_was_planted_comes_back_and_sums_to_the_difference(config: Config, capsys) -> None:
    write_study(config)
    factorial.run(config)
    found = read_json(layout.FACTORIAL)
    assert found["all"]["questions"] == 3 * QUESTIONS
    for one in (*found["traits"], found["all"]):
        whole, without_method = one["decompositions"]
        assert without_method["to"] == {"arm": "natural", "method": "mean_difference"}
        for way in (whole, without_method):
            parts = {row["factor"]: row["part"] for row in way["parts"]}
            assert sum(p["value"] for p in parts.values()) == pytest.approx(
                way["whole"]["value"], abs=1e-3
            )
            for name, part in parts.items():
                assert part["value"] == pytest.approx(PLANTED[name], abs=1.5)
                if PLANTED[name] != 0:
                    assert not part["lower"] <= 0 <= part["upper"]
        effects = {" x ".join(row["factors"]): row["effect"] for row in one["effects"]}
        assert len(effects) == 4 + 6
        for name, size in PLANTED.items():
            assert effects[name]["value"] == pytest.approx(size, abs=0.8)
        assert one["margin"] < 2
        shares = {row["of"]: row["share"] for row in one["variance"]}
        assert max(shares, key=shares.get) in ("text", "questions")
        assert shares["method"] < 0.01
    for one in found["traits"]:
        cosines = {row["factor"]: row["cosine"] for row in one["cosine"]["switched"]}
        assert cosines["text"] == pytest.approx(0.5**0.5, abs=1e-3)
        assert cosines["source"] == cosines["position"] == cosines["method"] == 1.0
    printed = capsys.readouterr().out
    assert printed.count("the part that stands out is that of text") == 2
    assert "Met by none" in printed
    for way in found["traits"][0]["decompositions"]:
        assert way["ahead"]["of"] == "position"
        assert way["ahead"]["by"]["value"] == pytest.approx(14, abs=2)
        assert way["ahead"]["by"]["lower"] > 0
    assert printed.count("What would make it false") == 5
    for name in ("parts", "cosines"):
        assert (layout.FACTORIAL_FIGURES / f"{name}.png").stat().st_size > 10_000


def test_it_says_of_which_models_judge_and_texts_it_is(config: Config) -> None:
    write_study(config)
    factorial.run(config)
    assert read_json(layout.FACTORIAL)["of"] == of(config)
    judge = OF["judge"] | {"name": "another"}
    one = config.model_copy(update={"study": config.study.model_copy(update={"traits": ("evil",)})})
    report_inputs.write_terms(one, OF | {"judge": judge})
    with pytest.raises(TraitsteerError, match=r"judge.name is \"another\" against \"some-judge\""):
        factorial.run(config)


def test_the_committed_study_is_of_the_committed_pair(repository: Path, monkeypatch) -> None:
    monkeypatch.chdir(repository)
    config = load(Path("profiles/pocket-factorial.yaml"))
    pair = {"base": config.models.base, "instruct": config.models.instruct}
    assert read_json(layout.FACTORIAL)["of"] == {
        **{which: {"name": m.name, "digest": digest_of(config, m)} for which, m in pair.items()},
        "judge": judge_identity(config),
        "coherence_floor": config.study.coherence_floor,
        "texts": {trait: texts_of(trait_of(config, trait)) for trait in config.study.traits},
    }


@pytest.mark.parametrize(
    ("part", "changes", "sentence"),
    [
        ("base", {"name": "a/base"}, 'has "own/base" for base.name and this study has "a/base"'),
        ("instruct", {"digest": "56" * 32}, 'has "343434343434'),
        ("judge", {"kind": "pocket"}, 'has "openai" for judge.kind and this study has "pocket"'),
        ("judge", {"host": "there"}, 'has "localhost" for judge.host and this study has "there"'),
        ("coherence_floor", 50.0, "has 70.0 for coherence_floor and this study has 50.0"),
    ],
)
def test_a_study_of_others_is_not_shown_as_that_of_this_profile(
    config: Config, part: str, changes: Any, sentence: str
) -> None:
    report_inputs.write_terms(config, OF)
    found = {"profile": config.profile, "of": of(config)}
    write_json(layout.FACTORIAL, found)
    assert report._factorial(config) == (found, "")
    other = changes if part == "coherence_floor" else OF[part] | changes
    report_inputs.write_terms(config, OF | {part: other})
    shown, since = report._factorial(config)
    assert shown is None
    assert since.startswith("is not shown, since reports/factorial.json has") and sentence in since


def test_a_study_of_other_traits_or_of_unknown_models_is_not_shown(config: Config) -> None:
    report_inputs.write_terms(config, OF)
    assert report._factorial(config) == (None, "was not run for this profile")
    for unknown in ({}, {"of": OF}):
        write_json(layout.FACTORIAL, {"profile": config.profile} | unknown)
        assert "does not say of which models and texts" in report._factorial(config)[1]
    write_json(layout.FACTORIAL, {"of": OF | {"texts": {"calm": "ab"}}})
    assert "has calm and this study has not" in report._factorial(config)[1]


@pytest.mark.parametrize("file", ["definition.txt", "scenarios.txt", "report.txt"])
def test_a_study_of_other_texts_is_not_shown(config: Config, file: str) -> None:
    report_inputs.write_terms(config, OF)
    found = {"of": of(config)}
    write_json(layout.FACTORIAL, found)
    assert report._factorial(config) == (found, "")
    # The words that name a trait are no part of its vectors and scores.
    folder = Path(config.study.trait_folder) / "evil"
    (folder / "names.txt").write_text("another\n", encoding="utf-8")
    assert report._factorial(config) == (found, "")
    path = folder / file
    path.write_text(path.read_text(encoding="utf-8").replace("e", "a"), encoding="utf-8")
    changed = "is of another rubric, contrast pair or question of evil than this study has"
    assert changed in report._factorial(config)[1]
    # A page may have more traits than the factorial study.
    others = {trait: text for trait, text in of(config)["texts"].items() if trait != "evil"}
    write_json(layout.FACTORIAL, {"of": OF | {"texts": others}})
    assert report._factorial(config)[1] == ""


def test_what_would_make_the_tables_false_is_found_where_it_is_planted(config: Config) -> None:
    write_study(config)
    factorial.run(config)
    found = read_json(layout.FACTORIAL)
    clean = falsifiers(found)
    # Factors that do nothing have no part to call their own; those that do something have.
    assert "evil: source and method;" in clean["parts"]
    assert "evil: source and method;" in clean["variance"] or "evil: none" in clean["variance"]
    assert "evil 0.71 beside 0.98, not met" in clean["draws"]
    assert "evil 1.00 beside 0.71, not met" in clean["text"]
    one = found["traits"][0]
    one["cells"][3]["random"] = one["cells"][3]["delta"]
    for row in one["effects"]:
        if row["factors"] == ["text", "position"]:
            row["effect"]["value"] = -12.0
    one["cosine"]["switched"][0]["cosine"] = 0.99
    one["cosine"]["matrix"] = [[0.5] * 16] * 16
    for row in one["variance"]:
        row["share"] = 0.01
    met = falsifiers(found)
    assert clean["cells"] == "Met by none."
    cell = found["cells"][3]
    named = f"{cell['arm']} ({cell['method'].replace('_', ' ')})"
    assert met["cells"] == f"Met by evil: {named}; sycophancy: none; hallucination: none."
    assert "evil: source, position and method;" in met["parts"], "-12 is less than the part of text"
    assert "evil: text, source, position and method;" in met["variance"]
    assert "evil 0.99 beside 0.98, met;" in met["draws"]
    assert "evil 0.50 beside 0.50, met;" in met["text"]


def test_what_could_not_be_looked_for_is_not_said_to_be_absent(config: Config) -> None:
    write_study(config)
    factorial.run(config)
    found = read_json(layout.FACTORIAL)
    one, cell = found["traits"][0], found["cells"][3]
    one["cells"][3]["random"] = None
    named = f"{cell['arm']} ({cell['method'].replace('_', ' ')})"
    assert falsifiers(found)["cells"] == f"Met by none. Not known of evil: {named}."
    # Two factors have no interaction of three, which stands for luck.
    one["variance"] = [row for row in one["variance"] if row["of"].count(" x ") < 2]
    lost = "Not known of evil: text, source, position and method."
    assert falsifiers(found)["variance"].endswith(lost)


def test_halves_that_are_not_alike_foretell_no_second_draw(config: Config) -> None:
    write_study(config)
    for cell in design(config).cells:
        path = layout.vectors("evil", cell.arm) / f"{cell.method}.json"
        write_json(path, {"split_half_cosine": [-1.0] * LAYERS})
    factorial.run(config)
    found = read_json(layout.FACTORIAL)
    assert found["traits"][0]["cosine"]["second_draw"] is None
    assert "evil 0.71 beside –, not told; sycophancy 0.71" in falsifiers(found)["draws"]
    assert "| second draw | –" in tables(found)


def test_the_budget_is_told_as_the_most_that_may_be_tried(config: Config) -> None:
    write_study(config)
    factorial.run(config)
    found = read_json(layout.FACTORIAL)
    assert f"At most {config.search.trials} settings searched for each cell" in tables(found)


def test_a_whole_that_is_rounding_alone_has_no_shares(config: Config) -> None:
    """Steered scores whose differences cancel but for the last digit of a float."""
    write_study(config)
    for cell in design(config).cells:
        path = layout.evaluation("evil", cell.arm) / f"{cell.method}.answers.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            tiny = 1e-14 * (cell.place == (1, 1, 1, 1))
            way = 10.0 * (-1) ** row["question"] * (cell.place == (1, 1, 1, 1))
            row["trait_score"] = 5.0 if row["setting"] == "baseline" else 40.0 + way + tiny
        write_jsonl(path, rows)
    factorial.run(config)
    whole = read_json(layout.FACTORIAL)["traits"][0]["decompositions"][0]
    assert whole["whole"]["value"] == pytest.approx(0, abs=1e-6)
    assert all(part["percent"] is None for part in whole["parts"])


def test_a_finished_study_is_told_again_from_its_record(config: Config) -> None:
    write_study(config)
    factorial.run(config)
    found = read_json(layout.FACTORIAL)
    again = read_json(layout.FACTORIAL)
    for one in (*again["traits"], again["all"]):
        for way in one["decompositions"]:
            del way["margin"], way["ahead"]
            for part in way["parts"]:
                del part["margin"]
        one.get("cosine", {}).pop("second_draw", None)
    write_json(layout.FACTORIAL, again)
    page = Path("page.md")
    mark = "results: written by python -m benchmarks.factorial"
    page.write_text(f"<!-- {mark} -->\n<!-- end of results -->\nMade elsewhere.\n")
    tell(Path(), page)
    assert (
        "It is 2.83 times that of an effect for the whole, 1.15 times for each of 4 parts and 1.49 "
        "times for each of 3 parts."
    ) in page.read_text()
    told = read_json(layout.FACTORIAL)
    for before, after in zip(found["traits"], told["traits"], strict=True):
        assert before["cosine"] == after["cosine"]
        for old, new in zip(before["decompositions"], after["decompositions"], strict=True):
            assert new["parts"] == old["parts"] and new["margin"] == old["margin"]
            assert new["ahead"]["margin"] == old["ahead"]["margin"]
            by = new["ahead"]["by"]
            assert by["lower"] is None, "no answers by question, no interval"
            assert by["value"] == pytest.approx(old["ahead"]["by"]["value"], abs=1e-3)
    said = page.read_text()
    assert "the part that stands out is that of text" in said and "Made elsewhere." in said
    assert Path("page-parts.png").stat().st_size > 10_000


def test_a_cell_with_nothing_feasible_is_named_and_its_trait_not_decomposed(
    config: Config, capsys
) -> None:
    write_study(config, NOTHING)
    factorial.run(config)
    found = read_json(layout.FACTORIAL)
    trait, arm, method = NOTHING
    assert found["all"]["traits"] == ["evil", "sycophancy"]
    [one] = [one for one in found["traits"] if one["trait"] == trait]
    assert one["nothing_feasible"] == [{"arm": arm, "method": method}]
    assert "decompositions" not in one
    printed = capsys.readouterr().out
    assert f"Nothing feasible was found for {trait} in {arm}, probe" in printed
    assert "the delta of 2 of 3 traits changes by" in printed and "all traits" not in printed
    for one in found["traits"]:
        one |= {"nothing_feasible": [{"arm": arm, "method": method}]}
    none = found | {"all": None}
    assert falsifiers(none)["parts"] == falsifiers(none)["variance"]
    assert falsifiers(none)["parts"].startswith("Not looked for")
    said = tables(none)
    assert "Effects over all cells" not in said
    assert "Delta of every cell" in said


def test_questions_that_lack_a_cell_are_left_out_of_all(config: Config) -> None:
    write_study(config)
    path = layout.evaluation("evil", "natural") / "probe.answers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["question"] == 3 and row["setting"] == "steered":
            row["trait_score"] = None
    write_jsonl(path, rows)
    factorial.run(config)
    counts = [one["questions"] for one in read_json(layout.FACTORIAL)["traits"]]
    assert counts == [QUESTIONS - 1, QUESTIONS, QUESTIONS]


def test_results_of_two_protocols_are_not_analysed_together(config: Config) -> None:
    write_study(config)
    path = layout.evaluation("evil", "natural") / "probe.json"
    write_json(path, read_json(path) | {"protocol": "another"})
    with pytest.raises(TraitsteerError, match="evil come from 2 protocols"):
        factorial.run(config)


@pytest.mark.parametrize(
    ("arms", "changes", "sentence"),
    [
        (["instruction", "natural"], {}, "The study has 0 cells with text instruction, source"),
        (["instruction"], {"instruction": {"methods": ["probe"]}}, "All cells of the study are al"),
        (
            ["instruction", "instruction-base", "instruction-10"],
            {"instruction-base": {"position": "prompt[-1]"}},
            "3 levels of position",
        ),
    ],
)
def test_a_study_that_is_not_factorial_is_refused(
    repository: Path, arms: list[str], changes: dict[str, dict[str, object]], sentence: str
) -> None:
    text = (repository / "profiles/pocket-factorial.yaml").read_text(encoding="utf-8")
    values = YAML(typ="safe").load(text)
    for arm, keys in changes.items():
        values["arms"][arm] |= keys
    values["study"] |= {"arms": arms}
    values["study"]["texts"] = [arm for arm in arms if values["arms"][arm]["text"] is None]
    with pytest.raises(TraitsteerError) as caught:
        design(Config.model_validate(values))
    assert sentence in str(caught.value)


def test_the_report_has_room_for_eight_arms(config: Config, monkeypatch) -> None:
    # The words alone are looked at; drawing takes most of the time.
    monkeypatch.setattr(report, "_drawn", lambda figures: dict.fromkeys(figures, ""))
    study = config.study.model_copy(update={"traits": ("evil",)})
    config = config.model_copy(update={"study": study})
    write_study(config)
    factorial.run(config)
    report_inputs.write_study(config)
    report_inputs.write_terms(config, read_json(layout.FACTORIAL)["of"])
    report.run(config)
    header, *rows = show.table(config).splitlines()[2 : 3 + 16]
    for row in rows:
        assert row[header.index("method") :].startswith(("mean_difference ", "probe "))
    page = layout.REPORT.read_text(encoding="utf-8")
    assert "vectors of 8 arms" in page
    assert "and the part that stands out is that of text" in page
    assert "Met by evil: source and method." in page
    assert "evil 0.71 beside 0.98, not met." in page and "evil 1.00 beside 0.71, not met." in page
    trials = read_json(layout.FACTORIAL)["trials"]
    assert f"at most {trials} settings searched for each" in page
    assert len({arm_place(arm, study.arms) for arm in study.arms}) == 8
    for place in range(8):
        assert page.count(f"--arm-{place}:") == 2, "a colour for light and one for dark"
    assert page.count('<div class="column') == 2, "the responses of each text, once"


def test_a_text_is_read_with_the_vocabulary_that_it_was_written_with(
    repository: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    values = YAML(typ="safe").load(
        (repository / "profiles/pocket-factorial.yaml").read_text(encoding="utf-8")
    )
    values["study"]["trait_folder"] = str(repository / "data/pocket/traits")
    values["judge"]["name"] = str(repository / "models/pocket/judge")
    values["calibrate"]["questions"] = str(repository / "data/pocket/calibration.txt")
    values["cross"]["neutral"] = str(repository / "data/pocket/neutral.txt")
    for which in ("base", "instruct"):
        values["models"][which]["name"] = str(repository / "models/pocket" / which)
    monkeypatch.chdir(tmp_path)

    def check(code: int) -> str:
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(values, file)
        assert main(["check"]) == code
        return capsys.readouterr().err

    assert "8 arms" in check(0)
    build(tmp_path / "other", "llama")
    values["models"]["base"]["name"] = str(tmp_path / "other")
    said = check(1)
    assert "whose vocabulary lacks or renumbers" in said
    assert "read it with a model of the same vocabulary" in said
