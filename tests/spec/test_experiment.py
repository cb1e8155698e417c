"""Experiment files: what is accepted, what is refused, and in which words."""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swapbench.base.errors import ExperimentError, UsageError
from swapbench.base.phases import PHASES, Phase
from swapbench.spec.experiment import (
    CriterionKind,
    Experiment,
    Source,
    discover,
    experiment_dirs,
    find,
    load,
    schema,
    validate,
)
from swapbench.spec.experiment.tables import Host, read_hostfile
from swapbench.spec.overrides import sets, short_for

SHIPPED = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))

VALID: dict[str, Any] = {
    "models": {"small": "org/Small", "large-4.5b": "org/Large"},
    "scenario": [
        {"name": "up", "from": "small", "to": "large-4.5b"},
        {"name": "down", "from": "large-4.5b", "to": "small"},
    ],
    "criterion": [{"kind": "no-leak"}, {"kind": "any-under-target", "title": "fast enough"}],
    "workload": {"agents": 2},
    "expected_s": {"load": [10, 20]},
}

TOML = """
rounds = 5
workload.agents = 2
[models]
small = "org/Small"
"large-4.5b" = "org/Large"
[[scenario]]
name = "up"
from = "small"
to = "large-4.5b"
[[criterion]]
kind = "no-leak"
"""


def changed(**changes: Any) -> dict[str, Any]:
    return deepcopy(VALID) | changes


def refusal(raw: dict[str, Any]) -> str:
    """What is said about `raw`, after the file's name."""
    with pytest.raises(ExperimentError) as caught:
        validate(raw, "mine.toml")
    origin, _, words = str(caught.value).partition(": ")
    assert origin == "mine.toml"
    return words


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    return path


# What comes with swapbench


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_valid_and_says_what_it_is(path: Path) -> None:
    experiment = load(path)
    assert experiment.title
    assert experiment.criterion or experiment.fault


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_swaps_in_a_circle_so_that_rounds_follow_one_another(path: Path) -> None:
    experiment = load(path)
    if len(experiment.strategy) > 1:
        pytest.skip("a round of one strategy is a worker of its own: none follows another")
    scenarios = experiment.scenario
    # A swap that fails ends where it began.
    ends = [s.from_model if experiment.fault_in(s.name, 0) else s.to_model for s in scenarios]
    assert [scenario.from_model for scenario in scenarios] == [ends[-1], *ends[:-1]]


def test_exp012_is_the_experiment_as_it_was_planned() -> None:
    experiment = load(find("exp012"))
    assert {s.name: (s.from_model, s.to_model) for s in experiment.scenario} == {
        "small-to-large": ("smollm2-135m", "gemma-3-12b"),
        "large-to-large": ("gemma-3-12b", "qwen2.5-14b"),
        "large-to-small": ("qwen2.5-14b", "smollm2-135m"),
    }
    assert experiment.target_s == 30.0
    assert set(experiment.expected_s) == set(PHASES)
    assert experiment.expected_s[Phase.LOAD] == (10, 20)
    assert experiment.expected_s[Phase.EVICT] == (1, 3)
    assert [criterion.kind for criterion in experiment.criterion] == [
        CriterionKind.ANY_UNDER_TARGET,
        CriterionKind.BOTTLENECK_IDENTIFIED,
        CriterionKind.NO_LEAK,
    ]
    assert experiment.workload.requests == experiment.workload.agents == 0


def test_exp012_loaded_differs_from_exp012_in_its_load_and_not_in_its_swaps() -> None:
    idle, loaded = load(find("exp012")), load(find("exp012-loaded"))
    assert loaded.models == idle.models
    assert loaded.scenario == idle.scenario
    assert loaded.workload.requests > 0
    assert loaded.workload.agents > 0
    assert loaded.workload.drain_deadline_s > 0


def test_exp011_asks_whether_memory_comes_back_over_enough_rounds_to_tell() -> None:
    experiment = load(find("exp011"))
    assert {c.kind for c in experiment.criterion} == {CriterionKind.MEMORY_RECLAIMED, CriterionKind.NO_LEAK}
    assert experiment.rounds >= 20
    assert experiment.warmup >= 3


def test_quick_needs_no_download() -> None:
    assert load(find("quick")).source is Source.MINI


# Reading


def test_an_experiment_says_which_models_its_scenarios_use_in_order_of_appearance() -> None:
    assert validate(VALID, "mine.toml").model_names() == ("small", "large-4.5b")


def test_what_a_file_leaves_out_is_an_idle_warm_run() -> None:
    experiment = validate({"models": VALID["models"], "scenario": VALID["scenario"]}, "mine.toml")
    assert experiment.workload.requests == experiment.workload.agents == 0
    assert experiment.page_cache == "warm"
    assert experiment.target == "inprocess"


def test_an_experiment_written_as_json_reads_back_equal() -> None:
    experiment = validate(VALID, "mine.toml")
    assert validate(experiment.model_dump(mode="json", by_alias=True), "run.json") == experiment
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())
    assert load(file).rounds == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"rounds = ", "not valid TOML"),
        (b"rounds = 3\nrounds = 4\n", "not valid TOML"),
        (b"x = " + b"9" * 5000, "not valid TOML"),
        (b"x = " + b"[" * 5000, "not valid TOML"),
        (TOML.replace("= 5", "= 0x" + "f" * 5000).encode(), "rounds: must be at most 10000"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "models: an experiment needs at least one model under [models]"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_in_one_line(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ExperimentError, match=re.escape(words)) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=re.escape(str(tmp_path))):
        load(tmp_path)


# Mistakes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"round": 3}, 'round: unknown key; did you mean "rounds"?'),
        ({"agents": 3}, "agents: unknown key; it belongs under [workload]"),
        ({"kind": "no-leak"}, "kind: unknown key; it belongs under [[criterion]]"),
        ({"workload": {"agent": 3}}, 'workload.agent: unknown key; did you mean "agents"?'),
        ({"workload": {"rounds": 3}}, "workload.rounds: unknown key; it belongs above the first [table]"),
        ({"scenario": []}, "scenario: an experiment needs at least one [[scenario]]"),
        ({"scenario": {"name": "up"}}, "scenario: must be a list of tables, each under [[scenario]]"),
        ({"scenario": [3]}, "scenario.0: must be a table (it is 3)"),
        ({"scenario": [{"name": "up", "from": "small"}]}, "scenario.up.to: missing"),
        ({"models": {}}, "models: an experiment needs at least one model under [models]"),
        ({"models": {"small": ""}}, 'models.small: must not be empty (it is "")'),
        ({"models": {"a b": "x"}}, 'models.a b: "a b" is no name; use letters, digits, ".", "_" and "-"'),
        (
            {"models": {"small": "x", "rounds": 3}},
            "models.rounds: must be text, a model's reference; "
            'the key "rounds" belongs above the first [table]',
        ),
        ({"rounds": -1}, "rounds: must be at least 1 (it is -1)"),
        ({"rounds": 0}, "rounds: must be at least 1 (it is 0)"),
        ({"rounds": 2.5}, "rounds: must be a whole number (it is 2.5)"),
        ({"rounds": True}, "rounds: must be a whole number (it is true)"),
        ({"rounds": "5"}, 'rounds: must be a whole number (it is "5")'),
        ({"target_s": 0}, "target_s: must be more than 0 (it is 0)"),
        ({"target_s": -30.0}, "target_s: must be more than 0 (it is -30.0)"),
        ({"target_s": float("nan")}, "target_s: must be a finite number (it is NaN)"),
        ({"swap_timeout_s": float("inf")}, "swap_timeout_s: must be a finite number (it is Infinity)"),
        ({"target_s": "30"}, 'target_s: must be a number (it is "30")'),
        (
            {"workload": {"drain_deadline_s": -1}},
            "workload.drain_deadline_s: must be at least 0 (it is -1)",
        ),
        ({"engine": {"max_batch": 1000}}, "engine.max_batch: must be at most 256 (it is 1000)"),
        ({"first_token": 1}, "first_token: must be true or false (it is 1)"),
        ({"title": 12}, "title: must be text, in quotes (it is 12)"),
        ({"workload": 3}, "workload: must be a table (it is 3)"),
        ({"source": "syntetic"}, 'source: "syntetic" is not allowed; did you mean "synthetic"?'),
        ({"source": ["hub"]}, 'source: must be hub or local or synthetic or mini (it is ["hub"])'),
        ({"engine": {"kv_budget_bytes": -1}}, "engine.kv_budget_bytes: must be at least 1 (it is -1)"),
        ({"schema_version": 2}, "schema_version: must be 1 (it is 2)"),
        (
            {"criterion": [{"kind": "no-leek"}]},
            'criterion.0.kind: "no-leek" is not allowed; did you mean "no-leak"?',
        ),
        ({"expected_s": {"laod": [1, 2]}}, 'expected_s.laod: "laod" is not allowed; did you mean "load"?'),
        ({"expected_s": {"load": [1]}}, "expected_s.load: must be two numbers, [least, most] seconds"),
        ({"expected_s": {"load": 3}}, "expected_s.load: must be two numbers, [least, most] seconds"),
        ({"expected_s": {"load": [-1, 2]}}, "expected_s.load.0: must be at least 0 (it is -1)"),
        ({"expected_s": {"load": [3, 2]}}, "expected_s.load: the range [3, 2] runs backwards"),
        (
            {"scenario": [{"name": "up", "from": "small", "to": "larg"}]},
            'scenario.up.to: no model "larg" under [models]; did you mean "large-4.5b"?',
        ),
        (
            {"scenario": [VALID["scenario"][0], VALID["scenario"][0]]},
            'scenario.up.name: "up" is there twice; names must differ',
        ),
        ({"target": "scripted"}, 'target: target = "scripted" and a [script] table belong together'),
        ({"script": {}}, 'target: target = "scripted" and a [script] table belong together'),
    ],
)
def test_a_mistake_is_answered_with_key_fault_and_nearest_valid_word(
    changes: dict[str, Any], words: str
) -> None:
    assert refusal(changed(**changes)) == words


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            {"swap": [{"scenario": "upp"}]},
            'script.swap.0.scenario: no scenario "upp"; did you mean "up"?',
        ),
        ({"swap": [{"scenario": "up", "fails_in": "laod"}]}, 'did you mean "load"?'),
        ({"spans": {"laod/read": 1}}, 'spans are named "phase/span"; did you mean "load"?'),
        ({"spans": {"load": 1}}, 'spans are named "phase/span"'),
        ({"seconds": {"load": -1}}, "script.seconds.load: must be at least 0 (it is -1)"),
        ({"model_bytes": {"smal": 1}}, 'no model "smal" under [models]; did you mean "small"?'),
    ],
)
def test_a_script_that_names_what_is_not_there_is_refused(script: dict[str, Any], words: str) -> None:
    assert words in refusal(changed(target="scripted", script=script))


def test_a_misspelt_key_is_named_before_the_required_one_that_it_leaves_missing() -> None:
    raw = {key: value for key, value in VALID.items() if key != "models"} | {"modles": VALID["models"]}
    assert refusal(raw) == 'modles: unknown key; did you mean "models"?'


# Finding


def test_an_experiment_of_ones_own_is_found_by_its_path(file: Path) -> None:
    assert find(str(file)) == file


def test_a_local_experiment_hides_a_shipped_one_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path("experiments/quick.toml")
    mine.parent.mkdir()
    mine.write_text(TOML)
    assert find("quick") == mine
    assert find("exp012").is_file()


def test_shipped_experiments_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {"exp011", "exp012", "exp012-loaded", "quick"} <= set(discover())
    assert len(experiment_dirs()) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exp12", 'no experiment "exp12"; did you mean "exp012"?'),
        ("nowhere.toml", "nowhere.toml: no such file; `swapbench list` shows the experiments"),
        ("no/where", "no/where: no such file"),
        ("x" * 5000 + ".toml", "no such file"),
    ],
)
def test_an_experiment_that_is_not_there_is_refused_with_a_way_out(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        find(name)


# Overrides


@pytest.mark.parametrize(
    ("override", "attribute", "value"),
    [
        ("rounds=7", "rounds", 7),
        (" rounds = 7 ", "rounds", 7),
        ("source=mini", "source", Source.MINI),
        ('title="with = and."', "title", "with = and."),
        ("workload.agents=4", "workload.agents", 4),
        ("workload={agents = 4}", "workload.agents", 4),
        ("engine.kv_budget_bytes=1_000", "engine.kv_budget_bytes", 1000),
        ("target_s=1e1", "target_s", 10.0),
        ("first_token=false", "first_token", False),
        ("criterion.no-leak.title=tight", "criterion.0.title", "tight"),
        ("criterion.0.title=tight", "criterion.0.title", "tight"),
        ("criterion=[]", "criterion", ()),
        ("scenario.up.name=across", "scenario.0.name", "across"),
        ("models.large-4.5b=org/Other", "models.large-4.5b", "org/Other"),
        ('models."large-4.5b"=org/Other', "models.large-4.5b", "org/Other"),
    ],
)
def test_an_override_sets_what_it_names(file: Path, override: str, attribute: str, value: Any) -> None:
    found: Any = load(file, sets([override]))
    if attribute.startswith("models."):
        found = found.models[attribute.partition(".")[2]]
    else:
        for part in attribute.split("."):
            found = found[int(part)] if part.isdecimal() else getattr(found, part)
    assert found == value


def test_later_overrides_win_and_the_file_stays_as_it_is(file: Path) -> None:
    assert load(file, sets(["rounds=7", "rounds=8"])).rounds == 8
    assert load(file).rounds == 5
    assert file.read_text() == TOML


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rounds", "--set rounds: write key.path=value"),
        ("=3", "--set =3: write key.path=value"),
        ("workload..agents=3", "write key.path=value"),
        ('workload."agents=3', "write key.path=value"),
        ("rounds.x=3", '--set rounds.x: "rounds" is a value, not a table'),
        ("scenario.upp.to=small", '--set scenario.upp.to: no "upp" there; did you mean "up"?'),
        ("scenario.7.to=small", 'no "7" there; known: up'),
        ("rounds=-1", "--set rounds: must be at least 1 (it is -1)"),
        ("workload.agnets=1", '--set workload.agnets: unknown key; did you mean "agents"?'),
        ("workload={agents = -1}", "--set workload: workload.agents: must be at least 0 (it is -1)"),
        (
            "scenario.up.to=smal",
            '--set scenario.up.to: no model "smal" under [models]; did you mean "small"?',
        ),
        ("verify.prompt_tokens=8,64", "--set verify.prompt_tokens: must be a list, written [8, 64]"),
        ("verify.prompt_tokens=8", "--set verify.prompt_tokens: must be a list, in [brackets] (it is 8)"),
        (
            "strategy=stock,auto",
            '--set strategy: no strategy "stock,auto"; a list is written ["stock", "auto"]',
        ),
        ("rounds=" + "9" * 5000, "rounds: must be a whole number"),
        (
            "models.smal=org/Other",
            '--set models.smal: no scenario uses a model "smal"; did you mean "small"?',
        ),
    ],
)
def test_an_override_that_is_wrong_is_named_itself(file: Path, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        load(file, sets([override]))


@pytest.mark.parametrize(
    ("key", "option", "value", "words"),
    [
        ("rounds", "--rounds", -3, "--rounds: must be at least 1 (it is -3)"),
        ("warmup", "--warmup", -1, "--warmup: must be at least 0 (it is -1)"),
        ("source", "--models", "nope", '--models: "nope" is not allowed; known: hub, local, mini, synthetic'),
        ("page_cache", "--page-cache", "hot", '--page-cache: "hot" is not allowed; known: as-is, cold, warm'),
        ("sharded.ranks", "--hosts", 2, '--hosts: a [sharded] table is for target = "sharded"'),
    ],
)
def test_an_option_that_is_short_for_a_key_is_named_by_what_was_typed(
    file: Path, key: str, option: str, value: object, words: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        load(file, [*sets(["workload.agents=1"]), *short_for(key, option, value)])
    assert str(caught.value) == words


def test_where_no_option_is_to_blame_alone_those_that_were_typed_are_named(file: Path) -> None:
    given = [*short_for("target", "--target", "sharded"), *sets(["rounds=999", *["seed=1"] * 3])]
    with pytest.raises(ExperimentError) as caught:
        load(file, given)
    assert str(caught.value) == (
        f"{file} with --target sharded, --set rounds=999, --set seed=1, 2 more: workload.agents: "
        "a sharded target is idle when it is swapped: leave it at 0"
    )


def test_an_override_is_not_blamed_for_what_is_wrong_with_the_file(file: Path) -> None:
    file.write_text(TOML.replace("rounds = 5", "rounds = 0"))
    with pytest.raises(ExperimentError) as caught:
        load(file, sets(["workload.agents=4"]))
    assert str(caught.value) == f"{file}: rounds: must be at least 1 (it is 0)"


def test_an_override_may_mend_the_file(file: Path) -> None:
    file.write_text(TOML.replace("rounds = 5", "rounds = 0"))
    assert load(file, sets(["rounds=2"])).rounds == 2


# JSON Schema


def test_the_json_schema_knows_every_key_that_a_file_may_have() -> None:
    document = schema()
    fields = {field.alias or name for name, field in Experiment.model_fields.items()}
    assert set(document["properties"]) == fields
    assert document["additionalProperties"] is False
    assert document["$defs"]["Scenario"]["required"] == ["name", "from", "to"]
    assert document["$defs"]["Phase"]["enum"] == [str(phase) for phase in PHASES]


def test_every_table_of_the_json_schema_is_closed() -> None:
    tables = [entry for entry in schema()["$defs"].values() if entry["type"] == "object"]
    assert tables
    assert all(table["additionalProperties"] is False for table in tables)


# Whatever is thrown at it

toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
known_keys = st.sampled_from([field.alias or name for name, field in Experiment.model_fields.items()])
table_keys = st.sampled_from(["name", "from", "to", "kind", "at_least", "agents", "swap", "seconds", "load"])
near_tables = st.dictionaries(table_keys | st.text(max_size=6), toml_values, max_size=4)


def answered(read: Callable[[], Experiment]) -> str:
    """What a user gets: an experiment's settings, or the one line that refuses it."""
    try:
        return read().model_dump_json()
    except UsageError as error:
        return str(error)


@given(
    st.dictionaries(
        known_keys | st.text(max_size=12),
        toml_values | near_tables | st.lists(near_tables, max_size=3),
        max_size=5,
    )
)
@example({"a\nb": 1})
@example({"\ud800": 1})
def test_any_document_is_an_experiment_or_one_line_of_refusal(document: dict[str, Any]) -> None:
    for raw in (document, deepcopy(VALID) | document):
        answer = answered(partial(validate, raw, "mine.toml"))
        assert len(answer.splitlines()) == 1
        assert answer.encode()


@given(
    st.text(max_size=40)
    | st.builds("{}={}".format, st.text('scenariowkl.upd"0-4 5b', max_size=30), st.text())
)
@example("rounds=" + "9" * 5000)
@example("rounds=[" + "[" * 5000)
@example("scenario." + "9" * 5000 + ".to=small")
def test_any_override_is_applied_or_refused(override: str) -> None:
    assert answered(lambda: load(SHIPPED[0], sets([override])))


TWO_HOSTS = '[{"ssh": "mac-1", "ips": ["10.0.0.1"]}, {"ssh": "mac-2", "ips": ["10.0.0.2"]}]'


@pytest.mark.parametrize("text", [TWO_HOSTS, f'{{"backend": "ring", "envs": [], "hosts": {TWO_HOSTS}}}'])
def test_hosts_are_listed_plainly_or_with_what_belongs_to_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(text)
    assert read_hostfile(path) == (Host("mac-1", ("10.0.0.1",)), Host("mac-2", ("10.0.0.2",)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", r"not valid JSON"),
        ("[]", r"no hosts"),
        ('{"backend": "ring"}', r"no hosts"),
        ('["mac-1"]', r"hosts\.0: must be"),
        ('[{"ssh": "a"}, {"ips": []}]', r"hosts\.1: must be"),
        ('[{"ssh": "a", "ips": "10.0.0.1"}]', r"hosts\.0: must be"),
    ],
)
def test_what_mlx_launch_would_not_take_is_told_with_its_place(
    text: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        read_hostfile(path)
