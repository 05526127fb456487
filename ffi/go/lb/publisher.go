package lb

// #include <lb.h>
import "C"

import (
	"runtime"
	"sync"
	"time"
)

// Publisher writes to a source of a plane, without waiting. Every write can be given a place for its ticket.
type Publisher struct {
	mu        sync.RWMutex
	name      string
	publisher *C.lb_publisher
}

// Ticket is one write: see Plane.Wait and Event.Covers. Of two writes of one publisher, the later has the greater number.
type Ticket struct {
	Source string
	Number uint64
}

// Publisher adds a source that this program writes to.
func (p *Plane) Publisher(name string) (*Publisher, error) {
	w := &Publisher{name: name}
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

// write is use for what writes: the ticket is that of the thread's own write.
func (w *Publisher) write(tickets []*Ticket, call func(*C.lb_publisher, **C.lb_error) C.lb_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return w.use(func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
		status := call(p, cerr)
		if status != C.LB_STATUS_OK || len(tickets) == 0 {
			return status
		}
		var number C.uint64_t
		status = C.lb_publisher_ticket(p, &number, cerr)
		for _, ticket := range tickets {
			*ticket = Ticket{w.name, uint64(number)}
		}
		return status
	})
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
func (w *Publisher) Reset(everything Batch, ticket ...*Ticket) error {
	return withBatch(everything, func(batch *C.lb_batch) error {
		return w.write(ticket, func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
			return C.lb_publisher_reset(p, batch, cerr)
		})
	})
}

// Apply writes changes that take effect together.
func (w *Publisher) Apply(changes Batch, ticket ...*Ticket) error {
	return withBatch(changes, func(batch *C.lb_batch) error {
		return w.write(ticket, func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
			return C.lb_publisher_apply(p, batch, cerr)
		})
	})
}

// Set writes one endpoint.
func (w *Publisher) Set(e Endpoint, ticket ...*Ticket) error {
	return w.Apply(Batch{Endpoints: []Endpoint{e}}, ticket...)
}

// Remove writes that an endpoint is gone.
func (w *Publisher) Remove(service, id string, ticket ...*Ticket) error {
	return w.Apply(Batch{Remove: []Key{{service, id}}}, ticket...)
}

// Weigh writes another weight, 0 to 256.
func (w *Publisher) Weigh(service, id string, weight uint32, ticket ...*Ticket) error {
	s, i := newText(service), newText(id)
	defer s.free()
	defer i.free()
	return w.write(ticket, func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
		return C.lb_publisher_weigh(p, s.ptr, s.len, i.ptr, i.len, C.uint32_t(weight), cerr)
	})
}

// Drain writes that an endpoint is leaving, within this time or TargetLimit.
func (w *Publisher) Drain(service, id string, grace time.Duration, ticket ...*Ticket) error {
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
	return w.write(ticket, func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
		return C.lb_publisher_drain(p, s.ptr, s.len, i.ptr, i.len, ms, cerr)
	})
}

// Retire takes away everything that was written and closes the source.
func (w *Publisher) Retire() error {
	return w.use(func(p *C.lb_publisher, cerr **C.lb_error) C.lb_status {
		return C.lb_publisher_retire(p, cerr)
	})
}
