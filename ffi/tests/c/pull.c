/* Pull: a callback that tells everything there is, or fails. usage: pull SOCKET */
#include <pthread.h>

#include "check.h"

struct registry {
    pthread_mutex_t lock;
    int endpoints;
    int fails;
    int calls;
    int released;
};

static uint32_t discover(void *userdata, lb_batch *everything) {
    struct registry *registry = userdata;
    pthread_mutex_lock(&registry->lock);
    int endpoints = registry->endpoints, fails = registry->fails;
    registry->calls++;
    pthread_mutex_unlock(&registry->lock);
    if (fails) {
        return LB_STATUS_IO;
    }
    for (int i = 0; i < endpoints; i++) {
        char id[16], address[32];
        snprintf(id, sizeof id, "web-%d", i);
        snprintf(address, sizeof address, "127.0.0.1:%d", 9001 + i);
        add(everything, id, address);
    }
    return LB_STATUS_OK;
}

static void release(void *userdata) {
    struct registry *registry = userdata;
    pthread_mutex_lock(&registry->lock);
    registry->released++;
    pthread_mutex_unlock(&registry->lock);
}

static int snapshot_has(const lb_plane *plane, const char *part) {
    lb_text *text = NULL;
    OK(lb_plane_snapshot_json(plane, &text, &err));
    int found = has(lb_text_view(text), part);
    lb_text_free(text);
    return found;
}

/* Waits for events until the snapshot has `part`, or has it no more. */
static void until(const lb_plane *plane, const lb_events *events, const char *part, int expected) {
    while (snapshot_has(plane, part) != expected) {
        lb_event *event = NULL;
        OK(lb_events_next(events, 60000, &event, &err));
        lb_event_free(event);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    struct registry registry = {PTHREAD_MUTEX_INITIALIZER, 3, 0, 0, 0};
    lb_plane *plane = NULL;
    lb_events *events = NULL;
    OK(lb_plane_new(S("[guard.overall]\nenabled = false"), &plane, &err));
    add_edge(plane, argv[1]);
    OK(lb_plane_subscribe(plane, 1024, &events, &err));
    OK(lb_plane_add_callback_source(plane, S("registry"), 10, discover, &registry, release, &err));
    OK(lb_plane_start(plane, &err));
    until(plane, events, "127.0.0.1:9003", 1);
    OK(lb_plane_reconcile(plane, 60000, &err));

    pthread_mutex_lock(&registry.lock);
    registry.endpoints = 2;
    pthread_mutex_unlock(&registry.lock);
    until(plane, events, "127.0.0.1:9003", 0);

    /* A failure takes nothing away, and is seen. */
    pthread_mutex_lock(&registry.lock);
    registry.fails = 1;
    pthread_mutex_unlock(&registry.lock);
    for (int seen = 0; !seen;) {
        lb_event *event = NULL;
        OK(lb_events_next(events, 60000, &event, &err));
        seen = lb_event_kind_of(event) == LB_EVENT_KIND_SOURCE_HEALTH && has(lb_event_json(event), "(IO)");
        lb_event_free(event);
    }
    CHECK(snapshot_has(plane, "127.0.0.1:9001") && snapshot_has(plane, "127.0.0.1:9002"));

    OK(lb_plane_shutdown(plane, &err));
    CHECK(registry.released == 1 && registry.calls > 2);
    lb_events_free(events);
    lb_plane_free(plane);
    CHECK(registry.released == 1);
    puts("pull: ok");
    return 0;
}
