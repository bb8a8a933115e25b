"""The fields of a policy and of a rule that people set: what is saved, kept in history and written to files."""

from firewall.models import Rule

POLICY_FIELDS = (
    *("name", "enabled", "is_default", "default_verdict", "shadow_mode"),
    *("block_notice", "refuse_unknown_fields", "max_runs_per_key_per_hour"),
)
RULE_FIELDS = (
    *("priority", "label", "notes", "stage", "tool_name_glob", "skill_name_glob", "verdict", "enabled"),
    *("args_match", "egress", "sanitize", "sequence", "cap_cost_cents"),
)
#: A new rule's fields where nothing is said; ``verdict`` has to be.
BLANK_RULE = {name: getattr(Rule(), name) for name in RULE_FIELDS}
