"""The socket out: attempts of any number of parcels at once, none of which waits for another. A failure is an outcome.

Addresses go through the one dialler: every address of the name vetted, a vetted one dialled; no redirects, no proxies.
"""

import asyncio
import contextlib
import logging
import ssl
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from approvals.dispatch import Outcome, Parcel
from approvals.models import Channel
from firewall.engine.summary import summarise
from workspaces import net

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for a whole attempt, the lookup of the name included; a digest may be many mails, and half of them is none.
ATTEMPT_SECONDS, MAIL_SECONDS = 10, 15
BLOCKING_THREADS = 32
#: Of an answer, what is read and what is kept.
MAX_READ_BYTES, MAX_EXCERPT = 4096, 300


class Sender:
    """A thread in which any number of parcels are on their way at once. Use as a context manager, from a thread that may block."""

    def __init__(self, attempt_seconds: float = ATTEMPT_SECONDS) -> None:
        self._attempt_seconds = attempt_seconds
        self._loop = asyncio.new_event_loop()
        # The system's resolver and the mail server block a thread each, for as long as they like: nobody waits for those.
        self._blocking = ThreadPoolExecutor(BLOCKING_THREADS, thread_name_prefix="orca-send")
        self._loop.set_default_executor(self._blocking)
        self._thread = threading.Thread(target=self._loop.run_forever, name="orca-sender", daemon=True)
        self._resolver = net.PinnedResolver()
        self._session: aiohttp.ClientSession

    def __enter__(self) -> Self:
        self._thread.start()
        self._session = self._wait_for(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._blocking.shutdown(wait=False, cancel_futures=True)

    def send(self, parcel: Parcel) -> Future[Outcome]:
        """Begin one attempt; what comes of it, within the seconds of an attempt."""
        return asyncio.run_coroutine_threadsafe(_send(self._session, self._resolver, parcel, self._attempt_seconds), self._loop)

    async def _open(self) -> aiohttp.ClientSession:
        # How many go to one workspace's receiver at once is the claim's to say: many workspaces may share a host.
        connector = aiohttp.TCPConnector(resolver=self._resolver, limit=0, force_close=True, use_dns_cache=False)
        return aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())

    def _wait_for(self, coroutine: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _send(session: aiohttp.ClientSession, resolver: net.PinnedResolver, parcel: Parcel, attempt_seconds: float) -> Outcome:
    started, status, excerpt, error = time.monotonic(), None, "", parcel.error
    seconds = MAIL_SECONDS if parcel.channel == Channel.EMAIL else attempt_seconds
    if not error:
        try:
            async with asyncio.timeout(seconds):
                if parcel.channel == Channel.EMAIL:
                    await asyncio.to_thread(_mail, parcel)
                else:
                    status, excerpt = await _post(session, resolver, parcel)
                    error = _objection(status)
        except net.AddressRefused as refusal:
            error = refusal.message
        except TimeoutError:
            error = f"No answer within {seconds} seconds."
        except (aiohttp.ClientSSLError, ssl.SSLError):
            error = "The TLS connection failed: the certificate is not valid for this host."
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError):
            # The error's own text may name addresses of our network, or the mail server's.
            error = "The mail server did not take it." if parcel.channel == Channel.EMAIL else "The receiver could not be reached."
        except Exception:
            # A mistake of ours over one message must not keep the others: it is told of, and tried again as any other.
            logger.exception("delivery_bug", extra={"workspace_id": parcel.workspace_id})
            error = "It could not be sent."
    return Outcome(status, round((time.monotonic() - started) * 1000), error, excerpt)


async def _post(session: aiohttp.ClientSession, resolver: net.PinnedResolver, parcel: Parcel) -> tuple[int, str]:
    resolver.permit(parcel.url)
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "OrcaRouter", **parcel.headers}
    async with session.post(parcel.url, data=parcel.body, headers=headers, allow_redirects=False) as answer:
        said = b""
        # What it answers is for the log; that it answered is what counts.
        with contextlib.suppress(aiohttp.ClientError, HttpProcessingError, TimeoutError):
            async with asyncio.timeout(2):
                said = await answer.content.read(MAX_READ_BYTES)
        return answer.status, excerpt_of(said, parcel.secrets)


def excerpt_of(said: bytes, secrets: Sequence[str] = ()) -> str:
    """The beginning of an answer, printable, without these secrets and anything like one."""
    text = said.decode(errors="replace")
    for secret in filter(None, secrets):
        text = text.replace(secret, "[redacted]")
    text = summarise(text).text
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_EXCERPT].strip()


def _objection(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"The receiver redirects ({status}), which is not followed: use the address it redirects to."
    return f"The receiver answered {status}."


def _mail(parcel: Parcel) -> None:
    # One message a person: nobody is told who else is written to.
    sent = [EmailMessage(parcel.subject, parcel.body.decode(), settings.DEFAULT_FROM_EMAIL, [address]) for address in parcel.recipients]
    get_connection().send_messages(sent)
