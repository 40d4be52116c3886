"""Lookups on Django Channels, as accounts.lua does them on rille: an application for Daphne.

The database is found through libpq's variables. A connection is kept for ever. Django before
4.1 has no `aget`; its documentation has such a version wrap `get` in `database_sync_to_async`.
"""

import os

import django
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ.get("PGPASSWORD", ""),
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "CONN_MAX_AGE": None,
        }
    },
    ALLOWED_HOSTS=["127.0.0.1"],
    DEBUG=False,
)
django.setup()

from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.db import models  # noqa: E402


class Account(models.Model):
    aid = models.IntegerField(primary_key=True)
    abalance = models.IntegerField()

    class Meta:
        app_label = "bench"
        db_table = "pgbench_accounts"
        managed = False


class Accounts(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        if hasattr(Account.objects, "aget"):
            account = await Account.objects.aget(pk=int(text_data))
        else:
            account = await database_sync_to_async(Account.objects.get)(pk=int(text_data))
        await self.send(text_data=str(account.abalance))


application = ProtocolTypeRouter({"websocket": Accounts.as_asgi()})
