"""Parameters: unknown keys and impossible values are refused by a sentence that names the key."""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from traitsteer.cli import main
from traitsteer.words.config import load, parse
from traitsteer.words.errors import TraitsteerError


def test_every_profile_is_whole_and_the_pocket_one_is_the_default(repository: Path) -> None:
    profiles = sorted((repository / "profiles").glob("*.yaml"))
    loaded = {path.stem: load(path) for path in profiles}
    assert {"pocket", "llama-3.1-8b"} <= set(loaded)
    assert load(repository / "params.yaml") == loaded["pocket"]
    assert all(config.profile == name for name, config in loaded.items())
    assert loaded["llama-3.1-8b"].models.base.name == "meta-llama/Llama-3.1-8B"


NULLS = {"random": 5, "shuffled": 1, "orthogonal": 1, "samples": 1}


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        ("search", "nope", 1, "search.nope is no known parameter"),
        ("search", "trials", 0, "search.trials"),
        ("search", "trials", 3, "fewer than the coarse design"),
        ("search", "step", 0.07, "step is 0.07, expected a whole fraction of 0.1 to 1.2"),
        ("judge", "missing_at_most", 0.5, "missing_at_most is 0.5, expected less than a third"),
        ("search", "rungs", [10, 5], "rungs is [10, 5], expected numbers that rise"),
        ("search", "rungs", [1], "search.rungs.0"),
        ("search", "prune_confidence", 1, "search.prune_confidence"),
        ("search", "strength", [0.5, 0.2], "strength is"),
        ("study", "coherence_floor", 170, "study.coherence_floor"),
        ("study", "arms", ["sideways"], "names 'sideways'"),
        ("study", "texts", ["natural"], "study.texts is ['natural'], expected the arms of study"),
        ("elicit", "temperature", -1, "elicit.temperature"),
        ("elicit", "samples", 1_000_000_000, "elicit.samples"),
        ("elicit", "temperature", 0, "elicit: samples is 2 at temperature 0"),
        ("answers", "temperature", 0, "answers.temperature"),
        ("vet", "positive_at_least", 40, "vet: positive_at_least is 40 and negative_at_most 40"),
        ("vet", "negative_at_most", 100, "one score would show either polarity"),
        (
            "evaluate",
            "nulls",
            {"random": 4, "shuffled": 1, "orthogonal": 1, "samples": 1},
            "nulls.random",
        ),
        ("evaluate", "ladder", [0.9, 0.5], "ladder is [0.9, 0.5], expected multiples that rise"),
        ("evaluate", "ladder", [0.5, 1.0], "without 1, which is the chosen strength"),
        ("fit", "penalties", [], "fit.penalties"),
        ("study", "traits", ["evil", "evil"], "study.traits names evil, evil"),
        ("study", "traits", ["a.b"], "study.traits"),
        ("models", "dtype", "float8", "models.dtype"),
        ("models", "quantisation", "int2", "models.quantisation"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_key(
    params: dict[str, Any], section: str, key: str, value: object, sentence: str
) -> None:
    parse(params)
    params[section][key] = value
    with pytest.raises(TraitsteerError) as caught:
        parse(params)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_greedy_elicitation_of_one_sample_and_vetting_of_coherence_alone_are_taken(
    params: dict[str, Any],
) -> None:
    params["elicit"] |= {"temperature": 0, "samples": 1}
    params["vet"] |= {"positive_at_least": 0, "negative_at_most": 100}
    assert parse(params).elicit.samples == 1


def test_the_arms_that_are_compared_are_what_they_are_called(params: dict[str, Any]) -> None:
    params["arms"]["natural"] |= {"elicitation": "instruction", "source": "instruct"}
    with pytest.raises(TraitsteerError, match="give it another name"):
        parse(params)
    params["arms"]["told"] = params["arms"].pop("natural")
    params["study"] |= {"arms": ["instruction", "told"], "texts": ["instruction", "told"]}
    assert parse(params).arm("told").elicitation == "instruction"


def test_two_cells_of_one_name_are_refused(params: dict[str, Any]) -> None:
    """DVC would run one of them and say nothing of the other."""
    params["arms"]["natural-natural"] = params["arms"]["natural"]
    params["study"]["arms"].append("natural-natural")
    params["study"]["texts"].append("natural-natural")
    params["study"]["traits"] = ["risk", "risk-taking"]
    parse(params)
    params["study"]["traits"] = ["risk", "risk-natural"]
    with pytest.raises(TraitsteerError) as caught:
        parse(params)
    assert (
        "the trait 'risk' with the arm 'natural-natural' and the trait 'risk-natural' with the arm "
        "'natural' are both 'risk-natural-natural' to DVC, which would run only one of them; "
        "rename a trait or an arm"
    ) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text": "nobody"}, "arms.reader.text is 'nobody', expected one of ['instruction', 'nat"),
        ({"text": "reader"}, "arms.reader.text is 'reader'"),
        ({"elicitation": "instruction"}, "the text of 'natural' is elicited by natural"),
    ],
)
def test_an_arm_reads_the_text_of_one_that_elicits(
    params: dict[str, Any], changes: dict[str, Any], sentence: str
) -> None:
    params["arms"]["reader"] = params["arms"]["natural"] | {"text": "natural"}
    params["study"]["arms"].append("reader")
    config = parse(params)
    assert [config.text(arm) for arm in config.study.arms] == ["instruction", "natural", "natural"]
    params["arms"]["reader"] |= changes
    with pytest.raises(TraitsteerError) as caught:
        parse(params)
    assert sentence in str(caught.value)


def test_a_template_or_reasoning_without_a_chat_is_refused(params: dict[str, Any]) -> None:
    marks = {"start": "<think>", "end": "</think>"}
    params["models"]["instruct"] |= {"thinking": marks, "template": {"enable_thinking": False}}
    instruct = parse(params).models.instruct
    assert instruct.thinking and instruct.thinking.end == "</think>"
    assert instruct.template == {"enable_thinking": False}
    for key, value in (("thinking", marks), ("template", {"enable_thinking": False})):
        params["models"]["base"] |= {"thinking": None, "template": {}} | {key: value}
        with pytest.raises(TraitsteerError, match=r"models\.base: .* has `chat: false` and"):
            parse(params)
    params["models"]["base"] |= {"thinking": None, "template": {}}
    params["models"]["instruct"]["thinking"] = {"start": "<think>", "end": ""}
    with pytest.raises(TraitsteerError, match=r"models\.instruct\.thinking\.end"):
        parse(params)


def test_a_missing_key_is_named(params: dict[str, Any]) -> None:
    del params["fit"]["folds"]
    with pytest.raises(TraitsteerError, match=r"fit\.folds is missing"):
        parse(params)


def test_configuration_is_frozen(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(params).search.trials = 3


def test_the_command_line_prints_the_sentence_and_exits_1(
    params: dict[str, Any], tmp_path: Path, monkeypatch, capsys
) -> None:
    params["search"]["nope"] = 1
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("traitsteer: params.yaml: search.nope is no known parameter")
    assert printed.count("\n") == 1


def test_an_interruption_is_one_sentence(monkeypatch, capsys) -> None:
    def interrupted(_folder: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("traitsteer.stages.lint.check", interrupted)
    assert main(["lint", "somewhere"]) == 130
    printed = capsys.readouterr().err
    assert printed.startswith("traitsteer: interrupted; run the command again")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_cannot_show_a_sign_is_no_error(
    repository: Path, monkeypatch, encoding: str
) -> None:
    monkeypatch.chdir(repository)
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
    assert main(["show"]) == 0
    sys.stdout.flush()
    said = printed.getvalue().decode(encoding)
    assert ("natural −" if encoding == "utf-8" else "natural \\u2212") in said


@pytest.mark.parametrize(
    ("number", "name", "wrote"),
    [
        (errno.ENOSPC, "data/x", True),
        (errno.EROFS, "data/x", True),
        (errno.EACCES, "data/not there yet", True),
        (errno.EACCES, "params.yaml", True),
        (errno.EACCES, "unreadable", False),
        (errno.EMFILE, "params.yaml", False),
        (errno.ECONNREFUSED, None, False),
    ],
)
def test_an_error_of_the_system_advises_to_write_only_where_that_failed(
    number: int, name: str | None, wrote: bool, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    Path("unreadable").touch()
    monkeypatch.setattr(os, "access", lambda path, *_, **__: str(path) != "unreadable")

    def fails(_config: object) -> None:
        raise OSError(number, os.strerror(number), name)

    monkeypatch.setattr("traitsteer.words.config.load", lambda: None)
    monkeypatch.setattr("traitsteer.stages.calibrate.run", fails)
    assert main(["calibrate"]) == 1
    printed = capsys.readouterr().err
    assert os.strerror(number) in printed
    assert name is None or name in printed
    assert ("can be written" in printed) == wrote
    assert printed.count("\n") == 1


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("seed: 0 # é".encode("latin-1"))
    with pytest.raises(TraitsteerError, match="is no UTF-8 text"):
        load(path)
    path.write_text("a: [1,", encoding="utf-8")
    with pytest.raises(TraitsteerError, match="is no YAML"):
        load(path)
    with pytest.raises(TraitsteerError, match="is not there"):
        load(tmp_path / "other.yaml")
