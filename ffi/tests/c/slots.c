/* The driver alone: plan, apply, result, without a plane. usage: slots SOCKET */
#define _GNU_SOURCE
#include "check.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void apply(lb_slots *slots, const lb_batch *wanted, const char *part) {
    lb_text *text = NULL;
    OK(lb_slots_apply(slots, wanted, 120000, &text, &err));
    CHECK(has(lb_text_view(text), part));
    lb_text_free(text);
}

static int planned(lb_slots *slots, const lb_batch *wanted, const char *part) {
    lb_text *text = NULL;
    OK(lb_slots_plan(slots, wanted, 120000, &text, &err));
    int found = has(lb_text_view(text), part);
    lb_text_free(text);
    return found;
}

/* Listens beside HAProxy's socket and never says a word; writes the target that leads there. */
static int listener(const char *socket_path, char *target, size_t size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof address.sun_path, "%s.silent", socket_path);
    CHECK(len > 0 && (size_t)len < sizeof address.sun_path);
    len = snprintf(target, size, "name = \"silent\"\nsocket = \"%s\"", address.sun_path);
    CHECK(len > 0 && (size_t)len < size);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    (void)unlink(address.sun_path);
    CHECK(bind(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(fd, 8) == 0);
    return fd;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char target[256];
    int len = snprintf(target, sizeof target, "name = \"edge\"\nsocket = \"%s\"", argv[1]);
    CHECK(len > 0 && (size_t)len < sizeof target);
    lb_slots *slots = NULL;
    lb_batch *two = NULL, *one = NULL;
    OK(lb_slots_new(target, (size_t)len, S("web"), &slots, &err));
    OK(lb_batch_new(&two, &err));
    add(two, "a", "127.0.0.1:9001");
    add(two, "b", "127.0.0.1:9002");
    OK(lb_batch_new(&one, &err));
    add(one, "b", "127.0.0.1:9002");

    /* A plan changes nothing: it is the same again. */
    CHECK(planned(slots, two, "127.0.0.1:9001"));
    CHECK(planned(slots, two, "127.0.0.1:9001"));
    apply(slots, two, "\"converged\":true");
    CHECK(!planned(slots, two, "127.0.0.1:9001"));
    /* A plan for something else does not spoil what comes after it. */
    CHECK(planned(slots, one, "stages"));
    apply(slots, two, "\"converged\":true");
    apply(slots, one, "\"unmet\":[]");

    /* Where nobody answers, the caller's deadline holds. */
    lb_slots *waiting = NULL;
    int silent = listener(argv[1], target, sizeof target);
    OK(lb_slots_new(target, strlen(target), S("web"), &waiting, &err));
    FAILS(LB_STATUS_TIMEOUT, lb_slots_apply(waiting, two, 50, &(lb_text *){NULL}, &err));
    lb_slots_free(waiting);
    close(silent);
    lb_slots_free(slots);
    lb_batch_free(one);
    lb_batch_free(two);
    puts("slots: ok");
    return 0;
}
