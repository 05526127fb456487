/*
 * What pushing costs. usage: bench
 * Prints the median of one write, and time and memory of a batch of 100,000 endpoints, up to their publication.
 */
#include <sys/resource.h>
#include <time.h>

#include "check.h"

#define WRITES 20000
#define MANY 100000

static double now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static long most_memory_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(void) {
    static double took[WRITES];
    lb_plane *plane = NULL;
    lb_publisher *publisher = NULL;
    lb_batch *batch = NULL;
    OK(lb_plane_new(NULL, 0, &plane, &err));
    OK(lb_plane_add_publisher(plane, S("app"), &publisher, &err));
    OK(lb_plane_start(plane, &err));
    for (int i = 0; i < WRITES; i++) {
        char id[16], address[32];
        int id_len = snprintf(id, sizeof id, "e%d", i % 100);
        int address_len = snprintf(address, sizeof address, "10.0.%d.%d:80", i / 250 % 250, i % 250);
        double begun = now_us();
        OK(lb_publisher_set(publisher, S("web"), id, (size_t)id_len, address, (size_t)address_len, 100,
                            LB_ENDPOINT_STATE_READY, &err));
        took[i] = now_us() - begun;
    }
    qsort(took, WRITES, sizeof took[0], compare);
    printf("push of one endpoint: median %.2f us, 99%% %.2f us\n", took[WRITES / 2], took[WRITES / 100 * 99]);

    long before = most_memory_kib();
    double begun = now_us();
    OK(lb_batch_new(&batch, &err));
    for (int i = 0; i < MANY; i++) {
        char service[16], id[16], address[32];
        int service_len = snprintf(service, sizeof service, "s%d", i / 100);
        int id_len = snprintf(id, sizeof id, "e%d", i);
        int address_len = snprintf(address, sizeof address, "10.%d.%d.%d:80", i >> 16, i >> 8 & 255, i & 255);
        OK(lb_batch_add_endpoint(batch, service, (size_t)service_len, id, (size_t)id_len, address,
                                 (size_t)address_len, 100, LB_ENDPOINT_STATE_READY, &err));
    }
    double filled = now_us();
    OK(lb_publisher_reset(publisher, batch, &err));
    double written = now_us();
    OK(lb_plane_reconcile(plane, LB_FOREVER, &err));
    double published = now_us();
    printf("batch of %d: filled in %.1f ms, written in %.1f ms, published after %.1f ms, %ld KiB more at most\n", MANY,
           (filled - begun) / 1e3, (written - filled) / 1e3, (published - begun) / 1e3, most_memory_kib() - before);
    lb_batch_free(batch);
    lb_publisher_free(publisher);
    lb_plane_free(plane);
    return 0;
}
