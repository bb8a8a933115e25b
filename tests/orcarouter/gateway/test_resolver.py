import asyncio
import threading
from ipaddress import ip_address

from orcarouter.gateway import resolver
from orcarouter.gateway.resolver import Resolver


def test_a_name_has_all_its_addresses_and_one_that_leads_nowhere_has_none():
    async def ask() -> None:
        names = Resolver()
        assert ip_address("127.0.0.1") in await names.addresses("localhost")
        for nowhere in ("nowhere.invalid", "a" * 300, "\udcff"):
            assert await names.addresses(nowhere) == ()
        names.stop()

    asyncio.run(ask())


def test_what_cannot_be_told_in_time_is_nothing_and_holds_up_nobody():
    looked_up, told = [], threading.Event()

    def slowly(name: str) -> tuple:
        looked_up.append(name)
        told.wait(60)
        return (ip_address("192.0.2.1"),)

    async def ask() -> None:
        names = Resolver(slowly, seconds=0.05)
        assert await asyncio.gather(*(names.addresses("slow.example") for _ in range(50))) == [()] * 50
        assert looked_up == ["slow.example"]
        many = [names.addresses(f"{number}.example") for number in range(2 * resolver.MAX_WAITING)]
        assert set(await asyncio.gather(*many)) == {()}
        # The lookup goes on, and its answer serves those who ask later.
        told.set()
        await asyncio.wait_for(names._asked["slow.example"], 60)
        assert await names.addresses("slow.example") == (ip_address("192.0.2.1"),)
        names.stop()
        assert len(set(looked_up)) <= resolver.MAX_WAITING

    try:
        asyncio.run(ask())
    finally:
        told.set()
