"""Where ranks run, and where they find their coordinator."""

import json
import socket
from pathlib import Path

from swapbench.spec.experiment import Sharded
from swapbench.spec.hostfile import Host
from swapbench.worker.sharding import launch


def test_without_a_hostfile_every_rank_runs_here() -> None:
    machines = launch.machines_of(Sharded(ranks=3))
    assert machines == (Host("127.0.0.1", ("127.0.0.1",)),) * 3
    assert launch.own_address(Sharded(ranks=3), machines) == "127.0.0.1"


def test_a_hostfile_says_how_many_ranks_there_are_and_where(tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps([{"ssh": "127.0.0.1"}, {"ssh": "mac-2", "ips": ["127.0.0.2"]}]))
    machines = launch.machines_of(Sharded(ranks=7, hostfile=str(path)))
    assert [machine.ssh for machine in machines] == ["127.0.0.1", "mac-2"]


def test_ranks_elsewhere_report_to_the_address_on_the_way_to_them() -> None:
    machines = (Host("127.0.0.1"), Host("mac-2", ("127.0.0.2",)))
    assert launch.own_address(Sharded(), machines).startswith("127.")
    assert launch.own_address(Sharded(listen="10.0.0.9"), machines) == "10.0.0.9"


def test_ports_that_are_taken_are_left_to_whoever_has_them() -> None:
    first = launch._free_ports(3)
    with socket.create_server(("127.0.0.1", first + 1)):
        assert not launch._is_free(first + 1)
        assert launch._is_free(first)


def test_on_this_machine_ports_are_free_ones_and_elsewhere_mlx_launchs_own() -> None:
    here = launch.machines_of(Sharded(ranks=2))
    away = (*here, Host("mac-2", ("10.0.0.2",)))
    assert "--starting-port" in launch._where(Sharded(ranks=2), here)
    assert "--starting-port" not in launch._where(Sharded(hostfile="hosts.json"), away)
    assert launch._where(Sharded(port=4000), away)[-2:] == ["--starting-port", "4000"]
