/* Callbacks between the library and Go. */
#ifndef SHIMS_H
#define SHIMS_H

#include <lb.h>

/* Adds a source whose userdata is a handle of Go, which is a number and no pointer. */
lb_status lb_go_add_callback_source(const lb_plane *plane, const char *source, size_t source_len, uint32_t interval_ms,
                                    uintptr_t handle, lb_error **err);

#endif
