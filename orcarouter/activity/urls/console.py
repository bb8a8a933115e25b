"""Pages that join events with usage."""

from django.urls import path, register_converter

from orcarouter.activity import console, spend_console


class RunIdConverter:
    """A run's id as an agent may send it."""

    regex = "[A-Za-z0-9._:-]{1,128}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(RunIdConverter, "run_id")

urlpatterns = [
    path("", console.overview, name="overview"),
    path("runs/", console.runs, name="runs"),
    path("runs/<int:key_id>/<run_id:run_id>/", console.run, name="run"),
    path("runs/<int:key_id>/<run_id:run_id>/stop/", console.run_stop, name="run_stop"),
    path("search/", console.search, name="search"),
    path("usage/", spend_console.usage, name="usage"),
    path("usage/export/", spend_console.export, name="usage_export"),
]
