"""All settings, in labelled groups. What differs between installations comes from the environment (see docs/operation.md)."""

import sys
from pathlib import Path

import environ

from orcarouter import embedded
from orcarouter.secrets_file import secret

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where things are ---------------------------------------------------------------------------------------------
DATA_DIR = Path(env.str("ORCAROUTER_DATA", default=str(BASE_DIR / ".data"))).resolve()
HOST = env.str("HOST", default="127.0.0.1")
try:
    PORT = env.int("PORT", default=8000)
except ValueError:
    raise SystemExit(f"PORT={env.str('PORT')} is no port: take one from 1 to 65535.") from None
_REACHABLE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(HOST, f"[{HOST}]" if ":" in HOST else HOST)  # noqa: S104 - compared, not listened on
#: Where a person on this machine finds it.
BASE_URL = f"http://{_REACHABLE}:{PORT}"
#: Where people elsewhere find it: what links in mail and chat begin with.
PUBLIC_URL = env.str("PUBLIC_URL", default=BASE_URL).rstrip("/")
#: The databases that come along are used where no address names others.
EMBEDDED_DATABASE = not env.str("DATABASE_URL", default="")
EMBEDDED_VALKEY = not env.str("REDIS_URL", default="")
_embedded = embedded.urls(DATA_DIR)
DATABASE_URL = env.str("DATABASE_URL", default="") or _embedded.database_url
DATABASE_OWNER_URL = env.str("DATABASE_OWNER_URL", default="") or (_embedded.owner_url if EMBEDDED_DATABASE else "")
DATABASE_RECORDER_URL = env.str("DATABASE_RECORDER_URL", default="") or (_embedded.recorder_url if EMBEDDED_DATABASE else "")
REDIS_URL = env.str("REDIS_URL", default="") or _embedded.redis_url
#: The gateway's own view of where the demo provider listens; empty where there is none.
DEMO_PROVIDER_SOCKET = str(_embedded.sockets / "demo-provider.sock") if EMBEDDED_DATABASE else ""

# --- Secrets: generated for the embedded database, required otherwise ---------------------------------------------
SECRET_KEY = secret("SECRET_KEY")
#: Pepper of the keyed hash under which tokens are looked up.
KEY_PEPPER = secret("KEY_PEPPER")
#: 32 bytes, base64: seals what must be read back.
ENCRYPTION_KEY = secret("ENCRYPTION_KEY")
#: Ed25519 seed, 32 bytes, base64.
SIGNING_KEY = secret("SIGNING_KEY")

# --- Web ----------------------------------------------------------------------------------------------------------
DEBUG = False
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
#: Addresses and CIDRs whose X-Forwarded-For is believed.
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
#: Hosts, host:port and CIDRs that an address given by a user may name although they are private.
ALLOWED_PRIVATE_HOSTS = env.list("ALLOWED_PRIVATE_HOSTS", default=[])
#: Plain http on loopback is the default; behind TLS the cookies are told so.
SECURE_COOKIES = env.bool("SECURE_COOKIES", default=False)
ROOT_URLCONF = "orcarouter.urls"
ASGI_APPLICATION = "orcarouter.asgi.application"
#: Every route answers with and without a trailing slash, without a redirect (workspaces.middleware).
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes, a management body
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "django_cotton",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "rules",
    "csp",
    "workspaces",
    "firewall",
    "keys",
    "approvals",
    "orcarouter",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "workspaces.middleware.TrailingSlashMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "workspaces.middleware.SessionLifetimeMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "workspaces.middleware.ErrorPageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django_cotton.cotton_loader.Loader", "django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
                )
            ],
            "builtins": ["django_cotton.templatetags.cotton"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "workspaces.context.console",
            ],
        },
    }
]

# A component sees what it is given and the context processors, so a page's own names cannot leak into it.
COTTON_ISOLATE_BY_DEFAULT = True

# --- Content security: no inline script, no inline style, nothing from elsewhere ------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
    }
}

# --- Static files: served compressed by the web process ------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
SERVESTATIC_AUTOREFRESH = False


# --- Data ---------------------------------------------------------------------------------------------------------
def database(url: str, **options: object) -> dict:
    """A Django database entry of a URL; ``?host=/dir`` names a socket folder."""
    entry = env.db_url_config(url)
    host = entry.get("OPTIONS", {}).pop("host", None)
    if host:
        entry["HOST"] = host
    return entry | {"ENGINE": "django.db.backends.postgresql", "CONN_HEALTH_CHECKS": True} | options


DATABASES = {
    # The application's plain role: owns nothing, sees one workspace a transaction.
    # Pooled: under ASGI each request has a thread of its own, and a connection kept by each would soon be all of them.
    "default": database(DATABASE_URL, CONN_MAX_AGE=0),
}
if DATABASE_OWNER_URL:
    DATABASES["owner"] = database(DATABASE_OWNER_URL, CONN_MAX_AGE=0)
for entry in DATABASES.values():
    entry.setdefault("OPTIONS", {})["options"] = "-c statement_timeout=30000 -c lock_timeout=10000"
DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 16, "timeout": 5}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# PostgreSQL, not Valkey: sign-in is throttled with Valkey away, and the cache is used for little else.
# Django keeps 300 entries unless told: then guessing at many addresses would push the counts of others out.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "django_cache", "OPTIONS": {"MAX_ENTRIES": 20_000}}}
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"

# --- People -------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "workspaces.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "workspaces.accounts.Adapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "/account/login/"
ACCOUNT_SESSION_REMEMBER = True
#: Per source address and per e-mail address.
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key"}
SESSION_ENGINE = "workspaces.sessions"
SESSION_COOKIE_AGE = 7 * 24 * 3600  # seconds, the longest a session lasts
SESSION_IDLE_SECONDS = 12 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "workspaces.errors_views.csrf_failure"
#: Without a mail server nothing is sent, and what needs mail (a forgotten password) is not offered.
SENDS_MAIL = bool(env.str("EMAIL_URL", default=""))
vars().update(env.email_url("EMAIL_URL", default="dummymail://"))
EMAIL_TIMEOUT = 8  # seconds
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="orcarouter@localhost")

# --- API ----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["workspaces.authentication.AccessTokenAuthentication", "workspaces.authentication.BrowserSession"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "orcarouter.openapi_schema.Schema",
    "EXCEPTION_HANDLER": "workspaces.api_base.answer_error",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": False,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "OrcaRouter",
    "DESCRIPTION": "The gateway and the management API of OrcaRouter.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/",
    "POSTPROCESSING_HOOKS": ["orcarouter.openapi.finish"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Work in the background -----------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 600, "socket_timeout": 5, "socket_connect_timeout": 5}
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
# Without the broker a running task cannot be acknowledged, and is handed out again: it need not run twice.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_TASK_TIME_LIMIT = 300  # seconds
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
#: Events of one part of a backtest, about: a second or less of work, so that a worker comes by its other tasks; and those read at
#: once, after which the worker is heard of again.
BACKTEST_PART_EVENTS, BACKTEST_PAGE_EVENTS = 10_000, 10_000
CELERY_BEAT_SCHEDULE = {
    "heartbeat": {"task": "orcarouter.tasks.heartbeat", "schedule": 5.0},
    "budgets": {"task": "keys.tasks.watch_budgets", "schedule": 30.0},
    "partitions": {"task": "orcarouter.tasks.make_partitions", "schedule": 3600.0},
    "retention": {"task": "orcarouter.tasks.drop_old_partitions", "schedule": 6 * 3600.0},
    "config-versions": {"task": "orcarouter.tasks.correct_config_versions", "schedule": 10.0},
    "last-uses": {"task": "keys.tasks.note_last_use", "schedule": 12 * 3600.0},
    "audit-checkpoints": {"task": "workspaces.tasks.sign_audit_checkpoints", "schedule": 3600.0},
    "tools": {"task": "firewall.tasks.sum_tools", "schedule": 60.0},
    "tools-again": {"task": "firewall.tasks.sum_tools_again", "schedule": 6 * 3600.0},
    "expired-approvals": {"task": "approvals.tasks.expire", "schedule": 5.0},
    "deliveries": {"task": "approvals.tasks.send_due", "schedule": 10.0, "options": {"expires": 10}},
    "old-deliveries": {"task": "approvals.tasks.forget_deliveries", "schedule": 6 * 3600.0},
    "backtests": {"task": "firewall.tasks.sweep_backtests", "schedule": 10.0},
    "sweep": {"task": "orcarouter.tasks.sweep_calls", "schedule": 5.0},
    "sweep-overdue": {"task": "orcarouter.tasks.sweep_overdue_calls", "schedule": 300.0},
    "ledger": {"task": "orcarouter.tasks.roll_ledger", "schedule": 3600.0},
    "idempotency": {"task": "orcarouter.tasks.forget_idempotency_records", "schedule": 3600.0},
}

# --- Keys ---------------------------------------------------------------------------------------------------------
#: Whether a sealed copy of each relay key is kept, so that it can be revealed again. Off, a key is seen once, when it is made.
KEEP_SEALED_KEYS = env.bool("KEEP_SEALED_KEYS", default=True)

# --- Console ----------------------------------------------------------------------------------------------------------
#: Seconds that reading may take for what an unsaved rule would have done: it takes longer where a policy's keys have few of very many calls.
PREVIEW_READ_SECONDS = env.float("PREVIEW_READ_SECONDS", default=1)

# --- Gateway --------------------------------------------------------------------------------------------------------
#: Seconds, by phase of a provider call.
UPSTREAM_CONNECT_SECONDS = env.float("UPSTREAM_CONNECT_SECONDS", default=5)
UPSTREAM_FIRST_BYTE_SECONDS = env.float("UPSTREAM_FIRST_BYTE_SECONDS", default=120)
UPSTREAM_IDLE_SECONDS = env.float("UPSTREAM_IDLE_SECONDS", default=60)
UPSTREAM_TOTAL_SECONDS = env.float("UPSTREAM_TOTAL_SECONDS", default=900)
#: Seconds that Valkey may take for a reply before it counts as away.
VALKEY_SECONDS = env.float("VALKEY_SECONDS", default=0.5)
#: Days that events and usage are kept.
EVENT_RETENTION_DAYS = env.int("EVENT_RETENTION_DAYS", default=90)

# --- Telling --------------------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING_CONFIG = "orcarouter.logging.configure"
LOGGING = {"json": not sys.stderr.isatty() if env.str("ORCA_LOG", default="") == "" else env.str("ORCA_LOG") == "json", "level": LOG_LEVEL}
#: Who may read /metrics from elsewhere than this machine; empty: nobody.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
