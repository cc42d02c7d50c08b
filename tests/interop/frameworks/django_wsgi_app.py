"""Django by WSGI: forms with a CSRF token, an upload, streams, sessions, errors, and files."""

from __future__ import annotations

import logging
import queue
import zlib
from collections.abc import Iterator
from pathlib import Path

import django
from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY='not a secret',
    ALLOWED_HOSTS=['127.0.0.1'],
    ROOT_URLCONF=__name__,
    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'database'}},
    DEFAULT_AUTO_FIELD='django.db.models.BigAutoField',
    INSTALLED_APPS=['django.contrib.contenttypes', 'django.contrib.auth',
                    'django.contrib.sessions', 'django.contrib.staticfiles'],
    MIDDLEWARE=[
        'django.contrib.sessions.middleware.SessionMiddleware',
        'django.middleware.common.CommonMiddleware',
        'django.middleware.csrf.CsrfViewMiddleware',
        'django.contrib.auth.middleware.AuthenticationMiddleware',
    ],
    STATIC_URL='/static/',
    TEMPLATES=[{'BACKEND': 'django.template.backends.django.DjangoTemplates'}],
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.signals import request_finished  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

call_command('migrate', verbosity=0)
logging.getLogger('django.server').setLevel('ERROR')
events: queue.Queue[str] = queue.Queue()
FORM = engines['django'].from_string(
    '<form method="post">{% csrf_token %}<input name="note"></form>')


def index(request: HttpRequest) -> HttpResponse:
    return JsonResponse({
        'method': request.method, 'query': request.GET.get('q'), 'host': request.get_host(),
        'path': request.path, 'info': request.path_info, 'link': request.build_absolute_uri(),
        'client': request.META['REMOTE_ADDR']})


def form(request: HttpRequest) -> HttpResponse:
    if request.method == 'POST':
        return HttpResponse(request.POST['note'])
    return HttpResponse(FORM.render({}, request))


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    held = request.FILES['file']
    checksum = 0
    for data in held.chunks():
        checksum = zlib.crc32(data, checksum)
    return HttpResponse(f'{held.size} {checksum:08x}')


@csrf_exempt
def reader(request: HttpRequest) -> HttpResponse:
    events.put('reading')
    try:
        return HttpResponse(str(len(request.body)))
    except Exception as error:
        events.put(type(error).__name__)
        raise


def count(request: HttpRequest) -> HttpResponse:
    request.session['count'] = request.session.get('count', 0) + 1
    return HttpResponse(request.session['count'])


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(f'{number}\n' for number in range(1000))


def endless(request: HttpRequest) -> StreamingHttpResponse:
    def ticks() -> Iterator[bytes]:
        try:
            while True:
                yield b'tick ' * 1000
        finally:
            events.put('stream ended')

    return StreamingHttpResponse(ticks())


def file(request: HttpRequest) -> FileResponse:
    answer = FileResponse(Path(request.GET.get('path', __file__)).open('rb'))  # noqa: SIM115
    request_finished.connect(finished)
    return answer


def finished(**_: object) -> None:
    request_finished.disconnect(finished)
    events.put('request_finished')


def event(request: HttpRequest) -> HttpResponse:
    return HttpResponse(events.get(timeout=20))


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError('failed on purpose')


def source(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Path(__file__).read_bytes(), content_type='text/plain')


urlpatterns = [
    path('', index), path('form', form), path('upload', upload), path('count', count),
    path('stream', stream), path('endless', endless), path('file', file), path('event', event),
    path('fail', fail), path('reader', reader), path('source', source),
]

application = get_wsgi_application()
