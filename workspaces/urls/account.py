"""Sign-in and passwords are django-allauth's; what would let people register or change their address is closed.

An invitation is bound to an address, so nobody may take an address on by merely typing it.
"""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path, re_path


def closed(request: HttpRequest, **_: str) -> HttpResponse:
    raise Http404


urlpatterns = [
    path("signup/", closed),
    path("email/", closed),
    re_path("^confirm-email/", closed),
    # Its link travels by mail; a log is no mailbox. Without mail: `manage.py changepassword`.
    *([] if settings.SENDS_MAIL else [re_path("^password/reset/", closed)]),
    path("", include("allauth.account.urls")),
]
