/* Fork and signals. Needs no HAProxy. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t seen;
static pid_t main_thread;

static void on_signal(int number) {
    (void)number;
    seen = seen + (getpid() == main_thread);
}

int main(void) {
    lb_plane *plane = NULL;
    lb_publisher *publisher = NULL;
    lb_events *events = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    OK(lb_plane_add_publisher(plane, S("app"), &publisher, &err));
    OK(lb_plane_subscribe(plane, 16, &events, &err));
    OK(lb_plane_start(plane, &err));

    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        lb_event *event = NULL;
        FAILS(LB_STATUS_FORKED, lb_publisher_remove(publisher, S("web"), S("a"), &err));
        FAILS(LB_STATUS_FORKED, lb_plane_reconcile(plane, 1000, &err));
        FAILS(LB_STATUS_FORKED, lb_plane_shutdown(plane, &err));
        FAILS(LB_STATUS_FORKED, lb_events_next(events, 1000, &event, &err));
        lb_events_free(events);
        lb_publisher_free(publisher);
        lb_plane_free(plane);
        /* What the child makes itself works. */
        OK(lb_plane_new(NULL, 0, &plane, &err));
        OK(lb_plane_start(plane, &err));
        lb_plane_free(plane);
        /* What was the parent's is still there, so this ends without a look for what is left. */
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);

    /* The library's threads block all signals: one sent to the process is handled by this thread. */
    main_thread = getpid();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    sigset_t one, before;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &one, &before) == 0 && !sigismember(&before, SIGUSR1));
    CHECK(kill(getpid(), SIGUSR1) == 0);
    usleep(50000);
    /* Blocked here, so any other thread that does not block it would have handled it by now. */
    CHECK(seen == 0);
    CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(seen == 1);

    /* The parent's objects are as they were. */
    OK(lb_publisher_remove(publisher, S("web"), S("a"), &err));
    OK(lb_plane_shutdown(plane, &err));
    lb_events_free(events);
    lb_publisher_free(publisher);
    lb_plane_free(plane);
    puts("processes: ok");
    return 0;
}
