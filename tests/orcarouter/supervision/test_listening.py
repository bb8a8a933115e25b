"""A taken port is said before anything starts."""

import socket
from pathlib import Path

import pytest

from orcarouter.supervision import StartRefused
from orcarouter.supervision.listening import answers, free_ports, refuse_taken


def test_a_taken_port_is_refused_by_name_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(StartRefused, match=rf"^PORT={number} on 127.0.0.1 can't be used .*`PORT={number + 1} make run`\.$"):
            refuse_taken("127.0.0.1", number)
    refuse_taken("127.0.0.1", number)


def test_free_ports_are_free_and_none_twice() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    for number in found:
        refuse_taken("127.0.0.1", number)


@pytest.mark.parametrize(("host", "number"), [("a..b", 8000), ("127.0.0.1", 70000), ("192.0.2.1", 8000)])
def test_an_address_that_is_not_this_machines_is_refused_by_name(host: str, number: int) -> None:
    with pytest.raises(StartRefused, match=f"{number}"):
        refuse_taken(host, number)


def test_a_socket_file_alone_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not answers(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not answers(path)
        listener.listen()
        assert answers(path)
