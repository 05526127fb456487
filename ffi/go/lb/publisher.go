package lb

// #include <lb.h>
import "C"

import (
	"sync"
	"time"
)

// Publisher writes to a source of a plane, without waiting.
type Publisher struct {
	mu        sync.RWMutex
	publisher *C.lb_publisher
}

// Publisher adds a source that this program writes to.
func (p *Plane) Publisher(name string) (*Publisher, error) {
	w := &Publisher{}
	err := p.withText(name, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
		return C.lb_plane_add_publisher(plane, t.ptr, t.len, &w.publisher, cerr)
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Publisher) use(call func(*C.lb_publisher, **C.lb_error) C.lb_status) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.publisher == nil {
		return fail(Closed, "the publisher is closed")
	}
	var cerr *C.lb_error
	status := call(w.publisher, &cerr)
	return check(status, cerr)
}

// Close ends the source; what was written stays in effect.
func (w *Publisher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	C.lb_publisher_free(w.publisher)
	w.publisher = nil
	return nil
}

// Reset writes all there is: what is not listed is gone.
func (w *Publisher) Reset(everything Batch) error {
	return withBatch(everything, func(batch *C.lb_batch) error {
		return w.use(func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
			return C.lb_publisher_reset(p, batch, cerr)
		})
	})
}

// Apply writes changes that take effect together.
func (w *Publisher) Apply(changes Batch) error {
	return withBatch(changes, func(batch *C.lb_batch) error {
		return w.use(func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
			return C.lb_publisher_apply(p, batch, cerr)
		})
	})
}

// Set writes one endpoint.
func (w *Publisher) Set(e Endpoint) error {
	return w.Apply(Batch{Endpoints: []Endpoint{e}})
}

// Remove writes that an endpoint is gone.
func (w *Publisher) Remove(service, id string) error {
	return w.Apply(Batch{Remove: []Key{{service, id}}})
}

// Weigh writes another weight, 0 to 256.
func (w *Publisher) Weigh(service, id string, weight uint32) error {
	s, i := newText(service), newText(id)
	defer s.free()
	defer i.free()
	return w.use(func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
		return C.lb_publisher_weigh(p, s.ptr, s.len, i.ptr, i.len, C.uint32_t(weight), cerr)
	})
}

// Drain writes that an endpoint is leaving, within this time or TargetLimit.
func (w *Publisher) Drain(service, id string, grace time.Duration) error {
	ms := C.uint32_t(C.LB_TARGET_LIMIT)
	if grace != TargetLimit {
		var err error
		if ms, err = milliseconds("grace", grace); err != nil {
			return err
		}
	}
	s, i := newText(service), newText(id)
	defer s.free()
	defer i.free()
	return w.use(func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
		return C.lb_publisher_drain(p, s.ptr, s.len, i.ptr, i.len, ms, cerr)
	})
}

// Retire takes away everything that was written and closes the source.
func (w *Publisher) Retire() error {
	return w.use(func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
		return C.lb_publisher_retire(p, cerr)
	})
}
