/* tls_load: a load of TLS connections on a server, with GET requests on them.
 *
 *     cc -O2 -o tls_load tls_load.c -lssl -lcrypto
 *     ./tls_load PORT CONNECTIONS SECONDS full|resumed|kept|download [PATH] [1.2|1.3]
 *
 * Each connection has one request under way. `full`: connect, a full handshake, one request, its
 * answer, close_notify, close, and again. `resumed`: the same, each handshake with the ticket or
 * session that the last one of this slot left (TLS 1.3 or 1.2, whichever was agreed on). `kept`: one
 * request after the other on connections that stay. `download`: the same, each answer read to its end
 * when the time is over. The certificate is not compared with anything; its signature in the handshake
 * is verified, as each client does.
 *
 * The first answer says how long all of them are. It prints one line of JSON: requests, their bytes,
 * seconds, errors, latency in milliseconds (in `full` and `resumed` from the connect to the answer's
 * end), and how many handshakes were resumed. The exit status is 1, with a sentence, when nothing
 * comes, or when a hundred things went wrong. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE (1 << 16)
#define MOST_ERRORS 100

struct slot {
    int fd, events, shaken, sent;
    SSL *ssl;
    SSL_SESSION *session;
    size_t got;                         /* of the answer's bytes */
    double begun;
};

static int port, resumed_mode, kept_mode, download_mode;
static SSL_CTX *context;
static char request[1024], buffer[RECEIVE];
static int request_size, poller;
static size_t answer_size;
static unsigned long done, errors, resumed;
static double *took;
static size_t took_room;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *format, ...)
{
    va_list more;
    va_start(more, format);
    fprintf(stderr, "tls_load: ");
    vfprintf(stderr, format, more);
    fprintf(stderr, "\n");
    exit(1);
}

static void count_error(const char *what)
{
    unsigned long code = ERR_peek_error();
    if (++errors >= MOST_ERRORS)
        fail("%s: %s", what, code ? ERR_error_string(code, NULL) : strerror(errno));
    ERR_clear_error();
}

/* A ticket has come (with TLS 1.3 after the handshake): the next connection of its slot takes it. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct slot *slot = SSL_get_app_data(ssl);
    if (slot->session)
        SSL_SESSION_free(slot->session);
    slot->session = session;
    return 1;
}

static void watch(struct slot *slot, int events)
{
    struct epoll_event event = {.events = events, .data.ptr = slot};
    if (slot->events == events)
        return;
    epoll_ctl(poller, slot->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, slot->fd, &event);
    slot->events = events;
}

static void begin(struct slot *slot)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    slot->begun = now();
    slot->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (slot->fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(slot->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(slot->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    slot->ssl = SSL_new(context);
    SSL_set_app_data(slot->ssl, slot);
    SSL_set_fd(slot->ssl, slot->fd);
    SSL_set_connect_state(slot->ssl);
    SSL_set_tlsext_host_name(slot->ssl, "a.example");
    if (resumed_mode && slot->session)
        SSL_set_session(slot->ssl, slot->session);
    slot->events = slot->shaken = slot->sent = 0;
    slot->got = 0;
    watch(slot, EPOLLOUT);
}

static void end(struct slot *slot)
{
    if (slot->shaken)
        SSL_shutdown(slot->ssl);
    SSL_free(slot->ssl);
    close(slot->fd);
    ERR_clear_error();
}

static void again(struct slot *slot, const char *what)
{
    if (what)
        count_error(what);
    end(slot);
    begin(slot);
}

/* The first answer: its size is in its head. */
static void learn(const char *data, size_t size)
{
    char head[RECEIVE + 1], *end_of_head, *field;
    memcpy(head, data, size);
    head[size] = 0;
    end_of_head = strstr(head, "\r\n\r\n");
    field = strcasestr(head, "\r\ncontent-length:");
    if (strncmp(head, "HTTP/1.1 200", 12) || !end_of_head || !field || field > end_of_head)
        fail("the first answer is %.300s", head);
    answer_size = end_of_head + 4 - head + strtoull(field + 17, NULL, 10);
}

static void answered(struct slot *slot, double time)
{
    if (done == took_room) {
        took_room = took_room ? 2 * took_room : 1 << 16;
        took = realloc(took, took_room * sizeof *took);
        if (!took)
            fail("no memory");
    }
    took[done++] = time - slot->begun;
    slot->got = slot->sent = 0;
}

/* Wait for what OpenSSL wants; return 0 if it is an end or an error. */
static int wants(struct slot *slot, int result)
{
    int error = SSL_get_error(slot->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return 0;
    watch(slot, error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
    return 1;
}

/* Go on as far as it goes; return 0 when the slot has nothing more to do (the time is over). */
static int go_on(struct slot *slot, double deadline)
{
    int result;
    for (;;) {
        if (!slot->shaken) {
            if ((result = SSL_do_handshake(slot->ssl)) != 1) {
                if (!wants(slot, result))
                    again(slot, "handshake");
                return 1;
            }
            slot->shaken = 1;
            resumed += SSL_session_reused(slot->ssl);
        }
        if (!slot->sent) {
            if ((result = SSL_write(slot->ssl, request, request_size)) <= 0) {
                if (!wants(slot, result))
                    again(slot, "request");
                return 1;
            }
            slot->sent = 1;
        }
        if ((result = SSL_read(slot->ssl, buffer, sizeof buffer)) <= 0) {
            if (!wants(slot, result))
                again(slot, "answer");
            return 1;
        }
        if (!slot->got) {
            if (!answer_size)
                learn(buffer, result);
            if (result < 12 || memcmp(buffer, "HTTP/1.1 200", 12)) {
                again(slot, "status");
                return 1;
            }
        }
        slot->got += result;
        if (slot->got > answer_size) {
            again(slot, "length");
            return 1;
        }
        if (slot->got == answer_size) {
            double time = now();
            answered(slot, time);
            if (time > deadline)
                return 0;
            if (!kept_mode) {
                again(slot, NULL);
                return 1;
            }
            slot->begun = time;
        }
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* (To look for its issuer would cost a sixth of the handshake.) */
static int any_certificate(X509_STORE_CTX *store, void *more)
{
    (void)store, (void)more;
    return 1;
}

static void arguments(int count, char **values)
{
    const char *mode = count > 4 ? values[4] : "";
    port = count > 1 ? atoi(values[1]) : 0;
    resumed_mode = !strcmp(mode, "resumed");
    download_mode = !strcmp(mode, "download");
    kept_mode = download_mode || !strcmp(mode, "kept");
    if (!port || (!resumed_mode && !kept_mode && strcmp(mode, "full")))
        fail("PORT CONNECTIONS SECONDS full|resumed|kept|download [PATH] [1.2|1.3]");
    request_size = snprintf(request, sizeof request, "GET %.500s HTTP/1.1\r\nHost: a.example\r\n"
                            "User-Agent: race\r\nAccept: */*\r\n\r\n", count > 5 ? values[5] : "/");
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_cert_verify_callback(context, any_certificate, NULL);
    if (count > 6) {
        int version = strcmp(values[6], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
        SSL_CTX_set_min_proto_version(context, version);
        SSL_CTX_set_max_proto_version(context, version);
    }
    if (resumed_mode) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT
                                       | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_session);
    }
}

int main(int count, char **values)
{
    struct epoll_event events[256];
    double start, deadline, time;
    int connections, left, ready;
    struct slot *slots;
    struct rusage usage;

    signal(SIGPIPE, SIG_IGN);
    arguments(count, values);
    connections = left = atoi(values[2]);
    poller = epoll_create1(EPOLL_CLOEXEC);
    slots = calloc(connections, sizeof *slots);
    start = now();
    deadline = start + atof(values[3]);
    for (int number = 0; number < connections; number++)
        begin(slots + number);
    while (left > 0 && (download_mode || now() < deadline)) {
        ready = epoll_wait(poller, events, 256, 30000);
        if (ready == 0)
            fail("nothing has come for 30 seconds");
        for (int number = 0; number < ready; number++)
            left -= !go_on(events[number].data.ptr, deadline);
    }
    time = now() - start;
    if (!done)
        fail("no answers, %lu errors", errors);
    qsort(took, done, sizeof *took, by_size);
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"requests\": %lu, \"bytes\": %llu, \"seconds\": %f, \"errors\": %lu, \"p50\": %f, "
           "\"p99\": %f, \"max\": %f, \"resumed\": %lu, \"cpu\": %.2f}\n", done,
           (unsigned long long)done * answer_size, time, errors, took[done / 2] * 1000,
           took[done * 99 / 100] * 1000, took[done - 1] * 1000, resumed,
           (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
            + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6) / time);
    return 0;
}
