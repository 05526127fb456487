// Package lb keeps endpoints of Docker, Swarm, etcd, files and this program in HAProxy.
//
// Everything is closed by its Close, which may be called again and while other goroutines use it: they get Closed.
package lb

// #cgo LDFLAGS: -llb
// #include <stdlib.h>
// #include <lb.h>
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"sync"
	"time"
	"unsafe"
)

// State is what an endpoint can be.
type State uint32

// The states of an endpoint.
const (
	Ready    State = C.LB_ENDPOINT_STATE_READY
	Pending  State = C.LB_ENDPOINT_STATE_PENDING
	Draining State = C.LB_ENDPOINT_STATE_DRAINING
	Down     State = C.LB_ENDPOINT_STATE_DOWN
)

// Endpoint is one address of a service. Weight is 0 to 256; 0 means no new traffic.
type Endpoint struct {
	Service, ID, Address string
	Weight               uint32
	State                State
}

// Route says that requests for this host ("*": any) and path (empty: any) belong to this service.
type Route struct{ Service, Host, Path string }

// Key names an endpoint.
type Key struct{ Service, ID string }

// Service is how a service is to be served. Every batch that names it must say all of it again.
type Service struct {
	Name string
	// TCP rather than HTTP.
	TCP bool
	// Exclusive: at most one endpoint gets traffic at any moment.
	Exclusive bool
	// ShutdownOnDown: sessions to endpoints that are Down are shut down at once.
	ShutdownOnDown bool
}

// Batch is what takes effect together. Remove is for Publisher.Apply only.
type Batch struct {
	Endpoints []Endpoint
	Routes    []Route
	Remove    []Key
	Services  []Service
}

// TargetLimit as a grace is the limit that the target is configured with.
const TargetLimit time.Duration = -1

// Version is the library's version.
func Version() string { return goString(C.lb_version()) }

// GenerateConfig gives the text of a haproxy.cfg; see lb_config_generate in lb.h.
func GenerateConfig(desired string) (string, error) {
	text := newText(desired)
	defer text.free()
	var out *C.lb_text
	var cerr *C.lb_error
	if err := check(C.lb_config_generate(text.ptr, text.len, &out, &cerr), cerr); err != nil {
		return "", err
	}
	return takeText(out), nil
}

// LintConfig says as JSON what in a haproxy.cfg breaks which guarantee. Options, which may be empty, say what is known
// beside it; see lb_config_lint in lb.h.
func LintConfig(config, options string) (string, error) {
	text, known := newText(config), newText(options)
	defer text.free()
	defer known.free()
	var out *C.lb_text
	var cerr *C.lb_error
	if err := check(C.lb_config_lint(text.ptr, text.len, known.ptr, known.len, &out, &cerr), cerr); err != nil {
		return "", err
	}
	return takeText(out), nil
}

// text is a copy of a Go string that C may read.
type text struct {
	ptr *C.char
	len C.size_t
}

func newText(s string) text { return text{C.CString(s), C.size_t(len(s))} }

func (t text) free() { C.free(unsafe.Pointer(t.ptr)) }

func takeText(out *C.lb_text) string {
	defer C.lb_text_free(out)
	return goString(C.lb_text_view(out))
}

func milliseconds(what string, d time.Duration) (C.uint32_t, error) {
	ms := d.Milliseconds()
	if ms < 0 || ms >= math.MaxUint32 {
		return 0, fail(InvalidArgument, "%s is %v, expected 0 to 49 days", what, d)
	}
	return C.uint32_t(ms), nil
}

func fill(batch *C.lb_batch, content Batch) error {
	for _, e := range content.Endpoints {
		service, id, address := newText(e.Service), newText(e.ID), newText(e.Address)
		var cerr *C.lb_error
		err := check(C.lb_batch_add_endpoint(batch, service.ptr, service.len, id.ptr, id.len, address.ptr, address.len,
			C.uint32_t(e.Weight), C.uint32_t(e.State), &cerr), cerr)
		service.free()
		id.free()
		address.free()
		if err != nil {
			return err
		}
	}
	for _, r := range content.Routes {
		service, host, path := newText(r.Service), newText(r.Host), newText(r.Path)
		var cerr *C.lb_error
		err := check(C.lb_batch_add_route(batch, host.ptr, host.len, path.ptr, path.len, service.ptr, service.len,
			&cerr), cerr)
		service.free()
		host.free()
		path.free()
		if err != nil {
			return err
		}
	}
	for _, s := range content.Services {
		service := newText(s.Name)
		var cerr *C.lb_error
		err := check(C.lb_batch_add_service(batch, service.ptr, service.len, number(s.TCP), &cerr), cerr)
		if err == nil {
			err = check(C.lb_batch_set_service_options(batch, service.ptr, service.len, number(s.Exclusive),
				number(s.ShutdownOnDown), &cerr), cerr)
		}
		service.free()
		if err != nil {
			return err
		}
	}
	for _, k := range content.Remove {
		service, id := newText(k.Service), newText(k.ID)
		var cerr *C.lb_error
		err := check(C.lb_batch_remove_endpoint(batch, service.ptr, service.len, id.ptr, id.len, &cerr), cerr)
		service.free()
		id.free()
		if err != nil {
			return err
		}
	}
	return nil
}

func number(is bool) C.uint32_t {
	if is {
		return 1
	}
	return 0
}

func withBatch(content Batch, use func(*C.lb_batch) error) error {
	var batch *C.lb_batch
	var cerr *C.lb_error
	if err := check(C.lb_batch_new(&batch, &cerr), cerr); err != nil {
		return err
	}
	defer C.lb_batch_free(batch)
	if err := fill(batch, content); err != nil {
		return err
	}
	return use(batch)
}

// Plane is a control plane: sources of endpoints, and targets that are kept in step with them.
type Plane struct {
	// Held for reading during calls, for writing to free the plane.
	mu    sync.RWMutex
	plane *C.lb_plane
}

// New makes a plane out of the configuration of lb-agent, in TOML or JSON; empty for the defaults.
func New(config string) (*Plane, error) {
	text := newText(config)
	defer text.free()
	p := &Plane{}
	var cerr *C.lb_error
	if err := check(C.lb_plane_new(text.ptr, text.len, &p.plane, &cerr), cerr); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Plane) use(call func(*C.lb_plane) error) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.plane == nil {
		return fail(Closed, "the plane is closed")
	}
	return call(p.plane)
}

// Close ends the plane; goroutines that wait in it get Closed, and channels of events are closed after the last one.
// Targets go on as they are.
func (p *Plane) Close() error {
	// While it is shut down others may still be in calls, which that ends.
	if err := p.use(func(plane *C.lb_plane) error {
		var cerr *C.lb_error
		return check(C.lb_plane_shutdown(plane, &cerr), cerr)
	}); err != nil {
		if err.(*Error).Status == Closed {
			return nil
		}
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	C.lb_plane_free(p.plane)
	p.plane = nil
	return nil
}

func (p *Plane) withText(s string, call func(*C.lb_plane, text, **C.lb_error) C.lb_status) error {
	return p.use(func(plane *C.lb_plane) error {
		t := newText(s)
		defer t.free()
		var cerr *C.lb_error
		status := call(plane, t, &cerr)
		return check(status, cerr)
	})
}

// AddSource adds a source of Docker, Swarm, etcd or files, written like one of the configuration's sources.
func (p *Plane) AddSource(source string) error {
	return p.withText(source, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
		return C.lb_plane_add_source(plane, t.ptr, t.len, cerr)
	})
}

// AddTarget adds a HAProxy, written like one of the configuration's targets.
func (p *Plane) AddTarget(target string) error {
	return p.withText(target, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
		return C.lb_plane_add_target(plane, t.ptr, t.len, cerr)
	})
}

// RemoveSource ends a source and takes its endpoints away.
func (p *Plane) RemoveSource(name string) error {
	return p.withText(name, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
		return C.lb_plane_remove_source(plane, t.ptr, t.len, cerr)
	})
}

// RemoveTarget ceases to drive a target, which goes on as it is.
func (p *Plane) RemoveTarget(name string) error {
	return p.withText(name, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
		return C.lb_plane_remove_target(plane, t.ptr, t.len, cerr)
	})
}

// Start starts the plane.
func (p *Plane) Start() error {
	return p.use(func(plane *C.lb_plane) error {
		var cerr *C.lb_error
		return check(C.lb_plane_start(plane, &cerr), cerr)
	})
}

// await runs a call that waits, until its end or that of the context. In the latter case the call goes on behind it,
// at most until the context's deadline or the plane's end.
func await(ctx context.Context, call func(timeoutMS C.uint32_t) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limit := C.uint32_t(math.MaxUint32)
	if deadline, ok := ctx.Deadline(); ok {
		if ms := time.Until(deadline).Milliseconds() + 1; ms < math.MaxUint32 {
			limit = C.uint32_t(ms)
		}
	}
	done := make(chan error, 1)
	go func() { done <- call(limit) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reconcile waits until everything that was written before is in effect everywhere; Unmet when only permanent conditions
// keep something from that.
func (p *Plane) Reconcile(ctx context.Context) error {
	return await(ctx, func(ms C.uint32_t) error {
		return p.use(func(plane *C.lb_plane) error {
			var cerr *C.lb_error
			return check(C.lb_plane_reconcile(plane, ms, &cerr), cerr)
		})
	})
}

// Wait waits until a write is in effect on every target; Unmet when only permanent conditions keep it from that.
func (p *Plane) Wait(ctx context.Context, ticket Ticket) error {
	const slice = 100 * time.Millisecond
	for {
		// In slices, so that nothing is left behind when the context ends.
		err := p.withText(ticket.Source, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
			return C.lb_plane_wait(plane, t.ptr, t.len, C.uint64_t(ticket.Number), C.uint32_t(slice.Milliseconds()), cerr)
		})
		if !errors.Is(err, Timeout) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// TicketState is what became of a write: "in_effect", "generation", "lagging" and "conditions".
func (p *Plane) TicketState(ticket Ticket) (json.RawMessage, error) {
	var out *C.lb_text
	err := p.withText(ticket.Source, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
		return C.lb_plane_ticket_json(plane, t.ptr, t.len, C.uint64_t(ticket.Number), &out, cerr)
	})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(takeText(out)), nil
}

// Confirm lets removals through that are held back, of one service or (empty) all, and gives how many.
func (p *Plane) Confirm(service string) (int, error) {
	var count C.size_t
	err := p.withText(service, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
		return C.lb_plane_confirm(plane, t.ptr, t.len, &count, cerr)
	})
	return int(count), err
}

// Snapshot is the desired state.
func (p *Plane) Snapshot() (json.RawMessage, error) {
	var out *C.lb_text
	err := p.use(func(plane *C.lb_plane) error {
		var cerr *C.lb_error
		return check(C.lb_plane_snapshot_json(plane, &out, &cerr), cerr)
	})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(takeText(out)), nil
}

// Status is the state of sources and targets.
func (p *Plane) Status() (json.RawMessage, error) {
	var out *C.lb_text
	err := p.use(func(plane *C.lb_plane) error {
		var cerr *C.lb_error
		return check(C.lb_plane_status_json(plane, &out, &cerr), cerr)
	})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(takeText(out)), nil
}

// Plan is what a pass over a target would do now.
func (p *Plane) Plan(ctx context.Context, target string) (json.RawMessage, error) {
	// The call may outlive this one, so what it gives goes through a channel.
	plans := make(chan json.RawMessage, 1)
	err := await(ctx, func(ms C.uint32_t) error {
		return p.withText(target, func(plane *C.lb_plane, t text, cerr **C.lb_error) C.lb_status {
			var out *C.lb_text
			status := C.lb_plane_plan_json(plane, t.ptr, t.len, ms, &out, cerr)
			if status == C.LB_STATUS_OK {
				plans <- json.RawMessage(takeText(out))
			}
			return status
		})
	})
	if err != nil {
		return nil, err
	}
	return <-plans, nil
}
