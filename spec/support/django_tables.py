"""Make the tables of a Django project by Django's own migrations, with a user in a group and a
session: django_tables.py sqlite:PATH | postgresql://… (with options=-csearch_path=… for a schema).
Prints the session's key."""
import sys
from urllib.parse import parse_qs, unquote, urlsplit

import django
from django.conf import settings


def database(url):
    if url.startswith("sqlite:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url[len("sqlite:") :]}
    parts = urlsplit(url)
    options = {key: values[0] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", parts.hostname or ""),
        "PORT": options.pop("port", parts.port or ""),
        "OPTIONS": options,
    }


settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "django.contrib.admin",
    ],
    DATABASES={"default": database(sys.argv[1])},
    USE_TZ=True,
    SECRET_KEY="spec",
)
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
ann = User.objects.create_user("ann", "ann@example.org", "secret")
ann.groups.add(Group.objects.create(name="readers"))
session = SessionStore()
session["_auth_user_id"] = str(ann.pk)
session.save()
print(session.session_key)
