"""Keeps three endpoints of the service `web` in a HAProxy that runs already, drains one of them, and prints what
happens. usage: attach.py SOCKET"""

import sys

import lb


def watch(events: lb.Events) -> None:
    for event in events:
        print(event.kind.name.lower(), event.subject, event.details)
        if event.kind is lb.EventKind.VERIFIED:
            return


with lb.Plane() as plane, plane.subscribe() as events:
    plane.add_target({"name": "edge", "socket": sys.argv[1]})
    with plane.add_publisher("program") as web:
        plane.start()
        web.reset(lb.Endpoint("web", f"web-{i}", f"127.0.0.1:900{i}") for i in range(1, 4))
        watch(events)
        web.drain("web", "web-3")
        watch(events)
