"""A crew whose ranks are played by threads: what it makes of what they say; where ranks run, and find it."""

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from swapbench.spec.experiment import EngineSettings, Sharded
from swapbench.spec.experiment.tables import Host
from swapbench.wire.events import encode
from swapbench.wire.swap import Message, Reading
from swapbench.worker.sharding import Hello, Pulse, RankOrder, Ready, Report, Work
from swapbench.worker.sharding import crew as crews
from swapbench.worker.sharding.crew import Crew, RankError

QUICK = Sharded(ranks=2, stall_s=0.5, deadline_s=1.0)
READY = Ready(versions={"mlx": "0"}, device="none")
ORDER = RankOrder(work=Work.UNLOAD)


class Played:
    """One rank: it says hello and ready, then whatever its part says to the first order."""

    def __init__(self, number: int, report_to: str, token: str, part: "Part") -> None:
        host, _, port = report_to.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._lines = self._socket.makefile("rb")
        self.say(Hello(token=token, rank=number))
        self.welcome = self._lines.readline()
        if self.welcome:
            part(self)

    def say(self, message: Message) -> None:
        self._socket.sendall(encode(message))

    def say_badly(self, line: bytes) -> None:
        self._socket.sendall(line)

    def hear(self) -> dict[str, object]:
        """The next order; nothing once the crew is closed."""
        line = self._lines.readline()
        return dict(json.loads(line)) if line else {}

    def hears_within(self, seconds: float) -> bool:
        """Whether there is an order, or the crew has hung up."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def leave(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


Part = Callable[[Played], None]


def willing(rank: Played) -> None:
    """Carries out whatever it is told."""
    rank.say(READY)
    rank.say(Pulse(reading=Reading(footprint_bytes=100)))
    while order := rank.hear():
        rank.say(Report.model_validate({"number": order["number"], "weight_bytes": 7}))


def idle(rank: Played) -> None:
    """Is ready, and never heard of again."""
    rank.say(READY)
    while rank.hear():
        pass


def busy(rank: Played) -> None:
    """Lives, and ends nothing."""
    rank.say(READY)
    rank.hear()
    while not rank.hears_within(0.02):
        rank.say(Pulse(reading=Reading()))


def leaves(rank: Played) -> None:
    """Ends when it is told something."""
    rank.say(READY)
    rank.hear()
    rank.leave()


def fails(rank: Played) -> None:
    """Can't do what it is told."""
    rank.say(READY)
    rank.say(Report.model_validate({"number": rank.hear()["number"], "error": "no such file"}))
    rank.hear()


def babbles(rank: Played) -> None:
    """Says what is no message."""
    rank.say(READY)
    rank.hear()
    rank.say_badly(b"hello?\n")
    rank.hear()


class PlayedLaunch:
    """mlx.launch, whose ranks are threads of this process."""

    parts: Sequence[Part] = ()
    fates: Mapping[int, str] = MappingProxyType({})
    token = ""
    ended = ""

    def __init__(self, sharded: Sharded, machines: Sequence[Host], report_to: str, token: str) -> None:
        self.killed = False
        for number, part in enumerate(self.parts):
            word = self.token or token
            threading.Thread(target=_play, args=(number, report_to, word, part), daemon=True).start()

    def quieten(self) -> None:
        pass

    def fate(self, rank: int, patience_s: float) -> str:
        return self.fates.get(rank, "")

    def kill(self) -> None:
        self.killed = True


def _play(number: int, report_to: str, token: str, part: Part) -> None:
    with suppress(OSError):  # the crew has hung up
        Played(number, report_to, token, part)


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Crew]]:
    """Starts a crew whose ranks play these parts."""
    started: list[Crew] = []

    def start(*parts: Part, sharded: Sharded = QUICK, **of_launch: object) -> Crew:
        played = type("Played", (PlayedLaunch,), {"parts": parts, **of_launch})
        monkeypatch.setattr(crews, "Launch", played)
        started.append(Crew(sharded, EngineSettings(), 0.05))
        return started[-1]

    yield start
    for crew in started:
        crew.kill()


def refused(crew: Crew) -> str:
    """What the crew says when it can't carry out an order."""
    with pytest.raises(RankError) as caught:
        crew.ask(ORDER)
    return str(caught.value)


def test_every_rank_carries_out_an_order_and_reports_by_its_number(launch: Callable[..., Crew]) -> None:
    patient = Sharded(ranks=2)
    reports = launch(willing, willing, sharded=patient).ask(ORDER)
    assert [report.weight_bytes for report in reports] == [7, 7]


def test_what_ranks_hold_is_summed(launch: Callable[..., Crew]) -> None:
    crew = launch(willing, willing, sharded=Sharded(ranks=2))
    crew.ask(ORDER)
    assert crew.reading().footprint_bytes == 200


def test_a_rank_that_ends_is_told_by_number_and_fate(launch: Callable[..., Crew]) -> None:
    crew = launch(willing, leaves, fates={1: "was killed by SIGKILL"})
    assert refused(crew) == "rank 1 of 2 was killed by SIGKILL"


def test_of_two_that_ended_the_one_that_was_killed_is_the_cause(launch: Callable[..., Crew]) -> None:
    crew = launch(leaves, leaves, fates={0: "ended with exit code 1", 1: "was killed by SIGKILL"})
    assert refused(crew) == "rank 1 of 2 was killed by SIGKILL"


def test_a_rank_of_whose_end_nothing_is_known_is_told_all_the_same(launch: Callable[..., Crew]) -> None:
    assert "rank 0 of 2 closed its connection" in refused(launch(leaves, willing))


def test_a_rank_that_fails_is_told_with_its_own_words(launch: Callable[..., Crew]) -> None:
    assert refused(launch(idle, fails)) == "rank 1 of 2: no such file"


def test_a_rank_without_a_sign_of_life_has_stalled(launch: Callable[..., Crew]) -> None:
    patient = Sharded(ranks=2, stall_s=0.3, deadline_s=60)
    assert "rank 1 of 2 stalled: no sign of life for 0.3 s" in refused(launch(busy, idle, sharded=patient))


def test_a_rank_that_lives_and_never_ends_is_late(launch: Callable[..., Crew]) -> None:
    hurried = Sharded(ranks=2, stall_s=60, deadline_s=0.3)
    assert refused(launch(willing, busy, sharded=hurried)) == "rank 1 of 2 did not end within 0.3 s"


def test_what_is_no_message_fails_the_rank_that_said_it(launch: Callable[..., Crew]) -> None:
    assert "rank 1 of 2 sent something that is no message: b'hello?'" in refused(
        launch(idle, babbles)
    ).replace('"', "")


def test_whoever_does_not_know_the_word_is_no_rank(launch: Callable[..., Crew]) -> None:
    with pytest.raises(RankError, match="ranks 0, 1 of 2 did not end within 1 s"):
        launch(willing, willing, token="a guess")


def test_when_mlx_launch_ends_before_its_ranks_have_met_its_last_words_are_told(
    launch: Callable[..., Crew],
) -> None:
    with pytest.raises(RankError, match=r"mlx\.launch ended with exit code 2: no such host"):
        launch(sharded=Sharded(ranks=2), ended="mlx.launch ended with exit code 2: no such host")


def test_nobody_is_told_anything_after_a_failure(launch: Callable[..., Crew]) -> None:
    crew = launch(idle, fails)
    refused(crew)
    crew.kill()  # again: nothing happens


def test_without_a_hostfile_every_rank_runs_here() -> None:
    machines = crews.machines_of(Sharded(ranks=3))
    assert machines == (Host("127.0.0.1", ("127.0.0.1",)),) * 3
    assert crews.own_address(Sharded(ranks=3), machines) == "127.0.0.1"


def test_a_hostfile_says_how_many_ranks_there_are_and_where(tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps([{"ssh": "127.0.0.1"}, {"ssh": "mac-2", "ips": ["127.0.0.2"]}]))
    machines = crews.machines_of(Sharded(ranks=7, hostfile=str(path)))
    assert [machine.ssh for machine in machines] == ["127.0.0.1", "mac-2"]


def test_ranks_elsewhere_report_to_the_address_on_the_way_to_them() -> None:
    machines = (Host("127.0.0.1"), Host("mac-2", ("127.0.0.2",)))
    assert crews.own_address(Sharded(), machines).startswith("127.")
    assert crews.own_address(Sharded(listen="10.0.0.9"), machines) == "10.0.0.9"


def test_ports_that_are_taken_are_left_to_whoever_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class SecondIsTaken(socket.socket):
        asked: ClassVar[list[int]] = []

        def bind(self, address: Any) -> None:
            self.asked.append(address[1])
            if len(self.asked) == 2:
                raise OSError("Address already in use")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", SecondIsTaken)
    first = crews._free_ports(3)
    assert SecondIsTaken.asked[2:] == [0, first + 1, first + 2]


def test_on_this_machine_ports_are_free_ones_and_elsewhere_mlx_launchs_own() -> None:
    here = crews.machines_of(Sharded(ranks=2))
    away = (*here, Host("mac-2", ("10.0.0.2",)))
    assert "--starting-port" in crews.where(Sharded(ranks=2), here)
    assert "--starting-port" not in crews.where(Sharded(hostfile="hosts.json"), away)
    assert crews.where(Sharded(port=4000), away)[-2:] == ["--starting-port", "4000"]
