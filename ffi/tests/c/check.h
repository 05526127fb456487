/* What the tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb.h"

/* A literal as the two arguments that a text takes. */
#define S(literal) (literal), (sizeof(literal) - 1)

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

/* `call` uses `&err`, and gives the status. */
#define OK(call)                                                                             \
    do {                                                                                     \
        lb_error *err = NULL;                                                                \
        lb_status got = (call);                                                              \
        if (got != LB_STATUS_OK) {                                                           \
            lb_str text = lb_error_message(err);                                             \
            fprintf(stderr, "%s:%d: %s: status %d: %.*s\n", __FILE__, __LINE__, #call,       \
                    (int)got, (int)text.len, text.ptr);                                      \
            exit(1);                                                                         \
        }                                                                                    \
        CHECK(err == NULL);                                                                  \
    } while (0)

/* The same for a call that must fail with `status`, and says why. */
#define FAILS(status, call)                                                                  \
    do {                                                                                     \
        lb_error *err = NULL;                                                                \
        lb_status got = (call);                                                              \
        if (got != (status)) {                                                               \
            lb_str text = lb_error_message(err);                                             \
            fprintf(stderr, "%s:%d: %s: status %d, expected %s: %.*s\n", __FILE__, __LINE__, \
                    #call, (int)got, #status, (int)text.len, text.ptr);                      \
            exit(1);                                                                         \
        }                                                                                    \
        CHECK(err != NULL && lb_error_status(err) == got);                                   \
        CHECK(lb_error_message(err).len > 0);                                                \
        lb_error_free(err);                                                                  \
    } while (0)

/* Whether a text has a part. */
static inline int has(lb_str text, const char *part) {
    size_t len = strlen(part);
    for (size_t at = 0; at + len <= text.len; at++) {
        if (memcmp(text.ptr + at, part, len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Adds the ready endpoint `id` of service web. */
static inline void add(lb_batch *batch, const char *id, const char *address) {
    OK(lb_batch_add_endpoint(batch, S("web"), id, strlen(id), address, strlen(address), 100,
                             LB_ENDPOINT_STATE_READY, &err));
}

/* Adds the target edge on this socket. */
static inline void add_edge(const lb_plane *plane, const char *socket) {
    char target[256];
    int len = snprintf(target, sizeof target, "{\"name\":\"edge\",\"socket\":\"%s\"}", socket);
    CHECK(len > 0 && (size_t)len < sizeof target);
    OK(lb_plane_add_target(plane, target, (size_t)len, &err));
}

#endif
