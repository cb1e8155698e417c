"""mlx.launch's list of machines, and what is none."""

from pathlib import Path

import pytest

from swapbench.base.errors import UsageError
from swapbench.spec.hostfile import Host, read

TWO = '[{"ssh": "mac-1", "ips": ["10.0.0.1"]}, {"ssh": "mac-2", "ips": ["10.0.0.2"]}]'


@pytest.mark.parametrize("text", [TWO, f'{{"backend": "ring", "envs": [], "hosts": {TWO}}}'])
def test_hosts_are_listed_plainly_or_with_what_belongs_to_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(text)
    assert read(path) == (Host("mac-1", ("10.0.0.1",)), Host("mac-2", ("10.0.0.2",)))


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
        read(path)
