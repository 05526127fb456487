/* The whole content of the test image: a web server that answers with its address and its service, each in a header.
 *
 *   /server [PORT]     serves, at port 80 if none is given; on SIGTERM it serves on for a second, then ends when
 *                      nothing is asked; with ABRUPT set it ends on SIGTERM at once, as many programs do
 *   /server health     ends with 0 (the image's health check)
 *
 * With several addresses of its own, it names the one that begins with ADDRESS. It answers at once, or for the path
 * /slow?ms=N after that time.
 *
 * A request that says it is for another service than SERVICE leaves a byte in /shared/misrouted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PEERS = 1000, REQUEST = 4096, LINGER_MS = 1000, QUIET_MS = 200, LONGEST_MS = 5000 };

static volatile sig_atomic_t leaving;
static struct pollfd polled[PEERS + 1];
static struct { char text[REQUEST + 1]; size_t length; long due; } peers[PEERS + 1];
static char identity[64];
static const char *service;

static void on_term(int signal) {
    (void)signal;
    leaving = 1;
}

static void at_once(int signal) {
    (void)signal;
    _exit(0);
}

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void find_identity(int port) {
    const char *start = getenv("ADDRESS");
    struct ifaddrs *all, *one;
    if (getifaddrs(&all)) return;
    for (one = all; one; one = one->ifa_next) {
        char text[INET_ADDRSTRLEN];
        struct sockaddr_in *own = (struct sockaddr_in *)one->ifa_addr;
        if (!own || own->sin_family != AF_INET || ntohl(own->sin_addr.s_addr) >> 24 == 127) continue;
        inet_ntop(AF_INET, &own->sin_addr, text, sizeof text);
        if (start && strncmp(text, start, strlen(start))) continue;
        snprintf(identity, sizeof identity, "%s:%d", text, port);
    }
    freeifaddrs(all);
}

static void judge(const char *request) {
    char line[256];
    const char *said = strcasestr(request, "\r\nx-service:");
    if (!said) return;
    said += strlen("\r\nx-service:");
    said += strspn(said, " ");
    snprintf(line, sizeof line, "%.*s", (int)strcspn(said, "\r\n"), said);
    if (strcmp(line, service)) {
        int file = open("/shared/misrouted", O_WRONLY | O_APPEND | O_CREAT, 0644);
        if (file < 0 || write(file, "x", 1) < 0) perror("misrouted");
        close(file);
    }
}

/* 0 when the connection is over. */
static int answer(int at) {
    char reply[512];
    int last = leaving;
    int length = snprintf(reply, sizeof reply,
                          "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nx-endpoint: %s\r\nx-service: %s\r\n%s\r\n%s",
                          strlen(identity), identity, service, last ? "Connection: close\r\n" : "", identity);
    return send(polled[at].fd, reply, (size_t)length, 0) == length && !last;
}

/* Answers what is whole, now or when it is due; 0 when the connection is over. */
static int converse(int at) {
    static const char slow[] = "GET /slow?ms=";
    char *end;
    ssize_t count = recv(polled[at].fd, peers[at].text + peers[at].length, REQUEST - peers[at].length, 0);
    if (count <= 0) return 0;
    peers[at].length += (size_t)count;
    peers[at].text[peers[at].length] = 0;
    while ((end = strstr(peers[at].text, "\r\n\r\n"))) {
        size_t used = (size_t)(end + 4 - peers[at].text);
        judge(peers[at].text);
        if (!strncmp(peers[at].text, slow, sizeof slow - 1))
            peers[at].due = now_ms() + atol(peers[at].text + sizeof slow - 1);
        else if (!answer(at))
            return 0;
        memmove(peers[at].text, end + 4, peers[at].length - used + 1);
        peers[at].length -= used;
    }
    return peers[at].length < REQUEST;
}

static int serve(int port) {
    int on = 1, count = 1, at, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    long left = 0, asked = 0;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 1024)) {
        perror("listen");
        return 1;
    }
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        long now;
        if (poll(polled, (nfds_t)count, 20) < 0 && !leaving) return 1;
        now = now_ms();
        if (leaving && !left) left = asked = now;
        if (left && now - left >= LINGER_MS && (now - asked >= QUIET_MS || now - left >= LONGEST_MS)) return 0;
        for (at = count - 1; at > 0; at--) {
            int open = 1;
            if (peers[at].due) asked = now;
            if (peers[at].due && now >= peers[at].due) {
                peers[at].due = 0;
                open = answer(at);
            }
            if (open && polled[at].revents) {
                asked = now;
                open = converse(at);
            }
            if (open) continue;
            close(polled[at].fd);
            polled[at] = polled[--count];
            peers[at] = peers[count];
        }
        while (count <= PEERS && (at = accept(listener, NULL, NULL)) >= 0) {
            polled[count] = (struct pollfd){.fd = at, .events = POLLIN};
            peers[count].due = 0;
            peers[count++].length = 0;
        }
        for (at = 0; at < count; at++) polled[at].revents = 0;
    }
}

int main(int count, char **words) {
    int port = count > 1 ? atoi(words[1]) : 80;
    if (count > 1 && !strcmp(words[1], "health")) return 0;
    service = getenv("SERVICE");
    if (!service) service = "";
    signal(SIGTERM, getenv("ABRUPT") ? at_once : on_term);
    signal(SIGPIPE, SIG_IGN);
    find_identity(port);
    return serve(port);
}
