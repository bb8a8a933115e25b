from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"

    def ready(self) -> None:
        from approvals.review_selectors import open_count
        from workspaces.context import COUNTS, Count

        COUNTS["approvals"] = Count("approvals.view_hold", open_count)
