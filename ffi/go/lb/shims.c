#include "shims.h"

#include "_cgo_export.h"

static uint32_t discover(void *userdata, lb_batch *everything) {
    return lbGoDiscover((uintptr_t)userdata, everything);
}

static void release(void *userdata) {
    lbGoRelease((uintptr_t)userdata);
}

lb_status lb_go_add_callback_source(const lb_plane *plane, const char *source, size_t source_len, uint32_t interval_ms,
                                    uintptr_t handle, lb_error **err) {
    return lb_plane_add_callback_source(plane, source, source_len, interval_ms, discover, (void *)handle, release, err);
}
