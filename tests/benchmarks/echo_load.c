/* echo_load: a load of WebSocket messages on an echo server, which checks each byte that comes back.
 *
 *     cc -O2 -o echo_load echo_load.c                        without permessage-deflate
 *     cc -O2 -DDEFLATE -o echo_load echo_load.c -lz          with it
 *     ./echo_load PORT SOCKETS SECONDS SIZE [text|binary] [plain|deflate] [IN_FLIGHT] [PATH]
 *
 * Each socket has one message under way (or IN_FLIGHT of them): when its echo has come and is the
 * same, the next one goes out. Each socket sends the same cycle of messages, all different, each
 * masked with a key of its own; they are made, compressed and masked beforehand, so that a message
 * costs this program two system calls, a comparison, and an inflate where the server compresses.
 *
 * With `deflate` it offers what browsers offer. One compressor goes through the cycle twice. What it
 * makes in the second round may be repeated for ever: before each message stands what stood there then.
 * What the server sends is inflated as was agreed on.
 *
 * It prints one line of JSON: messages, their bytes, seconds, errors (0, or it would have ended),
 * latency in milliseconds, `cpu`: the share of its core that it used, and `extension`: what the server
 * agreed to. The exit status is 1, with a sentence, at the first thing that is wrong. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef DEFLATE
#include <zlib.h>
#endif

/* A cycle is at least so long: more than the largest window of deflate, so that no message is found
 * in what the other end remembers. */
#define CYCLE (1 << 16)
#define LEAST_MESSAGES 16
#define MOST_IN_FLIGHT 64
#define RECEIVE (1 << 18)
#define TEXT 1
#define BINARY 2
#define CLOSE 8
#define PING 9
/* The example of RFC 6455 section 1.3: so no SHA-1 is needed here. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct frame { unsigned char *data; size_t size; };

struct client {
    int fd, waits_to_write;
    unsigned long sent, echoed;         /* how many messages */
    size_t written;                     /* of the frame that goes out */
    double begun[MOST_IN_FLIGHT];
    /* What comes in: the head of a frame, what is left of its payload, how much of the message is
     * right so far, and whether the message is compressed. */
    unsigned char head[10];
    int head_size, opcode, last, compressed, in_message;
    size_t left, right;
    unsigned char control[125];
    size_t control_size;
#ifdef DEFLATE
    z_stream inflater;
#endif
};

/* The messages of a cycle, one after the other; the frames of the first cycle, and of all others. */
static unsigned char *plain;
static struct frame *frames;
static unsigned long cycle;
static size_t size;
static int kind = TEXT, deflated, in_flight = 1, no_takeover;
static char extension[256];
static unsigned char buffer[RECEIVE];
#ifdef DEFLATE
static unsigned char inflated[RECEIVE];
#endif
static float *latencies;
static size_t latency_count, latency_room;

static void fail(const char *what) {
    fprintf(stderr, "echo_load: %s\n", what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static uint32_t chance(void) {
    static uint32_t x = 2463534242u;
    x ^= x << 13; x ^= x >> 17; x ^= x << 5;
    return x;
}

/* Text as people and programs send it: JSON of words and numbers. */
static void write_words(unsigned char *to, size_t length) {
    static const char *words[] = {
        "message", "room", "garden", "price", "update", "hello", "user", "stock", "the", "of", "and",
        "Berlin", "Lyon", "sensor", "value", "state"};
    size_t at = 0;
    while (at < length) {
        char word[64];
        int n = snprintf(word, sizeof word, "{\"%s\":%u,\"%s\":\"%s\"}", words[chance() % 16],
                         chance() % 100000, words[chance() % 16], words[chance() % 16]);
        for (int i = 0; i < n && at < length; i++)
            to[at++] = word[i];
    }
}

static size_t head_of(unsigned char *to, int first, size_t length) {
    size_t n = 2;
    to[0] = first;
    if (length < 126)
        to[1] = length;
    else if (length < 65536) {
        to[1] = 126; to[2] = length >> 8; to[3] = length; n = 4;
    } else {
        to[1] = 127;
        for (int i = 0; i < 8; i++)
            to[2 + i] = (uint64_t) length >> (56 - 8 * i);
        n = 10;
    }
    to[1] |= 0x80;
    return n;
}

/* A frame with this payload, masked; its size. */
static size_t frame_of(unsigned char *to, int first, const unsigned char *payload, size_t length) {
    size_t n = head_of(to, first, length);
    unsigned char key[4];
    for (int i = 0; i < 4; i++)
        to[n++] = key[i] = chance();
    for (size_t i = 0; i < length; i++)
        to[n++] = payload[i] ^ key[i & 3];
    return n;
}

static void make_messages(int window, int takeover) {
    plain = malloc(cycle * size);
    frames = calloc(2 * cycle, sizeof *frames);
    write_words(plain, cycle * size);
#ifdef DEFLATE
    z_stream z = {0};
    unsigned char *shrunk = malloc(2 * size + 1024);
    /* zlib makes no window of 8 for raw deflate, and one of 9 would be too large. */
    if (window < 9 || deflateInit2(&z, 6, Z_DEFLATED, -window, 8, Z_DEFAULT_STRATEGY))
        fail("cannot compress with the window that the server asks for");
#else
    (void) window; (void) takeover;
#endif
    for (unsigned long n = 0; n < 2 * cycle; n++) {
        unsigned char *payload = plain + n % cycle * size;
        size_t length = size;
        int first = 0x80 | kind;
#ifdef DEFLATE
        if (extension[0]) {
            z.next_in = payload; z.avail_in = size;
            z.next_out = shrunk; z.avail_out = 2 * size + 1024;
            if (!takeover)
                deflateReset(&z);
            deflate(&z, Z_SYNC_FLUSH);
            payload = shrunk; length = z.next_out - shrunk - 4; first |= 0x40;
        }
#endif
        frames[n].data = malloc(length + 14);
        frames[n].size = frame_of(frames[n].data, first, payload, length);
    }
}

/* Open a connection and shake hands; leave what the server agreed to in `extension`. */
static void open_client(struct client *c, int port, const char *path) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    char text[4096];
    int n, one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *) &to, sizeof to))
        fail("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    n = snprintf(text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s\r\n", path, port,
        deflated ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    if (write(c->fd, text, n) != n)
        fail("cannot send the handshake");
    /* Byte by byte: what comes after the head are frames. */
    for (n = 0; n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4); n++)
        if (n + 1 == sizeof text || read(c->fd, text + n, 1) != 1)
            fail("no whole answer to the handshake");
    text[n] = 0;
    if (strncmp(text, "HTTP/1.1 101", 12) || !strstr(text, ACCEPT)) {
        fprintf(stderr, "%.300s\n", text);
        fail("the handshake was refused");
    }
    extension[0] = 0;
    char *found = strcasestr(text, "\r\nSec-WebSocket-Extensions:");
    if (found) {
        found += 27;
        size_t length = strcspn(found += strspn(found, " "), "\r");
        if (!deflated || length >= sizeof extension)
            fail("an extension that was not offered");
        memcpy(extension, found, length);
        extension[length] = 0;
    }
    no_takeover = strstr(extension, "server_no_context_takeover") != NULL;
#ifdef DEFLATE
    if (extension[0] && inflateInit2(&c->inflater, -15))
        fail("zlib cannot inflate");
#endif
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

/* Send what may be under way; return whether all of it has gone. */
static int send_messages(struct client *c) {
    while (c->sent - c->echoed < (unsigned) in_flight) {
        struct frame *frame = &frames[c->sent < cycle ? c->sent : cycle + c->sent % cycle];
        if (!c->written)
            c->begun[c->sent % MOST_IN_FLIGHT] = now();
        ssize_t n = send(c->fd, frame->data + c->written, frame->size - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            fail("the server has gone");
        if (n > 0)
            c->written += n;
        if (c->written < frame->size)
            return 0;
        c->written = 0;
        c->sent++;
    }
    return 1;
}

static void compare(struct client *c, const unsigned char *data, size_t n) {
    if (c->right + n > size || memcmp(plain + c->echoed % cycle * size + c->right, data, n))
        fail("an echo with other bytes");
    c->right += n;
}

static void inflate_and_compare(struct client *c, const unsigned char *data, size_t n) {
#ifdef DEFLATE
    c->inflater.next_in = (unsigned char *) data;
    c->inflater.avail_in = n;
    do {
        c->inflater.next_out = inflated;
        c->inflater.avail_out = sizeof inflated;
        int result = inflate(&c->inflater, Z_SYNC_FLUSH);
        if (result != Z_OK && result != Z_BUF_ERROR)
            fail("an echo that cannot be inflated");
        compare(c, inflated, sizeof inflated - c->inflater.avail_out);
    } while (!c->inflater.avail_out);
#else
    (void) c; (void) data; (void) n;
    fail("a compressed echo, but this was built without zlib");
#endif
}

static void message_ended(struct client *c) {
    if (c->compressed)
        inflate_and_compare(c, (const unsigned char *) "\0\0\xff\xff", 4);
    if (c->right != size)
        fail("an echo that is too short");
#ifdef DEFLATE
    if (c->compressed && no_takeover)
        inflateReset(&c->inflater);
#endif
    if (latency_count == latency_room)
        latencies = realloc(latencies, (latency_room = latency_room * 2 + 4096) * sizeof *latencies);
    latencies[latency_count++] = (now() - c->begun[c->echoed % MOST_IN_FLIGHT]) * 1000;
    c->echoed++;
    c->right = 0;
    c->in_message = 0;
}

/* The head of a frame has come whole: see that it may come here. */
static void begin_frame(struct client *c) {
    unsigned char *head = c->head;
    int length = head[1] & 127;
    c->opcode = head[0] & 15;
    c->last = head[0] & 0x80;
    c->left = length;
    if (length > 125) {
        c->left = 0;
        for (int i = 2; i < c->head_size; i++)
            c->left = c->left << 8 | head[i];
    }
    if (head[1] & 0x80 || c->opcode == CLOSE)
        fail(c->opcode == CLOSE ? "the server closes" : "a masked frame");
    if (c->opcode >= CLOSE) {
        c->control_size = 0;
        return;
    }
    if (c->opcode != (c->in_message ? 0 : kind) || (c->in_message && head[0] & 0x70))
        fail("a frame of another kind");
    if (!c->in_message)
        c->compressed = head[0] & 0x40;
    c->in_message = 1;
}

static void end_frame(struct client *c) {
    c->head_size = 0;
    if (c->opcode == PING) {
        unsigned char pong[150];
        size_t n = frame_of(pong, 0x8a, c->control, c->control_size);
        /* Pings come seconds apart; in the middle of a message of ours it has to do without. */
        if (!c->written && write(c->fd, pong, n) != (ssize_t) n)
            fail("a pong does not go out");
    } else if (c->opcode < CLOSE && c->last)
        message_ended(c);
}

static void take(struct client *c, const unsigned char *data, size_t n) {
    const unsigned char *end = data + n;
    while (data < end) {
        if (!c->left) {
            c->head[c->head_size++] = *data++;
            int length = c->head_size > 1 ? c->head[1] & 127 : 0;
            if (c->head_size < (length == 127 ? 10 : length == 126 ? 4 : 2))
                continue;
            begin_frame(c);
        } else {
            size_t part = (size_t) (end - data) < c->left ? (size_t) (end - data) : c->left;
            if (c->opcode >= CLOSE) {
                memcpy(c->control + c->control_size, data, part);
                c->control_size += part;
            } else if (c->compressed)
                inflate_and_compare(c, data, part);
            else
                compare(c, data, part);
            data += part;
            c->left -= part;
        }
        if (!c->left)
            end_frame(c);
    }
}

/* Read what has come, answer with what may go. */
static void serve(struct client *c, int epoll) {
    for (;;) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            fail("the server has gone");
        if (n > 0)
            take(c, buffer, n);
        if (n < (ssize_t) sizeof buffer)
            break;
    }
    int waits = !send_messages(c);
    if (waits != c->waits_to_write) {
        struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
        c->waits_to_write = waits;
    }
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *) a, y = *(const float *) b;
    return (x > y) - (x < y);
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec
        + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int count, char **words) {
    if (count < 5)
        fail("PORT SOCKETS SECONDS SIZE [text|binary] [plain|deflate] [IN_FLIGHT] [PATH]");
    int sockets = atoi(words[2]), epoll = epoll_create1(0);
    double seconds = atof(words[3]), start, before, end, used;
    struct client *clients = calloc(sockets, sizeof *clients);
    struct epoll_event events[256];
    size = strtoul(words[4], NULL, 10);
    kind = count > 5 && !strcmp(words[5], "binary") ? BINARY : TEXT;
    deflated = count > 6 && !strcmp(words[6], "deflate");
    in_flight = count > 7 ? atoi(words[7]) : 1;
#ifndef DEFLATE
    if (deflated)
        fail("built without zlib");
#endif
    if (sockets < 1 || !size || in_flight < 1 || in_flight > MOST_IN_FLIGHT)
        fail("a number is too small or too large");
    for (int i = 0; i < sockets; i++)
        open_client(&clients[i], atoi(words[1]), count > 8 ? words[8] : "/");
    char *bits = strstr(extension, "client_max_window_bits=");
    cycle = size * LEAST_MESSAGES > CYCLE ? LEAST_MESSAGES : CYCLE / size + 1;
    make_messages(bits ? atoi(bits + 23) : 15, !strstr(extension, "client_no_context_takeover"));
    before = cpu_seconds();
    start = now();
    for (int i = 0; i < sockets; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event);
        serve(&clients[i], epoll);
    }
    while ((end = now()) - start < seconds) {
        int ready = epoll_wait(epoll, events, 256, 1000);
        for (int i = 0; i < ready; i++)
            serve(events[i].data.ptr, epoll);
        if (!ready && now() - start > seconds + 10)
            break;
    }
    used = cpu_seconds() - before;
    if (!latency_count)
        fail("no echo came");
    qsort(latencies, latency_count, sizeof *latencies, by_value);
    printf("{\"requests\": %zu, \"bytes\": %zu, \"seconds\": %.6f, \"errors\": 0, \"p50\": %.4f, "
           "\"p90\": %.4f, \"p99\": %.4f, \"max\": %.4f, \"cpu\": %.3f, \"extension\": \"%s\"}\n",
           latency_count, latency_count * size, end - start, latencies[latency_count / 2],
           latencies[latency_count * 9 / 10], latencies[latency_count * 99 / 100],
           latencies[latency_count - 1], used / (end - start), extension);
    return 0;
}
