"""Django in one file: its admin with a database in the current folder, static files, sessions."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

import django
from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY='not a secret',
    ALLOWED_HOSTS=['127.0.0.1'],
    ROOT_URLCONF=__name__,
    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'database'}},
    DEFAULT_AUTO_FIELD='django.db.models.BigAutoField',
    INSTALLED_APPS=[
        'django.contrib.admin', 'django.contrib.auth', 'django.contrib.contenttypes',
        'django.contrib.messages', 'django.contrib.sessions', 'django.contrib.staticfiles',
    ],
    MIDDLEWARE=[
        'django.middleware.security.SecurityMiddleware',
        'django.contrib.sessions.middleware.SessionMiddleware',
        'django.middleware.common.CommonMiddleware',
        'django.middleware.csrf.CsrfViewMiddleware',
        'django.contrib.auth.middleware.AuthenticationMiddleware',
        'django.contrib.messages.middleware.MessageMiddleware',
    ],
    # The usual ones are slow, as they must be.
    PASSWORD_HASHERS=['django.contrib.auth.hashers.MD5PasswordHasher'],
    STATIC_URL='/static/',
    TEMPLATES=[{
        'BACKEND': 'django.template.backends.django.DjangoTemplates', 'APP_DIRS': True,
        'OPTIONS': {'context_processors': [
            'django.template.context_processors.request',
            'django.contrib.auth.context_processors.auth',
            'django.contrib.messages.context_processors.messages']},
    }],
    USE_TZ=True,
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

call_command('migrate', verbosity=0)
User.objects.create_superuser('ada', 'ada@example.org', 'lovelace')

events: asyncio.Queue[str] = asyncio.Queue()


def count(request: HttpRequest) -> HttpResponse:
    """Count the visits of one browser, in its session; on a worker thread."""
    request.session['count'] = request.session.get('count', 0) + 1
    return HttpResponse(request.session['count'])


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(1000):
            yield f'{number}\n'

    return StreamingHttpResponse(lines())


@csrf_exempt
async def upload(request: HttpRequest) -> HttpResponse:
    held = request.FILES['file']
    checksum = 0
    for data in held.chunks():
        checksum = zlib.crc32(data, checksum)
    return HttpResponse(f'{held.size} {checksum:08x}')


async def patient(request: HttpRequest) -> HttpResponse:
    """Wait until the client leaves; Django cancels the view then."""
    await events.put('waiting')
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        await events.put('cancelled')
        raise


async def event(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await asyncio.wait_for(events.get(), 20))


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError('failed on purpose')


urlpatterns = [
    path('admin/', admin.site.urls), path('count', count), path('stream', stream),
    path('upload', upload), path('patient', patient), path('event', event), path('fail', fail),
]

app = ASGIStaticFilesHandler(get_asgi_application())
