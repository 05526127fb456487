/*
 * Threads: waiters while the plane shuts down, freeing inside a callback, eight threads that push, a log that is
 * replaced meanwhile. Needs no HAProxy.
 */
#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

#define WAITERS 4
#define WRITERS 8
#define WRITES 200

static void sleep_ms(unsigned ms) {
    usleep(ms * 1000);
}

/* A counter that several threads use. */
struct counter {
    pthread_mutex_t lock;
    int value;
};

static void count(struct counter *counter) {
    pthread_mutex_lock(&counter->lock);
    counter->value++;
    pthread_mutex_unlock(&counter->lock);
}

static int counted(struct counter *counter) {
    pthread_mutex_lock(&counter->lock);
    int value = counter->value;
    pthread_mutex_unlock(&counter->lock);
    return value;
}

static void *wait_for_events(void *argument) {
    const lb_events *events = argument;
    lb_event *event = NULL;
    lb_status status;
    while ((status = lb_events_next(events, LB_FOREVER, &event, NULL)) == LB_STATUS_OK) {
        lb_event_free(event);
    }
    CHECK(status == LB_STATUS_CLOSED);
    return NULL;
}

static void *wait_for_reconcile(void *argument) {
    const lb_plane *plane = argument;
    lb_status status = lb_plane_reconcile(plane, LB_FOREVER, NULL);
    CHECK(status == LB_STATUS_CLOSED);
    return NULL;
}

static void *shut_down(void *argument) {
    const lb_plane *plane = argument;
    OK(lb_plane_shutdown(plane, &err));
    return NULL;
}

static void waiters_wake_when_it_ends(void) {
    lb_plane *plane = NULL;
    lb_events *events = NULL;
    lb_publisher *publisher = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    OK(lb_plane_add_target(plane, S("name = \"lost\"\nsocket = \"/nonexistent/socket\""), &err));
    OK(lb_plane_add_publisher(plane, S("silent"), &publisher, &err));
    OK(lb_plane_subscribe(plane, 64, &events, &err));
    OK(lb_plane_start(plane, &err));
    pthread_t waiting[2 * WAITERS], ending[2];
    for (int i = 0; i < WAITERS; i++) {
        CHECK(pthread_create(&waiting[i], NULL, wait_for_events, events) == 0);
        CHECK(pthread_create(&waiting[WAITERS + i], NULL, wait_for_reconcile, plane) == 0);
    }
    sleep_ms(50);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&ending[i], NULL, shut_down, plane) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(ending[i], NULL) == 0);
    }
    for (int i = 0; i < 2 * WAITERS; i++) {
        CHECK(pthread_join(waiting[i], NULL) == 0);
    }
    lb_publisher_free(publisher);
    lb_events_free(events);
    lb_plane_free(plane);
}

/* The threads of all planes. */
static int threads_of_planes(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            count += fgets(name, sizeof name, file) != NULL && strcmp(name, "lb-plane\n") == 0;
            fclose(file);
        }
    }
    closedir(tasks);
    return count;
}

static void a_plane_has_as_many_threads_as_stated(void) {
    lb_plane *plane = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    CHECK(threads_of_planes() == 0);
    OK(lb_plane_start(plane, &err));
    for (int i = 0; threads_of_planes() < 4 && i < 2000; i++) {
        sleep_ms(10);
    }
    CHECK(threads_of_planes() == 4);
    OK(lb_plane_shutdown(plane, &err));
    for (int i = 0; threads_of_planes() > 0 && i < 2000; i++) {
        sleep_ms(10);
    }
    CHECK(threads_of_planes() == 0);
    lb_plane_free(plane);
}

struct pushing {
    const lb_publisher *publisher;
    int number;
};

static void *push(void *argument) {
    struct pushing *pushing = argument;
    for (int i = 0; i < WRITES; i++) {
        char id[32], address[32];
        int id_len = snprintf(id, sizeof id, "e%d-%d", pushing->number, i);
        int address_len = snprintf(address, sizeof address, "10.%d.%d.1:80", pushing->number, i);
        OK(lb_publisher_set(pushing->publisher, S("web"), id, (size_t)id_len, address, (size_t)address_len, 1,
                            LB_ENDPOINT_STATE_READY, &err));
        if (i % 2 == 1) {
            OK(lb_publisher_remove(pushing->publisher, S("web"), id, (size_t)id_len, &err));
        }
    }
    return NULL;
}

static void many_push_at_once(void) {
    lb_plane *plane = NULL;
    lb_publisher *publisher = NULL;
    lb_text *text = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    OK(lb_plane_add_publisher(plane, S("app"), &publisher, &err));
    OK(lb_plane_start(plane, &err));
    pthread_t threads[WRITERS];
    struct pushing pushing[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        pushing[i].publisher = publisher;
        pushing[i].number = i;
        CHECK(pthread_create(&threads[i], NULL, push, &pushing[i]) == 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    OK(lb_plane_reconcile(plane, 60000, &err));
    OK(lb_plane_status_json(plane, &text, &err));
    char expected[32];
    snprintf(expected, sizeof expected, "\"endpoints\":%d,", WRITERS * WRITES / 2);
    CHECK(has(lb_text_view(text), expected));
    lb_text_free(text);
    lb_plane_free(plane);
    lb_publisher_free(publisher);
}

struct ending {
    lb_plane *plane;
    struct counter started, calls, released;
};

static uint32_t free_the_plane(void *userdata, lb_batch *everything) {
    struct ending *ending = userdata;
    lb_error *err = NULL;
    (void)everything;
    if (counted(&ending->started) == 0) {
        return LB_STATUS_OK;
    }
    count(&ending->calls);
    if (counted(&ending->calls) > 1) {
        return LB_STATUS_OK;
    }
    CHECK(lb_plane_shutdown(ending->plane, &err) == LB_STATUS_WOULD_DEADLOCK);
    CHECK(lb_error_status(err) == LB_STATUS_WOULD_DEADLOCK);
    lb_error_free(err);
    lb_plane_free(ending->plane);
    return LB_STATUS_OK;
}

static void release_ending(void *userdata) {
    struct ending *ending = userdata;
    count(&ending->released);
}

static void a_callback_may_free_its_plane(void) {
    static struct ending ending = {
        NULL,
        {PTHREAD_MUTEX_INITIALIZER, 0},
        {PTHREAD_MUTEX_INITIALIZER, 0},
        {PTHREAD_MUTEX_INITIALIZER, 0}};
    OK(lb_plane_new(NULL, 0, &ending.plane, &err));
    OK(lb_plane_add_callback_source(ending.plane, S("last"), 10, free_the_plane, &ending, release_ending, &err));
    OK(lb_plane_start(ending.plane, &err));
    /* Nobody may use a plane that is freed: from here on only the callback does. */
    count(&ending.started);
    for (int waited = 0; counted(&ending.released) == 0; waited++) {
        CHECK(waited < 60000);
        sleep_ms(1);
    }
    CHECK(counted(&ending.released) == 1 && counted(&ending.calls) >= 1);
}

static void log_line(void *userdata, uint32_t level, lb_str module, lb_str message) {
    struct counter *lines = userdata;
    CHECK(level >= LB_LOG_LEVEL_ERROR && level <= LB_LOG_LEVEL_TRACE && module.len > 0 && message.len > 0);
    /* Objects are out of bounds here. */
    lb_batch *batch = NULL;
    OK(lb_batch_new(&batch, &err));
    CHECK(lb_batch_add_service(batch, S("web"), 0, NULL) == LB_STATUS_WOULD_DEADLOCK);
    lb_batch_free(batch);
    count(lines);
}

static struct counter logs_released = {PTHREAD_MUTEX_INITIALIZER, 0};

static void release_log(void *userdata) {
    (void)userdata;
    count(&logs_released);
}

static void the_log_is_replaced_while_it_is_used(void) {
    static struct counter lines = {PTHREAD_MUTEX_INITIALIZER, 0};
    OK(lb_set_logger(LB_LOG_LEVEL_TRACE, log_line, &lines, release_log, &err));
    many_push_at_once();
    CHECK(counted(&lines) > 0);
    lb_plane *plane = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    OK(lb_plane_add_target(plane, S("name = \"lost\"\nsocket = \"/nonexistent/socket\""), &err));
    OK(lb_plane_start(plane, &err));
    for (int i = 0; i < 20; i++) {
        OK(lb_set_logger(LB_LOG_LEVEL_DEBUG, log_line, &lines, release_log, &err));
    }
    lb_plane_free(plane);
    OK(lb_set_logger(LB_LOG_LEVEL_OFF, NULL, NULL, NULL, &err));
    CHECK(counted(&logs_released) == 21);
}

int main(void) {
    a_plane_has_as_many_threads_as_stated();
    waiters_wake_when_it_ends();
    many_push_at_once();
    a_callback_may_free_its_plane();
    the_log_is_replaced_while_it_is_used();
    puts("threads: ok");
    return 0;
}
