/* Push, and events in an epoll loop. usage: loop SOCKET */
#include <sys/epoll.h>
#include <unistd.h>

#include "check.h"

/* Waits in epoll until the plane has verified a generation with nothing unmet. */
static void until_verified(int epoll, const lb_events *events) {
    for (;;) {
        struct epoll_event ready;
        CHECK(epoll_wait(epoll, &ready, 1, 60000) == 1);
        CHECK(ready.data.fd == lb_events_fd(events));
        lb_event *event = NULL;
        lb_status status;
        int verified = 0;
        while ((status = lb_events_next(events, 0, &event, NULL)) == LB_STATUS_OK) {
            if (lb_event_kind_of(event) == LB_EVENT_KIND_VERIFIED) {
                CHECK(has(lb_event_subject(event), "edge"));
                verified = 1;
            }
            lb_event_free(event);
        }
        CHECK(status == LB_STATUS_TIMEOUT);
        if (verified) {
            return;
        }
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    lb_plane *plane = NULL;
    lb_publisher *publisher = NULL;
    lb_events *events = NULL;
    lb_batch *batch = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    add_edge(plane, argv[1]);
    OK(lb_plane_add_publisher(plane, S("app"), &publisher, &err));
    OK(lb_plane_subscribe(plane, 256, &events, &err));

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest;
    memset(&interest, 0, sizeof interest);
    interest.events = EPOLLIN;
    interest.data.fd = lb_events_fd(events);
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, lb_events_fd(events), &interest) == 0);
    struct epoll_event ready;
    CHECK(epoll_wait(epoll, &ready, 1, 0) == 0);
    OK(lb_plane_start(plane, &err));

    OK(lb_batch_new(&batch, &err));
    add(batch, "a", "127.0.0.1:9001");
    add(batch, "b", "127.0.0.1:9002");
    OK(lb_publisher_reset(publisher, batch, &err));
    until_verified(epoll, events);
    OK(lb_publisher_drain(publisher, S("web"), S("b"), LB_TARGET_LIMIT, &err));
    until_verified(epoll, events);

    /* The end is readable, and stays so. */
    OK(lb_plane_shutdown(plane, &err));
    lb_event *event = NULL;
    lb_status status;
    int closing = 0;
    while ((status = lb_events_next(events, 0, &event, NULL)) == LB_STATUS_OK) {
        closing |= lb_event_kind_of(event) == LB_EVENT_KIND_CLOSING;
        lb_event_free(event);
    }
    CHECK(status == LB_STATUS_CLOSED && closing);
    CHECK(epoll_wait(epoll, &ready, 1, 0) == 1);
    close(epoll);
    lb_batch_free(batch);
    lb_events_free(events);
    lb_publisher_free(publisher);
    lb_plane_free(plane);
    puts("loop: ok");
    return 0;
}
