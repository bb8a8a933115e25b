"""What a browser meets of the firewall's pages: fields that it sends, and what comes back."""

from workspaces import tenancy

HTMX = {"HX-Request": "true"}
RULE = {"label": "", "tool_name_glob": "kb.*", "stage": "", "verdict": "allow", "priority": "10", "notes": "", "enabled": "on"}


def page(answer, status=200):
    assert answer.status_code == status, answer.content[:2000]
    return answer.content.decode()


def fresh(policy):
    with tenancy.scope(policy.workspace_id):
        policy.refresh_from_db()
        policy.in_order = list(policy.rules.all())
        return policy
