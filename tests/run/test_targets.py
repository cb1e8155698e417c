"""What `target` may say."""

import socket
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import UsageError
from swapbench.run.arms import checkpoints_of
from swapbench.run.targets import fit, refuse_silent, server_of
from swapbench.spec.experiment import PageCache, validate
from tests.environments import thin
from tests.scripted import scripted
from tests.worker.targets.http.standing import experiment


def asked(**changes: Any) -> Any:
    return validate(experiment(**changes), "test")


def test_a_name_is_a_preset_and_a_url_a_server_that_runs() -> None:
    started, running = server_of("mlx_lm"), server_of("http://127.0.0.1:8080/")
    assert started is not None
    assert running is not None
    assert (started.preset.name, started.url) == ("mlx_lm", "")
    assert (running.preset.name, running.url) == ("openai", "http://127.0.0.1:8080")


def test_both_are_said_with_an_at_between() -> None:
    server = server_of("ollama@http://10.0.0.1:11434")
    assert server is not None
    assert (server.preset.name, server.url) == ("ollama", "http://10.0.0.1:11434")


def test_a_server_that_cannot_be_started_is_looked_for_where_it_is_as_a_rule() -> None:
    server = server_of("lm-studio")
    assert server is not None
    assert server.url == "http://127.0.0.1:1234"


@pytest.mark.parametrize("name", ["inprocess", "scripted"])
def test_what_is_in_the_worker_is_no_server(name: str) -> None:
    assert server_of(name) is None


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("mlxlm", 'no target "mlxlm"; did you mean "mlx_lm"?'),
        ("./nowhere.toml", "nowhere.toml: No such file or directory"),
        ("openai", "say where one runs, as openai@http://127.0.0.1:8080"),
        ("mlx_lm@127.0.0.1", "after the @ there has to be a URL"),
        ("http://me:secret@127.0.0.1", "keys come from the environment"),
        ("http://127.0.0.1/?key=secret", "keys come from the environment"),
        ("http://127.0.0.1:99999", "no URL of a server"),
    ],
)
def test_what_is_none_is_told_with_what_to_say_instead(target: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        server_of(target)
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)


def test_orchestrators_are_those_of_the_worker_s_interpreter(tmp_path: Path) -> None:
    entry_points = tmp_path / "site" / "own-1.0.dist-info" / "entry_points.txt"
    entry_points.parent.mkdir(parents=True)
    entry_points.write_text("[swapbench.targets]\nmy-own = own:Own\n", encoding="utf-8")
    theirs = str(thin(tmp_path / "theirs", tmp_path / "site"))
    assert server_of("my-own", theirs) is None
    assert fit(asked(target="my-own"), theirs).orchestrator == "own:Own"
    with pytest.raises(UsageError, match='no target "my-own"; '):
        fit(asked(target="my-own"))
    with pytest.raises(UsageError, match=f'no target "my-ownn" for {theirs}; did you mean "my-own"'):
        server_of("my-ownn", theirs)


def test_an_experiment_takes_any_target_without_a_blank_in_it() -> None:
    assert asked(target="http://127.0.0.1:8080").target == "http://127.0.0.1:8080"
    with pytest.raises(UsageError, match="target"):
        asked(target="two words")


def test_where_the_server_keeps_its_own_models_the_page_cache_is_as_it_is() -> None:
    scenario = [{"name": "there", "from": "ham", "to": "egg", "page_cache": "cold"}]
    fitted = fit(asked(target="ollama@http://10.0.0.1", page_cache="warm", scenario=scenario))
    assert fitted.experiment.page_cache is PageCache.AS_IS
    assert fitted.experiment.scenario[0].page_cache is None
    assert any("page cache as it is" in note for note in fitted.notes)
    assert any("load_duration: from the request's arrival" in note for note in fitted.notes)


def test_where_it_loads_checkpoints_by_their_folders_it_is_as_asked() -> None:
    assert fit(asked(target="mlx_lm", page_cache="cold")).experiment.page_cache is PageCache.COLD


def test_a_server_is_asked_long_prompts_too_unless_the_experiment_says_which() -> None:
    assert fit(asked(target="mlx_lm")).experiment.verify.prompt_tokens == (8, 512, 2100)
    verify = {"prompt_tokens": [4]}
    assert fit(asked(target="mlx_lm", verify=verify)).experiment.verify.prompt_tokens == (4,)


def test_by_url_it_is_said_what_verification_can_not_see() -> None:
    notes = fit(asked(target="openai@http://127.0.0.1:1")).notes
    assert any("one that is always wrong is not seen" in note for note in notes)
    assert not any("always wrong" in note for note in fit(asked(target="mlx_lm")).notes)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("ollama", "truncated-shard"),
        ("mlx_lm", "memory-limit"),
        ("inprocess", "client-gone"),
        ("lm-studio", "client-gone"),
    ],
)
def test_faults_that_a_target_can_not_have_are_refused(target: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"{kind}: no fault that can be committed on"):
        fit(asked(target=target, fault=[{"kind": kind, "scenario": "there"}]))


def test_strategies_are_refused() -> None:
    with pytest.raises(UsageError, match="leave --strategy out"):
        fit(asked(target="mlx_lm", strategy="map"))


def test_a_key_that_is_missing_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    file = tmp_path / "mine.toml"
    file.write_text(
        'title = "mine"\nurl = "http://127.0.0.1:1"\n'
        '[headers]\nAuthorization = "{env:MY_KEY}"\n[ask]\nbody = { prompt = "{prompt}" }\n',
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match="the environment variable MY_KEY is not set"):
        fit(asked(target=str(file)))


def test_other_experiments_are_left_as_they_are() -> None:
    script = scripted()
    assert fit(script).experiment == script


@pytest.mark.parametrize(
    "where", ['url = "http://me:secret@127.0.0.1"', '[models.urls]\negg = "http://me:secret@127.0.0.1"']
)
def test_a_key_in_a_url_of_a_preset_is_refused_too(where: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'title = "mine"\n{where}\n[ask]\nbody = {{ prompt = "{{prompt}}" }}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="keys come from the environment") as caught:
        server_of(str(file))
    assert "secret" not in str(caught.value)


def test_a_server_of_others_that_does_not_run_is_told_before_anything_is_measured() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # a port that nobody listens at, and nobody else takes
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        wanted = asked(target=f"ollama@{url}")
        with pytest.raises(UsageError, match=f"{url}: no server listens there .*; start it, or say where"):
            checkpoints_of(wanted, print)
        taken.listen()
        assert set(checkpoints_of(wanted, print)) == {"ham", "egg"}


def test_what_can_be_no_hosts_name_is_no_server() -> None:
    with pytest.raises(UsageError, match="no server listens there"):
        checkpoints_of(asked(target=f"ollama@http://{'x' * 3000}"), print)


def test_a_server_that_will_be_started_need_not_run_yet() -> None:
    server = server_of("mlx_lm")
    assert server is not None
    refuse_silent(server)


@pytest.mark.parametrize(
    "changes",
    [
        {"scenario": [{"name": "again", "from": "ham", "to": "ham"}]},
        {"models": {"ham": "ham", "egg": "ham"}, "scenario": [{"name": "again", "from": "ham", "to": "egg"}]},
    ],
)
def test_a_server_that_swaps_when_it_is_asked_for_the_other_model_is_given_another(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(UsageError) as caught:
        fit(asked(**changes))
    assert str(caught.value) == (
        'scenario "again": both models are the same, and any OpenAI-compatible server that runs already, '
        "asked for what it has, would swap nothing; name another model"
    )
    assert (
        fit(asked(target="lm-studio", **changes)).server is not None
    )  # told to unload, it has to load again
