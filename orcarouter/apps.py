from django.apps import AppConfig


class OrcarouterConfig(AppConfig):
    name = "orcarouter"

    def ready(self) -> None:
        # Every process that sends a task needs the Celery application, or the task goes to a broker that nobody configured.
        import orcarouter.celery  # noqa: F401
