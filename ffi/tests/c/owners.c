/* Several owners of one HAProxy in one process: each backend has one. usage: owners SOCKET */
#include "check.h"

static lb_plane *plane_of(const char *socket, const char *name, const char *manage, lb_publisher **publisher) {
    char target[256];
    lb_plane *plane = NULL;
    int len = snprintf(target, sizeof target, "{\"name\":\"%s\",\"socket\":\"%s\"%s}", name, socket, manage);
    CHECK(len > 0 && (size_t)len < sizeof target);
    OK(lb_plane_new(NULL, 0, &plane, &err));
    OK(lb_plane_add_target(plane, target, (size_t)len, &err));
    OK(lb_plane_add_publisher(plane, S("app"), publisher, &err));
    OK(lb_plane_start(plane, &err));
    return plane;
}

static void set(const lb_publisher *publisher, const char *service, const char *address) {
    OK(lb_publisher_set(publisher, service, strlen(service), S("a"), address, strlen(address), 100,
                        LB_ENDPOINT_STATE_READY, &err));
}

static lb_slots *slots_of(const char *socket, const char *service) {
    char target[256];
    lb_slots *slots = NULL;
    int len = snprintf(target, sizeof target, "{\"name\":\"slots\",\"socket\":\"%s\"}", socket);
    CHECK(len > 0 && (size_t)len < sizeof target);
    OK(lb_slots_new(target, (size_t)len, service, strlen(service), &slots, &err));
    return slots;
}

static lb_batch *wanted(const char *service, const char *address) {
    lb_batch *batch = NULL;
    OK(lb_batch_new(&batch, &err));
    OK(lb_batch_add_endpoint(batch, service, strlen(service), S("a"), address, strlen(address), 100,
                             LB_ENDPOINT_STATE_READY, &err));
    return batch;
}

/* Applies until it is through; the message says who the owner is where there is another one. */
static lb_status apply(lb_slots *slots, const lb_batch *batch, const char *owner) {
    lb_text *text = NULL;
    lb_error *error = NULL;
    lb_status status = lb_slots_apply(slots, batch, 120000, &text, &error);
    if (status == LB_STATUS_OK) {
        CHECK(has(lb_text_view(text), "\"converged\":true") && has(lb_text_view(text), "\"unmet\":[]"));
    } else {
        CHECK(owner != NULL && has(lb_error_message(error), owner));
    }
    lb_error_free(error);
    lb_text_free(text);
    return status;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    lb_publisher *first_app = NULL, *second_app = NULL, *third_app = NULL;
    lb_plane *first = plane_of(argv[1], "first", ",\"manage\":[\"web\"]", &first_app);
    set(first_app, "web", "127.0.0.1:9001");
    OK(lb_plane_reconcile(first, 120000, &err));

    /* A plane beside lb_slots: overlapping it is refused and names the plane, disjoint both work. */
    lb_slots *web = slots_of(argv[1], "web"), *db = slots_of(argv[1], "db");
    lb_batch *of_web = wanted("web", "127.0.0.1:9002"), *of_db = wanted("db", "127.0.0.1:9003");
    CHECK(apply(web, of_web, "target first, manage web") == LB_STATUS_REFUSED);
    CHECK(apply(db, of_db, NULL) == LB_STATUS_OK);
    set(first_app, "web", "127.0.0.1:9004");
    OK(lb_plane_reconcile(first, 120000, &err));
    CHECK(apply(db, of_db, NULL) == LB_STATUS_OK);

    /* Two planes of one process: overlapping the second waits and says for whom, disjoint it works. */
    lb_plane *second = plane_of(argv[1], "second", ",\"manage\":[\"w*\"]", &second_app);
    set(second_app, "web", "127.0.0.1:9005");
    lb_error *error = NULL;
    CHECK(lb_plane_reconcile(second, 1000, &error) == LB_STATUS_TIMEOUT);
    CHECK(has(lb_error_message(error), "target first, manage web"));
    lb_error_free(error);
    lb_slots_free(db);
    lb_plane *third = plane_of(argv[1], "third", ",\"manage\":[\"db\"]", &third_app);
    set(third_app, "db", "127.0.0.1:9006");
    OK(lb_plane_reconcile(third, 120000, &err));
    OK(lb_plane_reconcile(first, 120000, &err));

    /* What ends leaves its backends to the one that waits. */
    lb_plane_free(first);
    OK(lb_plane_reconcile(second, 120000, &err));
    lb_plane_free(second);
    CHECK(apply(web, of_web, NULL) == LB_STATUS_OK);

    lb_plane_free(third);
    lb_publisher_free(first_app);
    lb_publisher_free(second_app);
    lb_publisher_free(third_app);
    lb_batch_free(of_web);
    lb_batch_free(of_db);
    lb_slots_free(web);
    puts("owners: ok");
    return 0;
}
