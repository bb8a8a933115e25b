"""A taken port is said before anything starts."""

import socket

import pytest

from orcarouter.supervision import StartRefused, port


def test_a_taken_port_is_refused_by_name_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(StartRefused, match=rf"^PORT={number} on 127.0.0.1 can't be used .*`PORT={number + 1} make run`\.$"):
            port.refuse_taken("127.0.0.1", number)
    port.refuse_taken("127.0.0.1", number)


@pytest.mark.parametrize(("host", "number"), [("a..b", 8000), ("127.0.0.1", 70000), ("192.0.2.1", 8000)])
def test_an_address_that_is_not_this_machines_is_refused_by_name(host: str, number: int) -> None:
    with pytest.raises(StartRefused, match=f"{number}"):
        port.refuse_taken(host, number)
