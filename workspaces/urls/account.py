"""Sign-in and passwords are django-allauth's; what would let people register or change their address is closed.

An invitation is bound to an address, so nobody may take an address on by merely typing it.
"""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path, re_path


def closed(request: HttpRequest, **_: str) -> HttpResponse:
    raise Http404


urlpatterns = [
    path("signup/", closed),
    path("email/", closed),
    re_path("^confirm-email/", closed),
    path("", include("allauth.account.urls")),
]
