/* The whole content of the test image: a web server that answers with its host name, and the means to make it
 * sick, well or slow to stop from outside.
 *
 *   /server [PORT]     serves; on SIGTERM it ends after LINGER_MS milliseconds
 *   /server health     ends with 0 unless sick (the image's health check)
 *   /server sick|well  makes the container sick or well
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int linger_ms;

static void on_term(int signal) {
    (void)signal;
    usleep((useconds_t)linger_ms * 1000);
    _exit(0);
}

static int serve(int port) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 128)) {
        perror("listen");
        return 1;
    }
    for (;;) {
        char name[256] = "", request[4096], reply[512];
        int peer = accept(listener, NULL, NULL);
        if (peer < 0) continue;
        gethostname(name, sizeof name - 1);
        if (read(peer, request, sizeof request) > 0) {
            int length = snprintf(reply, sizeof reply,
                                  "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                                  strlen(name), name);
            if (write(peer, reply, (size_t)length) < 0) perror("write");
        }
        close(peer);
    }
}

int main(int count, char **words) {
    const char *linger = getenv("LINGER_MS");
    const char *what = count > 1 ? words[1] : "80";
    FILE *mark;
    if (!strcmp(what, "health")) return access("/sick", F_OK) == 0;
    if (!strcmp(what, "well")) return unlink("/sick");
    if (!strcmp(what, "sick")) {
        mark = fopen("/sick", "w");
        return mark == NULL || fclose(mark);
    }
    linger_ms = linger ? atoi(linger) : 0;
    signal(SIGTERM, on_term);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return serve(atoi(what));
}
