"""The console's forms over workspaces and people. They check what was typed; what is allowed, the services check."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import password_validators_help_texts

from workspaces.models import AccessToken
from workspaces.permissions import Role

ROLE_HINT = "Members read. Developers write policies and keys. Admins manage people and providers. Owners may do everything."


SCOPES = [
    (AccessToken.Scope.READ, "Read: lists and details"),
    (AccessToken.Scope.WRITE, "Write: what Developers may change"),
    (AccessToken.Scope.APPROVE, "Approve: decide held calls"),
    (AccessToken.Scope.REVEAL, "Reveal: show secrets again"),
    (AccessToken.Scope.ADMIN, "Admin: what needs the role Admin or Owner"),
]


class RoleForm(forms.Form):
    role = forms.TypedChoiceField(choices=Role.choices, coerce=lambda value: Role(int(value)), initial=Role.DEVELOPER, help_text=ROLE_HINT)


class InviteForm(RoleForm):
    email = forms.EmailField(label="E-mail address", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    field_order = ["email", "role"]

    def offer(self, roles: list[Role]) -> None:
        """Show these roles only."""
        self.fields["role"].widget.choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]


class WorkspaceForm(forms.Form):
    name = forms.CharField(label="Name", max_length=80)


class PersonForm(forms.Form):
    name = forms.CharField(label="Your name", max_length=120, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"}))


class JoinForm(PersonForm):
    """A new person's account; the address is the invitation's."""

    password = forms.CharField(label="Password", max_length=1024, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = " ".join(password_validators_help_texts())


class TokenForm(forms.Form):
    name = forms.CharField(
        label="Name", max_length=80, help_text="What it is for, as in: nightly export.", widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    days = forms.TypedChoiceField(label="Ends after", coerce=int, initial=90, choices=[(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "365 days")])
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        choices=SCOPES,
        initial=[AccessToken.Scope.READ, AccessToken.Scope.WRITE],
        widget=forms.CheckboxSelectMultiple,
    )
