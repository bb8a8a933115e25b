"""Ask a provider once, on a person's behalf, whether it answers. Nothing of its answer is shown but model names."""

import asyncio
import ssl
import time
from dataclasses import dataclass, field

import aiohttp
import orjson
from django.conf import settings

from keys.models import ProviderCredential
from keys.selectors import provider_secret
from workspaces import net, vault

#: A person waits for it.
TIMEOUT_SECONDS = 8
MAX_ANSWER_BYTES = 1024 * 1024
MAX_MODELS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Question:
    """All that a probe needs, read before the transaction ends: nothing remote happens inside one."""

    base_url: str
    secret: str | None = field(repr=False)
    is_demo: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """``status`` is the provider's, None when none came; ``error`` is a sentence, None when all is well."""

    ok: bool
    status: int | None
    latency_ms: int
    models: tuple[str, ...] = ()
    error: str | None = None


def question(provider: ProviderCredential) -> Question:
    try:
        secret = provider_secret(provider)
    except vault.SealBroken:
        secret = None
    return Question(provider.base_url, secret, provider.is_demo)


def ask(asked: Question) -> Outcome:
    """``GET {base_url}/models``: no redirects, no proxies, the address judged as for any call. Never raises for an ordinary failure."""
    started = time.monotonic()
    if asked.secret is None:
        return Outcome(False, None, 0, error="The stored secret does not open: give it again.")
    status, models, error = asyncio.run(_ask(asked))
    return Outcome(error is None, status, round((time.monotonic() - started) * 1000), models, error)


async def _ask(asked: Question) -> tuple[int | None, tuple[str, ...], str | None]:
    resolver = net.PinnedResolver()
    try:
        if asked.is_demo:
            connector: aiohttp.BaseConnector = aiohttp.UnixConnector(settings.DEMO_PROVIDER_SOCKET)
        else:
            resolver.permit(asked.base_url)
            connector = aiohttp.TCPConnector(resolver=resolver)
        headers = {"Authorization": f"Bearer {asked.secret}"} if asked.secret else {}
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(f"{asked.base_url.rstrip('/')}/models", headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                return answer.status, (), _said(answer.status)
            return _models(answer.status, await _bounded(answer))
    except net.AddressRefused as refusal:
        return None, (), refusal.message
    except TimeoutError:
        return None, (), f"No answer within {TIMEOUT_SECONDS} seconds."
    except (aiohttp.ClientSSLError, ssl.SSLError):
        return None, (), "The TLS connection failed: the certificate is not valid for this host."
    except (aiohttp.ClientError, OSError):
        # The error's own text may name addresses of our network.
        return None, (), "The provider could not be reached."


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return body


def _models(status: int, body: bytes) -> tuple[int, tuple[str, ...], str | None]:
    try:
        rows = orjson.loads(body)["data"]
        names = [row["id"] for row in rows]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return status, (), "The provider answered, but not with a list of models."
    shown = sorted({name[:128] for name in names if isinstance(name, str) and name.isprintable()})
    return status, tuple(shown[:MAX_MODELS_SHOWN]), None


def _said(status: int) -> str:
    if status in (401, 403):
        return f"The provider refused the secret ({status})."
    if 300 <= status < 400:
        return f"The provider redirects ({status}), which is not followed: use the address it redirects to."
    return f"The provider answered {status}."
