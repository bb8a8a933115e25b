"""Sessions as Django keeps them in the database, looked up only by what can be the key of one."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: str | None) -> bool:
        # A cookie's octal escapes can spell a NUL, which PostgreSQL takes for an error and not for a missing row.
        return bool(key and key.isascii() and key.isalnum() and super()._validate_session_key(key))  # type: ignore[misc]  # not in the stubs
