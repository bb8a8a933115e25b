"""How people sign in, in django-allauth's terms: registration is closed, attempts are counted where nobody can evade them."""

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from workspaces.engine.client_address import client_address


class Adapter(DefaultAccountAdapter):
    """Accounts come from the bootstrap and from invitations (``services.accept_invitation``), never from a sign-up form."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The source that attempts are counted under; a header that anyone may send is not believed."""
        address = client_address(request.META.get("REMOTE_ADDR"), request.headers.get("X-Forwarded-For"), settings.TRUSTED_PROXIES)
        if address is None:
            raise PermissionDenied("Unable to determine the client's address.")
        return str(address)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: str) -> str:
        # The stock key begins with the Host header, whose port the client chooses: each port would have its own count.
        return credentials.get("email", "").strip().lower()
