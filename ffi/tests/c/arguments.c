/*
 * Every function with good input, with NULL, with text that is not UTF-8, with what is out of range and in the wrong
 * state: each gives its documented status, and changes nothing when it fails.
 * usage: arguments SOCKET (of a HAProxy with a backend web of three slots)
 */
#include "check.h"

#define BAD "\xff\xfe", 2
#define NONE NULL, 0
#define MISSING NULL, 1

static int released;

static void release(void *userdata) {
    (void)userdata;
    released++;
}

static uint32_t discover(void *userdata, lb_batch *everything) {
    (void)userdata;
    (void)everything;
    return LB_STATUS_OK;
}

static void log_nothing(void *userdata, uint32_t level, lb_str module, lb_str message) {
    (void)userdata;
    (void)level;
    (void)module;
    (void)message;
}

static void library(void) {
    CHECK(lb_abi_version() == LB_ABI_VERSION);
    CHECK(lb_version().len >= 5);
    CHECK(has(lb_status_name(LB_STATUS_TIMEOUT), "TIMEOUT"));
    CHECK(has(lb_status_name(4711), "UNKNOWN"));

    released = 0;
    OK(lb_set_logger(LB_LOG_LEVEL_INFO, log_nothing, NULL, release, &err));
    CHECK(released == 0);
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_set_logger(6, log_nothing, NULL, release, &err));
    CHECK(released == 1);
    OK(lb_set_logger(LB_LOG_LEVEL_OFF, NULL, NULL, NULL, &err));
    CHECK(released == 2);

    /* What takes NULL. */
    CHECK(lb_error_status(NULL) == LB_STATUS_NULL_ARGUMENT);
    CHECK(lb_error_message(NULL).len == 0 && lb_error_message(NULL).ptr != NULL);
    lb_error_free(NULL);
    CHECK(lb_text_view(NULL).len == 0);
    lb_text_free(NULL);
    CHECK(lb_batch_len(NULL) == 0);
    lb_batch_free(NULL);
    lb_publisher_free(NULL);
    lb_plane_free(NULL);
    CHECK(lb_events_fd(NULL) == -1);
    CHECK(lb_events_dropped(NULL) == 0);
    lb_events_free(NULL);
    CHECK(lb_event_kind_of(NULL) == LB_EVENT_KIND_OTHER);
    CHECK(lb_event_subject(NULL).len == 0);
    CHECK(lb_event_json(NULL).len == 0);
    CHECK(lb_event_ticket(NULL) == 0);
    CHECK(lb_event_covers(NULL, 0) == 0 && lb_event_covers(NULL, 1) == 0);
    lb_event_free(NULL);
    lb_slots_free(NULL);
}

static void batches(void) {
    lb_batch *batch = NULL;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_batch_new(NULL, &err));
    OK(lb_batch_new(&batch, &err));
    /* Without a place for the error, the status is all there is. */
    CHECK(lb_batch_new(NULL, NULL) == LB_STATUS_NULL_ARGUMENT);

    FAILS(LB_STATUS_NULL_ARGUMENT, lb_batch_add_endpoint(NULL, S("web"), S("a"), S("10.0.0.1:80"), 1, 0, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_batch_add_endpoint(batch, MISSING, S("a"), S("10.0.0.1:80"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_endpoint(batch, NONE, S("a"), S("10.0.0.1:80"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_add_endpoint(batch, BAD, S("a"), S("10.0.0.1:80"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_add_endpoint(batch, S("web"), BAD, S("10.0.0.1:80"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_add_endpoint(batch, S("web"), S("a"), BAD, 1, 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_endpoint(batch, S("a b"), S("a"), S("10.0.0.1:80"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_endpoint(batch, S("web"), S("a"), S("localhost:80"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_endpoint(batch, S("web"), S("a"), S("10.0.0.1:80"), 257, 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_endpoint(batch, S("web"), S("a"), S("10.0.0.1:80"), 1, 4, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_batch_remove_endpoint(NULL, S("web"), S("a"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_remove_endpoint(batch, BAD, S("a"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_remove_endpoint(batch, S("web"), BAD, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_batch_add_service(NULL, S("web"), 0, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_add_service(batch, BAD, 0, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_batch_set_service_options(NULL, S("db"), 1, 1, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_set_service_options(batch, BAD, 1, 1, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_batch_add_route(NULL, S("h"), S("/"), S("web"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_add_route(batch, BAD, S("/"), S("web"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_add_route(batch, S("h"), BAD, S("web"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_batch_add_route(batch, S("h"), S("/"), BAD, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_route(batch, S("a host"), S("/"), S("web"), &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_route(batch, S("h"), S("path"), S("web"), &err));
    CHECK(lb_batch_len(batch) == 0);

    OK(lb_batch_add_endpoint(batch, S("web"), S("a"), S("[::1]:80"), 0, LB_ENDPOINT_STATE_DOWN, &err));
    OK(lb_batch_remove_endpoint(batch, S("web"), S("b"), &err));
    OK(lb_batch_add_service(batch, S("tcp"), 1, &err));
    OK(lb_batch_set_service_options(batch, S("tcp"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_route(batch, NONE, NONE, S("web"), &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_batch_add_route(batch, S(""), S("/"), S("web"), &err));
    OK(lb_batch_add_route(batch, S("*"), NONE, S("web"), &err));
    OK(lb_batch_add_route(batch, S("*.example"), S("=/a"), S("web"), &err));
    CHECK(lb_batch_len(batch) == 4);
    lb_batch_free(batch);
}

static void making(void) {
    lb_plane *plane = NULL;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_new(NONE, NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_new(MISSING, &plane, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_new(BAD, &plane, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_new(S("{"), &plane, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_new(S("resync = \"soon\""), &plane, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_new(S("resync = 0"), &plane, &err));
    CHECK(plane == NULL);
    OK(lb_plane_new(S("initial_limit = \"1s\""), &plane, &err));
    lb_plane_free(plane);
    OK(lb_plane_new(S(" {\"resync\": 5}"), &plane, &err));
    lb_plane_free(plane);
}

/* What is refused in every state: the arguments are looked at first. */
static void refused(const lb_plane *plane) {
    lb_publisher *publisher = NULL;
    lb_events *events = NULL;
    lb_text *text = NULL;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_add_source(NULL, S("{}"), &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_add_source(plane, MISSING, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_add_source(plane, BAD, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_add_source(plane, S("{\"kind\":\"rumour\"}"), &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_add_target(NULL, S("{}"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_add_target(plane, BAD, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_add_target(plane, S("{\"name\":\"x\"}"), &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_add_publisher(NULL, S("p"), &publisher, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_add_publisher(plane, S("p"), NULL, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_add_publisher(plane, BAD, &publisher, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_add_publisher(plane, S("a b"), &publisher, &err));
    CHECK(publisher == NULL);
    released = 0;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_add_callback_source(NULL, S("c"), 10, discover, NULL, release, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_add_callback_source(plane, S("c"), 10, NULL, NULL, release, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_add_callback_source(plane, BAD, 10, discover, NULL, release, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_add_callback_source(plane, S("c"), 9, discover, NULL, release, &err));
    CHECK(released == 4);
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_remove_source(NULL, S("x"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_remove_source(plane, BAD, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_remove_source(plane, NONE, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_remove_target(NULL, S("x"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_remove_target(plane, BAD, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_start(NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_shutdown(NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_subscribe(NULL, 8, &events, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_subscribe(plane, 8, NULL, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_subscribe(plane, 0, &events, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_subscribe(plane, (size_t)1 << 21, &events, &err));
    CHECK(events == NULL);
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_reconcile(NULL, 0, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_wait(NULL, S("app"), 2, 0, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_wait(plane, BAD, 2, 0, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_ticket_json(NULL, S("app"), 2, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_ticket_json(plane, S("app"), 2, NULL, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_ticket_json(plane, BAD, 2, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_confirm(NULL, NONE, NULL, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_confirm(plane, BAD, NULL, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_confirm(plane, S("a b"), NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_snapshot_json(NULL, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_snapshot_json(plane, NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_status_json(NULL, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_status_json(plane, NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_plan_json(NULL, S("edge"), 0, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_plane_plan_json(plane, S("edge"), 0, NULL, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_plane_plan_json(plane, BAD, 0, &text, &err));
    CHECK(text == NULL);
}

/* What cannot be done before the start or after the end. */
static void not_running(const lb_plane *plane, lb_status status) {
    lb_text *text = NULL;
    FAILS(status, lb_plane_reconcile(plane, 1000, &err));
    FAILS(status, lb_plane_wait(plane, S("app"), 2, 1000, &err));
    FAILS(status, lb_plane_confirm(plane, NONE, NULL, &err));
    FAILS(status, lb_plane_plan_json(plane, S("edge"), 1000, &text, &err));
    CHECK(text == NULL);
}

static void publishers(const lb_plane *plane, const lb_publisher *publisher) {
    lb_batch *batch = NULL;
    OK(lb_batch_new(&batch, &err));
    add(batch, "a", "127.0.0.1:9001");
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_reset(NULL, batch, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_reset(publisher, NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_apply(NULL, batch, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_apply(publisher, NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_set(NULL, S("web"), S("b"), S("127.0.0.1:9002"), 1, 0, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_publisher_set(publisher, S("web"), S("b"), BAD, 1, 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_publisher_set(publisher, S("web"), S("b"), S("nowhere"), 1, 0, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_weigh(NULL, S("web"), S("a"), 1, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_publisher_weigh(publisher, BAD, S("a"), 1, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_publisher_weigh(publisher, S("web"), S("a"), 257, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_drain(NULL, S("web"), S("a"), 0, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_publisher_drain(publisher, S("web"), BAD, 0, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_remove(NULL, S("web"), S("a"), &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_publisher_remove(publisher, BAD, S("a"), &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_retire(NULL, &err));
    uint64_t ticket = 4711;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_ticket(NULL, &ticket, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_publisher_ticket(publisher, NULL, &err));
    OK(lb_publisher_ticket(publisher, &ticket, &err));
    CHECK(ticket == 0);
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_wait(plane, S("app"), 0, 1000, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_wait(plane, S("app"), 2, 1000, &err));
    FAILS(LB_STATUS_NOT_FOUND, lb_plane_wait(plane, S("nobody"), 2, 1000, &err));

    /* case P1: what no HAProxy can serve. */
    static const char *const nowhere[] = {"0.0.0.0:80", "[::]:80", "10.0.0.1:0", "[::ffff:0.0.0.0]:80",
                                          "255.255.255.255:80", "224.0.0.1:80", "[fe80::1%2]:80"};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        FAILS(LB_STATUS_INVALID_ARGUMENT,
              lb_publisher_set(publisher, S("web"), S("b"), nowhere[i], strlen(nowhere[i]), 1, 0, &err));
        FAILS(LB_STATUS_INVALID_ARGUMENT,
              lb_batch_add_endpoint(batch, S("web"), S("b"), nowhere[i], strlen(nowhere[i]), 1, 0, &err));
    }

    OK(lb_publisher_reset(publisher, batch, &err));
    OK(lb_batch_remove_endpoint(batch, S("web"), S("gone"), &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_publisher_reset(publisher, batch, &err));
    OK(lb_publisher_apply(publisher, batch, &err));
    OK(lb_publisher_set(publisher, S("web"), S("b"), S("127.0.0.1:9002"), 50, LB_ENDPOINT_STATE_READY, &err));
    OK(lb_publisher_weigh(publisher, S("web"), S("a"), 200, &err));
    OK(lb_publisher_weigh(publisher, S("web"), S("nobody"), 200, &err));
    lb_batch_free(batch);
    OK(lb_publisher_ticket(publisher, &ticket, &err));
    CHECK(ticket > 0);
    OK(lb_plane_reconcile(plane, 120000, &err));

    lb_text *text = NULL;
    OK(lb_plane_ticket_json(plane, S("app"), ticket, &text, &err));
    CHECK(has(lb_text_view(text), "\"in_effect\":true"));
    lb_text_free(text);
    OK(lb_plane_wait(plane, S("app"), ticket, 0, &err));
    OK(lb_plane_snapshot_json(plane, &text, &err));
    CHECK(has(lb_text_view(text), "127.0.0.1:9001") && has(lb_text_view(text), "\"weight\":200"));
    CHECK(has(lb_text_view(text), "127.0.0.1:9002"));
    lb_text_free(text);

    OK(lb_publisher_drain(publisher, S("web"), S("b"), LB_TARGET_LIMIT, &err));
    OK(lb_publisher_remove(publisher, S("web"), S("nobody"), &err));
    OK(lb_plane_reconcile(plane, LB_FOREVER, &err));
    OK(lb_plane_snapshot_json(plane, &text, &err));
    CHECK(has(lb_text_view(text), "draining"));
    lb_text_free(text);

    /* A service that HAProxy has no backend for. */
    OK(lb_publisher_set(publisher, S("elsewhere"), S("x"), S("127.0.0.1:9003"), 1, 0, &err));
    FAILS(LB_STATUS_UNMET, lb_plane_reconcile(plane, 120000, &err));
    OK(lb_publisher_remove(publisher, S("elsewhere"), S("x"), &err));
}

static void running(const char *socket) {
    lb_plane *plane = NULL;
    lb_publisher *publisher = NULL, *second = NULL;
    lb_events *events = NULL;
    lb_event *event = NULL;
    lb_text *text = NULL;
    size_t count = 4711;
    OK(lb_plane_new(S("initial_limit = 2"), &plane, &err));
    refused(plane);
    not_running(plane, LB_STATUS_WRONG_STATE);
    FAILS(LB_STATUS_WRONG_STATE, lb_plane_snapshot_json(plane, &text, &err));
    FAILS(LB_STATUS_WRONG_STATE, lb_plane_status_json(plane, &text, &err));

    OK(lb_plane_subscribe(plane, 1, &events, &err));
    add_edge(plane, socket);
    FAILS(LB_STATUS_ALREADY_EXISTS,
          lb_plane_add_target(plane, S("{\"name\":\"edge\",\"socket\":\"/x\"}"), &err));
    OK(lb_plane_add_publisher(plane, S("app"), &publisher, &err));
    FAILS(LB_STATUS_ALREADY_EXISTS, lb_plane_add_publisher(plane, S("app"), &second, &err));
    released = 0;
    FAILS(LB_STATUS_ALREADY_EXISTS,
          lb_plane_add_callback_source(plane, S("app"), 10, discover, NULL, release, &err));
    CHECK(released == 1);
    OK(lb_plane_add_callback_source(plane, S("asked"), 10, discover, NULL, release, &err));
    OK(lb_plane_add_source(plane, S("{\"kind\":\"file\",\"name\":\"files\",\"path\":\"/nonexistent\"}"), &err));
    OK(lb_plane_remove_source(plane, S("files"), &err));
    FAILS(LB_STATUS_NOT_FOUND, lb_plane_remove_source(plane, S("files"), &err));
    OK(lb_plane_remove_source(plane, S("asked"), &err));
    CHECK(released == 2);
    OK(lb_plane_add_target(plane, S("name = \"other\"\nsocket = \"/nonexistent\""), &err));
    OK(lb_plane_remove_target(plane, S("other"), &err));
    FAILS(LB_STATUS_NOT_FOUND, lb_plane_remove_target(plane, S("other"), &err));

    OK(lb_plane_start(plane, &err));
    FAILS(LB_STATUS_WRONG_STATE, lb_plane_start(plane, &err));
    refused(plane);
    publishers(plane, publisher);

    /* The same while it runs. */
    FAILS(LB_STATUS_ALREADY_EXISTS,
          lb_plane_add_target(plane, S("{\"name\":\"edge\",\"socket\":\"/x\"}"), &err));
    OK(lb_plane_add_target(plane, S("name = \"lost\"\nsocket = \"/nonexistent/socket\""), &err));
    FAILS(LB_STATUS_IO, lb_plane_plan_json(plane, S("lost"), 120000, &text, &err));
    FAILS(LB_STATUS_TIMEOUT, lb_plane_reconcile(plane, 50, &err));
    OK(lb_plane_remove_target(plane, S("lost"), &err));
    FAILS(LB_STATUS_NOT_FOUND, lb_plane_remove_target(plane, S("lost"), &err));
    FAILS(LB_STATUS_ALREADY_EXISTS, lb_plane_add_publisher(plane, S("app"), &second, &err));
    OK(lb_plane_add_publisher(plane, S("second"), &second, &err));
    released = 0;
    FAILS(LB_STATUS_ALREADY_EXISTS,
          lb_plane_add_callback_source(plane, S("app"), 10, discover, NULL, release, &err));
    CHECK(released == 1);
    OK(lb_plane_remove_source(plane, S("second"), &err));
    FAILS(LB_STATUS_NOT_FOUND, lb_plane_remove_source(plane, S("second"), &err));
    FAILS(LB_STATUS_CLOSED, lb_publisher_set(second, S("web"), S("z"), S("127.0.0.1:9009"), 1, 0, &err));
    lb_publisher_free(second);

    OK(lb_plane_plan_json(plane, S("edge"), 120000, &text, &err));
    CHECK(has(lb_text_view(text), "stages"));
    lb_text_free(text);
    text = NULL;
    FAILS(LB_STATUS_NOT_FOUND, lb_plane_plan_json(plane, S("nobody"), 120000, &text, &err));
    CHECK(text == NULL);
    OK(lb_plane_status_json(plane, &text, &err));
    CHECK(has(lb_text_view(text), "\"targets\"") && has(lb_text_view(text), "edge"));
    lb_text_free(text);
    OK(lb_plane_confirm(plane, S("web"), &count, &err));
    CHECK(count == 0);
    OK(lb_plane_confirm(plane, NONE, NULL, &err));

    /* A subscription to one event has lost all the others. */
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_events_next(NULL, 0, &event, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_events_next(events, 0, NULL, &err));
    CHECK(event == NULL && lb_events_fd(events) >= 0 && lb_events_dropped(events) > 0);
    OK(lb_events_next(events, 1000, &event, &err));
    CHECK(has(lb_event_json(event), "\"seq\""));
    CHECK(lb_event_kind_of(event) > LB_EVENT_KIND_OTHER);
    (void)lb_event_subject(event);
    lb_event_free(event);

    OK(lb_publisher_retire(publisher, &err));
    FAILS(LB_STATUS_CLOSED, lb_publisher_retire(publisher, &err));
    FAILS(LB_STATUS_CLOSED, lb_publisher_drain(publisher, S("web"), S("a"), 0, &err));

    OK(lb_plane_shutdown(plane, &err));
    OK(lb_plane_shutdown(plane, &err));
    refused(plane);
    not_running(plane, LB_STATUS_CLOSED);
    FAILS(LB_STATUS_CLOSED, lb_plane_start(plane, &err));
    FAILS(LB_STATUS_CLOSED, lb_plane_add_publisher(plane, S("late"), &second, &err));
    FAILS(LB_STATUS_CLOSED, lb_plane_remove_source(plane, S("app"), &err));
    lb_events *late = NULL;
    FAILS(LB_STATUS_CLOSED, lb_plane_subscribe(plane, 8, &late, &err));
    OK(lb_plane_snapshot_json(plane, &text, &err));
    lb_text_free(text);
    OK(lb_plane_status_json(plane, &text, &err));
    lb_text_free(text);

    lb_status status;
    while ((status = lb_events_next(events, 1000, &event, NULL)) == LB_STATUS_OK) {
        lb_event_free(event);
    }
    CHECK(status == LB_STATUS_CLOSED);
    lb_plane_free(plane);
    /* Both outlive the plane. */
    FAILS(LB_STATUS_CLOSED, lb_publisher_remove(publisher, S("web"), S("a"), &err));
    FAILS(LB_STATUS_CLOSED, lb_events_next(events, LB_FOREVER, &event, &err));
    lb_events_free(events);
    lb_publisher_free(publisher);
}

static void slots(const char *socket) {
    char target[256];
    int len = snprintf(target, sizeof target, "{\"name\":\"edge\",\"socket\":\"%s\"}", socket);
    CHECK(len > 0 && (size_t)len < sizeof target);
    lb_slots *slots = NULL;
    lb_batch *wanted = NULL;
    lb_text *text = NULL;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_slots_new(target, (size_t)len, S("web"), NULL, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_slots_new(BAD, S("web"), &slots, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_slots_new(target, (size_t)len, BAD, &slots, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_slots_new(S("{}"), S("web"), &slots, &err));
    CHECK(slots == NULL);
    OK(lb_slots_new(target, (size_t)len, S("web"), &slots, &err));
    OK(lb_batch_new(&wanted, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_slots_plan(NULL, wanted, 1000, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_slots_plan(slots, NULL, 1000, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_slots_plan(slots, wanted, 1000, NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_slots_apply(NULL, wanted, 1000, &text, &err));
    OK(lb_batch_add_service(wanted, S("other"), 0, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_slots_apply(slots, wanted, 1000, &text, &err));
    lb_batch_free(wanted);
    OK(lb_batch_new(&wanted, &err));
    add(wanted, "a", "127.0.0.1:9001");
    OK(lb_slots_plan(slots, wanted, 120000, &text, &err));
    CHECK(has(lb_text_view(text), "stages"));
    lb_text_free(text);
    OK(lb_slots_apply(slots, wanted, 120000, &text, &err));
    CHECK(has(lb_text_view(text), "\"converged\":true"));
    lb_text_free(text);
    lb_slots_free(slots);

    OK(lb_slots_new(S("name = \"lost\"\nsocket = \"/nonexistent/socket\""), S("web"), &slots, &err));
    text = NULL;
    FAILS(LB_STATUS_IO, lb_slots_apply(slots, wanted, 120000, &text, &err));
    CHECK(text == NULL);
    lb_slots_free(slots);
    lb_batch_free(wanted);
}

static void generated(void) {
    lb_text *text = NULL;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_config_generate(S("{}"), NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_config_generate(MISSING, &text, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_config_generate(BAD, &text, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_config_generate(S("{}"), &text, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT,
          lb_config_generate(S("{\"version\":\"2.6.12\",\"socket\":\"a\\nb\"}"), &text, &err));
    CHECK(text == NULL);
    OK(lb_config_generate(S("{\"version\":\"2.6.12\",\"socket\":\"/run/admin.sock\",\"frontends\":[{\"name\":\"in\","
                            "\"bind\":\"127.0.0.1:80\",\"default_backend\":\"web\"}],"
                            "\"backends\":[{\"name\":\"web\",\"slots\":3,\"balance\":\"leastconn\"}]}"),
                          &text, &err));
    CHECK(has(lb_text_view(text), "server-template slot 1-3"));
    CHECK(has(lb_text_view(text), "balance leastconn"));
    lb_text_free(text);
}

static void linted(void) {
    lb_text *text = NULL;
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_config_lint(S("global"), NONE, NULL, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_config_lint(MISSING, NONE, &text, &err));
    FAILS(LB_STATUS_NULL_ARGUMENT, lb_config_lint(S("global"), MISSING, &text, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_config_lint(BAD, NONE, &text, &err));
    FAILS(LB_STATUS_INVALID_UTF8, lb_config_lint(S("global"), BAD, &text, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_config_lint(S("global"), S("{"), &text, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_config_lint(S("global"), S("{\"version\":\"new\"}"), &text, &err));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_config_lint(S("global"), S("{\"colour\":1}"), &text, &err));
    CHECK(text == NULL);
    OK(lb_config_lint(S("global\n stats socket /run/a.sock level user expose-fd listeners\n"),
                      S("{\"version\":\"2.6.12\",\"name\":\"my.cfg\"}"), &text, &err));
    CHECK(has(lb_text_view(text), "\"ok\":false"));
    CHECK(has(lb_text_view(text), "\"code\":\"socket-level\""));
    CHECK(has(lb_text_view(text), "\"file\":\"my.cfg\",\"line\":2"));
    lb_text_free(text);
    text = NULL;
    OK(lb_config_lint(S("global\n stats socket /run/a.sock level admin mode 600 expose-fd listeners\n"
                        " stats maxconn 32\n hard-stop-after 15m\n"),
                      NONE, &text, &err));
    CHECK(has(lb_text_view(text), "\"ok\":true"));
    lb_text_free(text);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    library();
    batches();
    making();
    running(argv[1]);
    slots(argv[1]);
    generated();
    linted();
    puts("arguments: ok");
    return 0;
}
