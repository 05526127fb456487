/*
 * Keeps three endpoints of the service `web` in a HAProxy that runs already, drains one of them, and prints what
 * happens.
 *
 *   cc attach.c $(pkg-config --cflags --libs lb) -o attach && ./attach /run/haproxy/admin.sock
 */
#include <lb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(text) (text), strlen(text)

static lb_error *err;

static void need(lb_status status) {
    if (status != LB_STATUS_OK) {
        lb_str why = lb_error_message(err);
        fprintf(stderr, "%.*s\n", (int)why.len, why.ptr);
        lb_error_free(err);
        exit(1);
    }
}

/* Prints events until a target has verified something new. */
static void watch(const lb_events *events) {
    lb_event_kind kind = LB_EVENT_KIND_OTHER;
    while (kind != LB_EVENT_KIND_VERIFIED) {
        lb_event *event = NULL;
        need(lb_events_next(events, 120000, &event, &err));
        lb_str json = lb_event_json(event);
        printf("%.*s\n", (int)json.len, json.ptr);
        kind = lb_event_kind_of(event);
        lb_event_free(event);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s SOCKET\n", argv[0]);
        return 2;
    }
    char target[256];
    snprintf(target, sizeof target, "name = \"edge\"\nsocket = \"%s\"", argv[1]);

    lb_plane *plane = NULL;
    lb_publisher *web = NULL;
    lb_events *events = NULL;
    need(lb_plane_new(NULL, 0, &plane, &err));
    need(lb_plane_add_target(plane, TEXT(target), &err));
    need(lb_plane_add_publisher(plane, TEXT("program"), &web, &err));
    need(lb_plane_subscribe(plane, 1024, &events, &err));
    need(lb_plane_start(plane, &err));

    const char *addresses[] = {"127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"};
    lb_batch *batch = NULL;
    need(lb_batch_new(&batch, &err));
    for (int i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof id, "web-%d", i);
        need(lb_batch_add_endpoint(batch, TEXT("web"), TEXT(id), TEXT(addresses[i]), 100,
                                   LB_ENDPOINT_STATE_READY, &err));
    }
    need(lb_publisher_reset(web, batch, &err));
    watch(events);
    need(lb_publisher_drain(web, TEXT("web"), TEXT("web-2"), LB_TARGET_LIMIT, &err));
    watch(events);

    lb_batch_free(batch);
    lb_events_free(events);
    lb_publisher_free(web);
    lb_plane_free(plane);
    return 0;
}
