package lb

// #include <lb.h>
import "C"

import (
	"encoding/json"
	"os"
	"sync"
	"syscall"
)

// EventKind is what happened.
type EventKind uint32

// What can happen.
const (
	Other            EventKind = C.LB_EVENT_KIND_OTHER
	SourceAdded      EventKind = C.LB_EVENT_KIND_SOURCE_ADDED
	SourceRemoved    EventKind = C.LB_EVENT_KIND_SOURCE_REMOVED
	SourceHealth     EventKind = C.LB_EVENT_KIND_SOURCE_HEALTH
	SourceDiagnostic EventKind = C.LB_EVENT_KIND_SOURCE_DIAGNOSTIC
	SourceOutdated   EventKind = C.LB_EVENT_KIND_SOURCE_OUTDATED
	GuardHeld        EventKind = C.LB_EVENT_KIND_GUARD_HELD
	GuardReleased    EventKind = C.LB_EVENT_KIND_GUARD_RELEASED
	Published        EventKind = C.LB_EVENT_KIND_PUBLISHED
	TargetAdded      EventKind = C.LB_EVENT_KIND_TARGET_ADDED
	TargetRemoved    EventKind = C.LB_EVENT_KIND_TARGET_REMOVED
	Verified         EventKind = C.LB_EVENT_KIND_VERIFIED
	Pass             EventKind = C.LB_EVENT_KIND_PASS
	TargetFailed     EventKind = C.LB_EVENT_KIND_TARGET_FAILED
	Closing          EventKind = C.LB_EVENT_KIND_CLOSING
	TargetNotice     EventKind = C.LB_EVENT_KIND_TARGET_NOTICE
	ConditionBegan   EventKind = C.LB_EVENT_KIND_CONDITION_BEGAN
	ConditionEnded   EventKind = C.LB_EVENT_KIND_CONDITION_ENDED
	InEffect         EventKind = C.LB_EVENT_KIND_IN_EFFECT
	KeptBack         EventKind = C.LB_EVENT_KIND_KEPT_BACK
)

// Event is something that happened; JSON is everything about it.
type Event struct {
	Kind    EventKind
	Subject string
	JSON    json.RawMessage

	after, upto uint64
}

// Covers is whether an event of kind InEffect or KeptBack is about a write.
func (e Event) Covers(ticket Ticket) bool {
	return e.Subject == ticket.Source && e.after < ticket.Number && ticket.Number <= e.upto
}

// Subscription is a channel of events, closed after the last one of the plane or by Close.
type Subscription struct {
	C <-chan Event

	file *os.File
	stop chan struct{}
	done chan struct{}
	once sync.Once
	// Written by the goroutine that reads, before it is done.
	dropped uint64
}

// Subscribe gives the events from now on. A subscriber that is slow by more than capacity events loses the oldest.
func (p *Plane) Subscribe(capacity int) (*Subscription, error) {
	if capacity < 0 {
		return nil, fail(InvalidArgument, "capacity is %d, expected 1 to 1048576", capacity)
	}
	var events *C.lb_events
	err := p.use(func(plane *C.lb_plane) error {
		var cerr *C.lb_error
		return check(C.lb_plane_subscribe(plane, C.size_t(capacity), &events, &cerr), cerr)
	})
	if err != nil {
		return nil, err
	}
	// A descriptor of our own, for Go's poller: no thread is blocked while there is no event.
	fd, err := syscall.Dup(int(C.lb_events_fd(events)))
	if err != nil {
		C.lb_events_free(events)
		return nil, err
	}
	syscall.CloseOnExec(fd)
	channel := make(chan Event)
	s := &Subscription{
		C:    channel,
		file: os.NewFile(uintptr(fd), "lb-events"),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	go s.read(events, channel)
	return s, nil
}

func (s *Subscription) read(events *C.lb_events, channel chan<- Event) {
	defer close(s.done)
	defer close(channel)
	defer C.lb_events_free(events)
	defer func() { s.dropped = uint64(C.lb_events_dropped(events)) }()
	raw, err := s.file.SyscallConn()
	if err != nil {
		return
	}
	for {
		var event *C.lb_event
		var status C.lb_status
		// Asks, and asks again whenever the descriptor becomes readable.
		err := raw.Read(func(uintptr) bool {
			status = C.lb_events_next(events, 0, &event, nil)
			return status != C.LB_STATUS_TIMEOUT
		})
		if err != nil || status != C.LB_STATUS_OK {
			return
		}
		next := Event{
			Kind:    EventKind(C.lb_event_kind_of(event)),
			Subject: goString(C.lb_event_subject(event)),
			JSON:    json.RawMessage(goString(C.lb_event_json(event))),
		}
		if next.Kind == InEffect || next.Kind == KeptBack {
			var about struct {
				After uint64 `json:"after"`
			}
			if json.Unmarshal(next.JSON, &about) == nil {
				next.after, next.upto = about.After, uint64(C.lb_event_ticket(event))
			}
		}
		C.lb_event_free(event)
		select {
		case channel <- next:
		case <-s.stop:
			return
		}
	}
}

// Close ends the subscription and its channel.
func (s *Subscription) Close() error {
	s.once.Do(func() {
		close(s.stop)
		s.file.Close()
	})
	<-s.done
	return nil
}

// Dropped is how many events were lost, known after Close or the end of the channel.
func (s *Subscription) Dropped() uint64 {
	<-s.done
	return s.dropped
}
