"""The socket out: one attempt of each parcel, all of a batch at once. Nothing here raises for an ordinary failure.

Addresses go through the one dialler: every address of the name vetted, a vetted one dialled; no redirects, no proxies.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Sequence

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from approvals.dispatch import Outcome, Parcel
from approvals.models import Channel
from firewall.engine.summary import summarise
from workspaces import net

#: Seconds for a whole attempt, the lookup of the name included.
ATTEMPT_SECONDS = 10
#: Of an answer, what is read and what is kept.
MAX_READ_BYTES, MAX_EXCERPT = 4096, 300


def send_all(parcels: Sequence[Parcel]) -> list[Outcome]:
    """The outcome of each parcel, in order."""
    return asyncio.run(_send_all(parcels))


async def _send_all(parcels: Sequence[Parcel]) -> list[Outcome]:
    resolver = net.PinnedResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, limit=0, limit_per_host=10, force_close=True, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        return list(await asyncio.gather(*(_send(session, resolver, parcel) for parcel in parcels)))


async def _send(session: aiohttp.ClientSession, resolver: net.PinnedResolver, parcel: Parcel) -> Outcome:
    started, status, excerpt, error = time.monotonic(), None, "", parcel.error
    if not error:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if parcel.channel == Channel.EMAIL:
                    await asyncio.to_thread(_mail, parcel)
                else:
                    status, excerpt = await _post(session, resolver, parcel)
                    error = _objection(status)
        except net.AddressRefused as refusal:
            error = refusal.message
        except TimeoutError:
            error = f"No answer within {ATTEMPT_SECONDS} seconds."
        except (aiohttp.ClientSSLError, ssl.SSLError):
            error = "The TLS connection failed: the certificate is not valid for this host."
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError):
            # The error's own text may name addresses of our network, or the mail server's.
            error = "The mail server did not take it." if parcel.channel == Channel.EMAIL else "The receiver could not be reached."
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
