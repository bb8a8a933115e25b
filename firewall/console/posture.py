"""Templates to begin with."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_POST

from firewall import posture
from firewall.console.words import match_in_words
from firewall.engine.templates import TEMPLATES
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, OrcaError


@gzip_page
@require_GET
@page("firewall.view_policy")
def templates(request: ConsoleRequest) -> HttpResponse:
    return _shown(request)


@require_POST
@page("firewall.change_policy")
def template_apply(request: ConsoleRequest, template: str) -> HttpResponse:
    """Make a policy of a template, under the ``name`` in the form."""
    if template not in TEMPLATES:
        raise NotFound("There is no such template.")
    name = request.POST.get("name", "")
    try:
        policy = posture.apply_template(request.workspace, template=template, name=name, actor=request.user, at=timezone.now())
    except OrcaError as error:
        return _shown(request, wrong=error.message, at=template, name=name)
    messages.success(request, f"{policy.name} is made. It judges nothing until a key is bound to it or it is the workspace default.")
    return redirect("console:policy", policy.pk)


def _shown(request: ConsoleRequest, *, wrong: str = "", at: str = "", name: str = "") -> HttpResponse:
    told = [(each, [(rule, match_in_words(rule)) for rule in each.rules]) for each in TEMPLATES.values()]
    context = {"templates": told, "wrong": wrong, "at": at, "name": name}
    return TemplateResponse(request, "firewall/templates.html", context, status=422 if wrong else 200)
