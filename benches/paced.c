/* An open-loop load: requests leave at fixed times whether or not replies have come, and a latency counts from the time
 * at which its request was due. A stall therefore delays every request that falls into it, as it would delay as many
 * clients (no coordinated omission). One thread, epoll. benches/persist.py compiles and runs it.
 *
 *     paced PORT SECONDS RATE CONNECTIONS KIND KEYS VALUE_BYTES
 *
 * RATE: requests a second; 0 keeps one request a connection under way instead, to find the saturation.
 * KIND: mixed     GET and SET of random keys of KEYS, alternately
 *       overwrite SET of each of KEYS once, in a scattered order; SECONDS is ignored
 *       hset      HSET of random fields of KEYS in the hash "large"
 * Prints one line: requests, requests a second, then p50, p99, p99.9 and the maximum in microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1 << 16, IN = 1 << 16, OUT = 1 << 20 };

struct link {
    int fd;
    uint64_t *due; /* of the requests under way, a ring */
    uint32_t first, last;
    char *in, *out;
    size_t in_len, out_len;
    int watched; /* for writing */
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "paced: %s: %s\n", what, errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t seed = 88172645463325252u;
static uint64_t draw(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int poller;

static void flush(struct link *l) {
    size_t sent = 0;
    while (sent < l->out_len) {
        ssize_t n = send(l->fd, l->out + sent, l->out_len - sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) break;
            die("send");
        }
        sent += (size_t)n;
    }
    memmove(l->out, l->out + sent, l->out_len - sent);
    l->out_len -= sent;
    if ((l->out_len > 0) != l->watched) {
        l->watched = l->out_len > 0;
        struct epoll_event e = {.events = EPOLLIN | (l->watched ? EPOLLOUT : 0), .data.ptr = l};
        epoll_ctl(poller, EPOLL_CTL_MOD, l->fd, &e);
    }
}

/* The length of the reply at `p`, 0 while it is not all there. */
static size_t reply_len(const char *p, size_t n) {
    const char *end = memchr(p, '\n', n);
    if (!end) return 0;
    size_t line = (size_t)(end - p) + 1;
    if (*p == '-') {
        fprintf(stderr, "paced: %.*s", (int)line, p);
        exit(1);
    }
    if (*p != '$' || p[1] == '-') return line;
    size_t all = line + (size_t)atol(p + 1) + 2;
    return all <= n ? all : 0;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: paced PORT SECONDS RATE CONNECTIONS KIND KEYS VALUE_BYTES\n");
        return 2;
    }
    int port = atoi(argv[1]), links = atoi(argv[4]), size = atoi(argv[7]);
    double seconds = atof(argv[2]), rate = atof(argv[3]);
    const char *kind = argv[5];
    uint64_t keys = strtoull(argv[6], 0, 10), wanted = UINT64_MAX;
    if (!strcmp(kind, "overwrite")) wanted = keys, seconds = 3600;
    char *value = malloc((size_t)size + 1);
    struct link *all = calloc((size_t)links, sizeof *all);
    size_t room = 1 << 20, taken = 0;
    uint32_t *took = malloc(room * sizeof *took);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    poller = epoll_create1(0);
    for (int i = 0; i < links; i++) {
        struct link *l = all + i;
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        l->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
        int one = 1;
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(l->fd, F_SETFL, O_NONBLOCK);
        l->due = malloc(RING * sizeof *l->due);
        l->in = malloc(IN);
        l->out = malloc(OUT);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = l};
        epoll_ctl(poller, EPOLL_CTL_ADD, l->fd, &e);
    }
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), sent = 0, done = 0, now = begin;
    double period = rate > 0 ? 1e9 / rate : 0;
    struct epoll_event events[256];
    int turn = 0;
    while (1) {
        now = now_ns();
        int sending = now < end && sent < wanted;
        if (!sending && (done == sent || now > end + 30000000000u)) break;
        /* At most a burst between two looks at the replies. */
        for (int burst = 0; sending && burst < 64 && sent < wanted; burst++) {
            uint64_t due = rate > 0 ? begin + (uint64_t)((double)sent * period) : now;
            if (due > now) break;
            struct link *l = all + turn;
            if (rate == 0) {
                int tried = 0;
                while (tried < links && all[turn].first != all[turn].last) turn = (turn + 1) % links, tried++;
                if (tried == links) break;
                l = all + turn;
            }
            turn = (turn + 1) % links;
            if (l->last - l->first >= RING || l->out_len + (size_t)size + 256 > OUT) break;
            memset(value, 'a' + (int)(draw() % 26), (size_t)size);
            char *p = l->out + l->out_len;
            int n;
            if (!strcmp(kind, "hset"))
                n = sprintf(p, "*4\r\n$4\r\nHSET\r\n$5\r\nlarge\r\n$16\r\nmember:%09llu\r\n$%d\r\n%.*s\r\n",
                            (unsigned long long)(draw() % keys), size, size, value);
            else if (wanted == UINT64_MAX && sent % 2)
                n = sprintf(p, "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012llu\r\n", (unsigned long long)(draw() % keys));
            else {
                /* 7919 divides no number of keys that is used here. */
                uint64_t i = wanted == UINT64_MAX ? draw() % keys : sent * 7919 % keys;
                n = sprintf(p, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%d\r\n%.*s\r\n", (unsigned long long)i, size,
                            size, value);
            }
            l->out_len += (size_t)n;
            l->due[l->last++ % RING] = due;
            sent++;
            flush(l);
        }
        double next = (double)begin + (double)sent * period - (double)now_ns();
        /* It sleeps when it can: cores that the server shares are not to be spent on waiting. */
        struct timespec wait = {0, !sending ? 1000000 : next < 0 ? 0 : next < 1e6 ? (long)next : 1000000};
        if (rate == 0 && sending) wait.tv_nsec = 1000000;
        int ready = epoll_pwait2(poller, events, 256, &wait, 0);
        for (int i = 0; i < ready; i++) {
            struct link *l = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush(l);
            ssize_t n = recv(l->fd, l->in + l->in_len, IN - l->in_len, 0);
            if (n == 0) die("closed by the server");
            if (n < 0) continue;
            uint64_t got = now_ns();
            l->in_len += (size_t)n;
            size_t at = 0, one;
            while (at < l->in_len && (one = reply_len(l->in + at, l->in_len - at))) {
                at += one;
                uint64_t ns = (got - l->due[l->first++ % RING]) / 100;
                if (taken == room) took = realloc(took, (room *= 2) * sizeof *took);
                took[taken++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
                done++;
            }
            memmove(l->in, l->in + at, l->in_len - at);
            l->in_len -= at;
        }
    }
    if (!taken) die("no replies");
    qsort(took, taken, sizeof *took, by_value);
    double spent = (double)(now - begin) / 1e9;
    printf("%llu %.0f %.1f %.1f %.1f %.1f\n", (unsigned long long)done, (double)done / spent, took[taken / 2] / 10.0,
           took[(size_t)((double)taken * 0.99)] / 10.0, took[(size_t)((double)taken * 0.999)] / 10.0,
           took[taken - 1] / 10.0);
    return 0;
}
