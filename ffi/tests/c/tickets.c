/* Tickets: an epoll program that learns when its own writes are in effect. usage: tickets SOCKET */
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "check.h"

/* Waits in epoll for an event of this kind that is about the write with `ticket`. */
static void until(int epoll, const lb_events *events, lb_event_kind kind, uint64_t ticket) {
    for (;;) {
        lb_event *event = NULL;
        lb_status status;
        while ((status = lb_events_next(events, 0, &event, NULL)) == LB_STATUS_OK) {
            int mine = lb_event_kind_of(event) == kind && lb_event_covers(event, ticket);
            CHECK(!mine || (has(lb_event_subject(event), "app") && lb_event_ticket(event) >= ticket));
            lb_event_free(event);
            if (mine) {
                return;
            }
        }
        CHECK(status == LB_STATUS_TIMEOUT);
        struct epoll_event ready;
        CHECK(epoll_wait(epoll, &ready, 1, 60000) == 1);
    }
}

static uint64_t ticket_of(const lb_publisher *publisher) {
    uint64_t ticket = 0;
    OK(lb_publisher_ticket(publisher, &ticket, &err));
    return ticket;
}

static void set(const lb_publisher *publisher, const char *service, const char *id, unsigned port) {
    char address[32];
    int len = snprintf(address, sizeof address, "127.0.0.1:%u", port);
    OK(lb_publisher_set(publisher, service, strlen(service), id, strlen(id), address, (size_t)len, 100,
                        LB_ENDPOINT_STATE_READY, &err));
}

struct other {
    const lb_publisher *publisher;
    uint64_t ticket;
};

static void *write_elsewhere(void *argument) {
    struct other *other = argument;
    set(other->publisher, "web", "b", 9050);
    other->ticket = ticket_of(other->publisher);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    lb_plane *plane = NULL;
    lb_publisher *publisher = NULL;
    lb_events *events = NULL;
    lb_text *text = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    add_edge(plane, argv[1]);
    OK(lb_plane_add_publisher(plane, S("app"), &publisher, &err));
    OK(lb_plane_subscribe(plane, 65536, &events, &err));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest;
    memset(&interest, 0, sizeof interest);
    interest.events = EPOLLIN;
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, lb_events_fd(events), &interest) == 0);
    OK(lb_plane_start(plane, &err));

    /* Every write, also one that changes nothing. */
    uint64_t before = 0;
    for (unsigned round = 0; round < 20; round++) {
        set(publisher, "web", "a", 9001 + round / 2);
        uint64_t ticket = ticket_of(publisher);
        CHECK(ticket > before);
        before = ticket;
        until(epoll, events, LB_EVENT_KIND_IN_EFFECT, ticket);
        OK(lb_plane_wait(plane, S("app"), ticket, 0, &err));
    }
    OK(lb_publisher_remove(publisher, S("web"), S("nobody"), &err));
    until(epoll, events, LB_EVENT_KIND_IN_EFFECT, ticket_of(publisher));
    FAILS(LB_STATUS_INVALID_ARGUMENT, lb_plane_wait(plane, S("app"), ticket_of(publisher) + 1000, 0, &err));

    /* The ticket is that of the asking thread's own write. */
    uint64_t mine = ticket_of(publisher);
    struct other other = {publisher, 0};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, write_elsewhere, &other) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(other.ticket > mine && ticket_of(publisher) == mine);
    OK(lb_plane_wait(plane, S("app"), other.ticket, 60000, &err));

    /* What cannot be had keeps back its own write, and no other. */
    set(publisher, "elsewhere", "x", 9060);
    uint64_t kept = ticket_of(publisher);
    until(epoll, events, LB_EVENT_KIND_KEPT_BACK, kept);
    FAILS(LB_STATUS_UNMET, lb_plane_wait(plane, S("app"), kept, 60000, &err));
    set(publisher, "web", "b", 9051);
    uint64_t ticket = ticket_of(publisher);
    until(epoll, events, LB_EVENT_KIND_IN_EFFECT, ticket);
    OK(lb_plane_ticket_json(plane, S("app"), kept, &text, &err));
    CHECK(has(lb_text_view(text), "\"in_effect\":false") && has(lb_text_view(text), "no_such_service"));
    lb_text_free(text);
    OK(lb_publisher_remove(publisher, S("elsewhere"), S("x"), &err));
    ticket = ticket_of(publisher);
    until(epoll, events, LB_EVENT_KIND_IN_EFFECT, ticket);
    OK(lb_plane_wait(plane, S("app"), kept, 60000, &err));

    /* case P2: a reconcile covers the writes before it. */
    for (unsigned round = 0; round < 20; round++) {
        char address[32];
        snprintf(address, sizeof address, "127.0.0.1:%u\"", 9100 + round);
        set(publisher, "web", "a", 9100 + round);
        OK(lb_plane_reconcile(plane, 60000, &err));
        OK(lb_plane_ticket_json(plane, S("app"), ticket_of(publisher), &text, &err));
        CHECK(has(lb_text_view(text), "\"in_effect\":true"));
        lb_text_free(text);
        OK(lb_plane_snapshot_json(plane, &text, &err));
        CHECK(has(lb_text_view(text), address));
        lb_text_free(text);
    }

    OK(lb_plane_shutdown(plane, &err));
    FAILS(LB_STATUS_CLOSED, lb_plane_wait(plane, S("app"), ticket_of(publisher), 1000, &err));
    close(epoll);
    lb_events_free(events);
    lb_publisher_free(publisher);
    lb_plane_free(plane);
    puts("tickets: ok");
    return 0;
}
