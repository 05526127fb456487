// Attach keeps three endpoints of the service `web` in a HAProxy that runs already, drains one of them, and prints
// what happens. usage: attach SOCKET
package main

import (
	"fmt"
	"log"
	"os"

	"example.invalid/lb/lb"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: attach SOCKET")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(socket string) error {
	plane, err := lb.New("")
	if err != nil {
		return err
	}
	defer plane.Close()
	if err := plane.AddTarget(fmt.Sprintf(`{"name": "edge", "socket": %q}`, socket)); err != nil {
		return err
	}
	web, err := plane.Publisher("program")
	if err != nil {
		return err
	}
	defer web.Close()
	events, err := plane.Subscribe(1024)
	if err != nil {
		return err
	}
	defer events.Close()
	if err := plane.Start(); err != nil {
		return err
	}

	var all lb.Batch
	for i := 1; i <= 3; i++ {
		all.Endpoints = append(all.Endpoints, lb.Endpoint{
			Service: "web", ID: fmt.Sprint("web-", i), Address: fmt.Sprint("127.0.0.1:", 9000+i), Weight: 100,
		})
	}
	if err := web.Reset(all); err != nil {
		return err
	}
	watch(events)
	if err := web.Drain("web", "web-3", lb.TargetLimit); err != nil {
		return err
	}
	watch(events)
	return nil
}

// watch prints events until a target has verified something new.
func watch(events *lb.Subscription) {
	for event := range events.C {
		fmt.Println(string(event.JSON))
		if event.Kind == lb.Verified {
			return
		}
	}
}
