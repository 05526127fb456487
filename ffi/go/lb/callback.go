package lb

// #include "shims.h"
import "C"

import (
	"runtime/cgo"
	"time"
)

// Discover tells everything there is. With an error, what was known before stays in effect.
type Discover func() (Batch, error)

// AddCallback adds a source that is asked at this interval, one call at a time.
func (p *Plane) AddCallback(name string, interval time.Duration, discover Discover) error {
	ms, err := milliseconds("interval", interval)
	if err != nil {
		return err
	}
	return p.use(func(plane *C.lb_plane) error {
		// The library releases the handle in every case, also when this fails.
		handle := cgo.NewHandle(discover)
		text := newText(name)
		defer text.free()
		var cerr *C.lb_error
		status := C.lb_go_add_callback_source(plane, text.ptr, text.len, ms, C.uintptr_t(handle), &cerr)
		return check(status, cerr)
	})
}

//export lbGoDiscover
func lbGoDiscover(handle C.uintptr_t, everything *C.lb_batch) (status C.uint32_t) {
	// Nothing may unwind into the library.
	defer func() {
		if recover() != nil {
			status = C.LB_STATUS_PANIC
		}
	}()
	batch, err := cgo.Handle(handle).Value().(Discover)()
	if err != nil {
		return C.LB_STATUS_IO
	}
	if err := fill(everything, batch); err != nil {
		return C.LB_STATUS_INVALID_ARGUMENT
	}
	return C.LB_STATUS_OK
}

//export lbGoRelease
func lbGoRelease(handle C.uintptr_t) {
	cgo.Handle(handle).Delete()
}
