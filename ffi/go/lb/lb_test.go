package lb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err error, status Status) {
	t.Helper()
	if !errors.Is(err, status) {
		t.Fatalf("got %v, expected %v", err, status)
	}
}

func edge(t *testing.T) string {
	socket := os.Getenv("LB_TEST_SOCKET")
	if socket == "" {
		t.Fatal("LB_TEST_SOCKET is not set")
	}
	return fmt.Sprintf(`{"name": "edge", "socket": %q}`, socket)
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func plane(t *testing.T, config string) *Plane {
	p, err := New(config)
	need(t, err)
	t.Cleanup(func() { need(t, p.Close()) })
	return p
}

func endpoints(count int) (all []Endpoint) {
	for i := 0; i < count; i++ {
		all = append(all, Endpoint{"web", fmt.Sprint("web-", i), fmt.Sprint("127.0.0.1:", 9001+i), 100, Ready})
	}
	return all
}

func TestCaseE05AWriteHasATicketThatIsWaitedFor(t *testing.T) {
	p := plane(t, "")
	need(t, p.AddTarget(edge(t)))
	web, err := p.Publisher("app")
	need(t, err)
	events, err := p.Subscribe(1024)
	need(t, err)
	defer events.Close()
	need(t, p.Start())
	var first, second, kept Ticket
	need(t, web.Reset(Batch{Endpoints: endpoints(2)}, &first))
	need(t, web.Set(endpoints(1)[0], &second))
	if second.Number <= first.Number || second.Source != "app" {
		t.Fatal(first, second)
	}
	need(t, p.Wait(soon(t), second))
	need(t, p.Wait(soon(t), first))
	for event := range events.C {
		if event.Kind == InEffect && event.Covers(second) {
			break
		}
	}
	need(t, web.Set(Endpoint{"elsewhere", "x", "127.0.0.1:9009", 100, Ready}, &kept))
	is(t, p.Wait(soon(t), kept), Unmet)
	state, err := p.TicketState(kept)
	need(t, err)
	if !strings.Contains(string(state), "no_such_service") {
		t.Error(string(state))
	}
	is(t, p.Wait(soon(t), Ticket{"app", 1 << 40}), InvalidArgument)
	is(t, p.Wait(soon(t), Ticket{"nobody", 2}), NotFound)
}

func TestWhatIsPushedIsInEffectAfterReconcile(t *testing.T) {
	p := plane(t, "")
	need(t, p.AddTarget(edge(t)))
	web, err := p.Publisher("app")
	need(t, err)
	need(t, p.Start())
	need(t, web.Reset(Batch{Endpoints: endpoints(3)}))
	need(t, p.Reconcile(soon(t)))
	need(t, web.Weigh("web", "web-0", 7))
	need(t, web.Drain("web", "web-1", TargetLimit))
	need(t, web.Remove("web", "web-2"))
	need(t, p.Reconcile(soon(t)))
	snapshot, err := p.Snapshot()
	need(t, err)
	for part, expected := range map[string]bool{`"weight":7`: true, "draining": true, "web-2": false} {
		if strings.Contains(string(snapshot), part) != expected {
			t.Errorf("%s: expected %v in %s", part, expected, snapshot)
		}
	}
	plan, err := p.Plan(soon(t), "edge")
	need(t, err)
	if !strings.Contains(string(plan), "stages") {
		t.Error(string(plan))
	}
	_, err = p.Plan(soon(t), "nobody")
	is(t, err, NotFound)
	_, err = p.Confirm("")
	need(t, err)
	need(t, web.Retire())
	is(t, web.Set(endpoints(1)[0]), Closed)
	need(t, web.Close())
	need(t, web.Close())
	is(t, web.Retire(), Closed)
}

func TestWhatIsRefusedSaysWhy(t *testing.T) {
	_, err := New(`{"resync": "soon"}`)
	is(t, err, InvalidArgument)
	p := plane(t, "")
	is(t, p.Reconcile(soon(t)), WrongState)
	is(t, p.RemoveSource("nobody"), NotFound)
	is(t, p.AddTarget("\xff"), InvalidUTF8)
	web, err := p.Publisher("app")
	need(t, err)
	defer web.Close()
	_, err = p.Publisher("app")
	is(t, err, AlreadyExists)
	err = web.Set(Endpoint{Service: "web", ID: "a", Address: "localhost:80"})
	is(t, err, InvalidArgument)
	if !strings.Contains(err.Error(), "localhost") {
		t.Error(err)
	}
	_, err = p.Subscribe(0)
	is(t, err, InvalidArgument)
	need(t, p.Close())
	is(t, p.Start(), Closed)
}

func TestEventsEndWithThePlaneOrTheSubscription(t *testing.T) {
	p := plane(t, "")
	first, err := p.Subscribe(64)
	need(t, err)
	second, err := p.Subscribe(64)
	need(t, err)
	need(t, p.Start())
	_, err = p.Publisher("app")
	need(t, err)
	if event := <-first.C; event.Kind != SourceAdded || event.Subject != "app" {
		t.Error(event)
	}
	need(t, first.Close())
	need(t, first.Close())
	need(t, p.Close())
	var last Event
	for event := range second.C {
		last = event
	}
	if last.Kind != Closing || second.Dropped() != 0 {
		t.Error(last, second.Dropped())
	}
}

func TestACallbackIsAskedAndItsPanicTakesNothingAway(t *testing.T) {
	p := plane(t, "")
	events, err := p.Subscribe(1024)
	need(t, err)
	defer events.Close()
	var mu sync.Mutex
	asked := 0
	need(t, p.AddCallback("registry", 10*time.Millisecond, func() (Batch, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		switch {
		case asked > 4:
			panic("planted")
		case asked > 2:
			return Batch{}, errors.New("not now")
		}
		return Batch{Endpoints: endpoints(2)}, nil
	}))
	is(t, p.AddCallback("registry", time.Second, func() (Batch, error) { return Batch{}, nil }), AlreadyExists)
	need(t, p.Start())
	for event := range events.C {
		if event.Kind == SourceHealth && strings.Contains(string(event.JSON), "stale") {
			break
		}
	}
	snapshot, err := p.Snapshot()
	need(t, err)
	if !strings.Contains(string(snapshot), "127.0.0.1:9002") {
		t.Error(string(snapshot))
	}
	status, err := p.Status()
	need(t, err)
	if !strings.Contains(string(status), "registry") {
		t.Error(string(status))
	}
}

func TestWaitingEndsWithItsContextAndWithThePlane(t *testing.T) {
	p := plane(t, "")
	need(t, p.AddTarget(`{"name": "lost", "socket": "/nonexistent/socket"}`))
	web, err := p.Publisher("app")
	need(t, err)
	defer web.Close()
	need(t, p.Start())
	need(t, web.Reset(Batch{Endpoints: endpoints(1)}))
	ctx, cancel := context.WithCancel(context.Background())
	cancelled := make(chan error)
	go func() { cancelled <- p.Reconcile(ctx) }()
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := p.Reconcile(short); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, Timeout) {
		t.Error(err)
	}
	waiting := make(chan error)
	go func() { waiting <- p.Reconcile(context.Background()) }()
	need(t, p.Close())
	is(t, <-waiting, Closed)
}

func TestManyGoroutinesPush(t *testing.T) {
	p := plane(t, "")
	web, err := p.Publisher("app")
	need(t, err)
	defer web.Close()
	need(t, p.Start())
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for j := 0; j < 50; j++ {
				e := Endpoint{"web", fmt.Sprintf("e%d-%d", i, j), fmt.Sprintf("10.%d.%d.1:80", i, j), 1, Ready}
				if err := web.Set(e); err != nil {
					t.Error(err)
				}
			}
		}(i)
	}
	all.Wait()
	need(t, p.Reconcile(soon(t)))
	status, err := p.Status()
	need(t, err)
	if !strings.Contains(string(status), `"endpoints":400,`) {
		t.Error(string(status))
	}
}

func TestAConfigurationIsGenerated(t *testing.T) {
	text, err := GenerateConfig(`{"version": "2.6.12", "socket": "/run/admin.sock", "backends": [{"name": "web", "slots": 4}]}`)
	need(t, err)
	if !strings.Contains(text, "server-template slot 1-4") || Version() == "" {
		t.Error(text)
	}
}

func TestAConfigurationIsLinted(t *testing.T) {
	config := "global\n  stats socket /run/a.sock level user expose-fd listeners\n"
	linted, err := LintConfig(config, `{"version": "3.2.26"}`)
	if err != nil || !strings.Contains(linted, `"code":"socket-level"`) {
		t.Fatalf("%s, %v", linted, err)
	}
	if _, err := LintConfig(config, `{"version": "new"}`); err == nil {
		t.Fatal("a version that is none was taken")
	}
	if linted, err = LintConfig(config, ""); err != nil || !strings.Contains(linted, `"ok":false`) {
		t.Fatalf("%s, %v", linted, err)
	}
}
