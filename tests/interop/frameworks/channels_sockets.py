"""Django Channels: consumers, groups in the layer in memory, sessions, origins."""

from __future__ import annotations

import asyncio

import django
from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY='not a secret',
    ALLOWED_HOSTS=['127.0.0.1'],
    ROOT_URLCONF=__name__,
    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'database'}},
    DEFAULT_AUTO_FIELD='django.db.models.BigAutoField',
    INSTALLED_APPS=['channels', 'django.contrib.auth', 'django.contrib.contenttypes',
                    'django.contrib.sessions'],
    MIDDLEWARE=['django.contrib.sessions.middleware.SessionMiddleware'],
    CHANNEL_LAYERS={'default': {'BACKEND': 'channels.layers.InMemoryChannelLayer'}},
    SESSION_SAVE_EVERY_REQUEST=True,
    USE_TZ=True,
)
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.exceptions import DenyConnection  # noqa: E402
from channels.generic.websocket import (  # noqa: E402
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

call_command('migrate', verbosity=0)

events: asyncio.Queue[object] = asyncio.Queue()


class Chat(AsyncJsonWebsocketConsumer):
    """The chat of the tutorial."""

    async def connect(self) -> None:
        self.room = f'chat_{self.scope["url_route"]["kwargs"]["room"]}'
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)
        await self.channel_layer.group_send(self.room, {'type': 'chat.left', 'code': code})

    async def receive_json(self, content: dict[str, str]) -> None:
        await self.channel_layer.group_send(
            self.room, {'type': 'chat.message', 'message': content['message']})

    async def chat_message(self, event: dict[str, str]) -> None:
        await self.send_json({'message': event['message']})

    async def chat_left(self, event: dict[str, int]) -> None:
        await self.send_json({'left': event['code']})


class SyncChat(WebsocketConsumer):
    """The same on a thread."""

    def connect(self) -> None:
        async_to_sync(self.channel_layer.group_add)('sync', self.channel_name)
        self.accept('second' if 'second' in self.scope['subprotocols'] else None)

    def disconnect(self, code: int) -> None:
        async_to_sync(self.channel_layer.group_discard)('sync', self.channel_name)

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if bytes_data is not None:
            self.send(bytes_data=bytes_data[::-1])
        else:
            async_to_sync(self.channel_layer.group_send)(
                'sync', {'type': 'chat.message', 'message': text_data})

    def chat_message(self, event: dict[str, str]) -> None:
        self.send(text_data=event['message'])


class Ends(AsyncWebsocketConsumer):
    """Close, refuse or fail, as the path says."""

    async def connect(self) -> None:
        how = self.scope['url_route']['kwargs']['how']
        if how == 'deny':
            raise DenyConnection
        if how == 'refuse':
            await self.close()
            return
        await self.accept()
        if how == 'fail':
            raise ValueError('failed on purpose')
        if how == 'close':
            await self.close(4000, 'closed by Channels')

    async def disconnect(self, code: int) -> None:
        await events.put(code)


class Visits(AsyncWebsocketConsumer):
    """Who is known by the session that a page has made."""

    async def connect(self) -> None:
        await self.accept()
        count = await asyncio.to_thread(self.scope['session'].get, 'count', 0)
        await self.send(f'{count} {self.scope["user"]}')
        await self.close()


def visit(request: HttpRequest) -> HttpResponse:
    request.session['count'] = request.session.get('count', 0) + 1
    return HttpResponse()


async def say(request: HttpRequest, room: str, message: str) -> HttpResponse:
    """A view that speaks to a group."""
    await get_channel_layer().group_send(
        f'chat_{room}', {'type': 'chat.message', 'message': message})
    return HttpResponse('said')


async def event(request: HttpRequest) -> HttpResponse:
    return JsonResponse(await asyncio.wait_for(events.get(), 20), safe=False)


urlpatterns = [path('say/<room>/<message>', say), path('visit', visit), path('event', event)]

app = ProtocolTypeRouter({
    'http': get_asgi_application(),
    'websocket': OriginValidator(AuthMiddlewareStack(URLRouter([
        path('chat/<room>', Chat.as_asgi()), path('sync', SyncChat.as_asgi()),
        path('ends/<how>', Ends.as_asgi()), path('visits', Visits.as_asgi()),
    ])), ['http://example.org']),
})
