"""The package against a real HAProxy. Reads its socket from LB_TEST_SOCKET."""

import gc
import os
import resource
import selectors
import threading
import unittest

import lb

SOCKET = os.environ["LB_TEST_SOCKET"]
EDGE = {"name": "edge", "socket": SOCKET}
LIMIT = 60


def endpoints(count):
    return [lb.Endpoint("web", f"web-{i}", f"127.0.0.1:{9001 + i}") for i in range(count)]


class Contract(unittest.TestCase):
    def test_pushed_endpoints_are_in_effect_after_reconcile(self):
        with lb.Plane() as plane:
            plane.add_target(EDGE)
            with plane.add_publisher("app") as app:
                plane.start()
                app.reset(endpoints(3))
                plane.reconcile(LIMIT)
                app.weigh("web", "web-0", 7)
                app.drain("web", "web-1", 30)
                app.remove("web", "web-2")
                plane.reconcile(LIMIT)
                web = plane.snapshot()["services"]["web"]["endpoints"]
                self.assertEqual(web["web-0"]["weight"], 7)
                self.assertIn("draining", web["web-1"]["state"])
                self.assertNotIn("web-2", web)
                self.assertIn("stages", plane.plan("edge", LIMIT))
                self.assertEqual(plane.status()["targets"][0]["name"], "edge")
                self.assertEqual(plane.confirm(), 0)
                app.apply(lb.Batch(endpoints(1), [lb.Route("web", "shop.example")], [("web", "web-1")]))
                app.retire()
                with self.assertRaises(lb.Closed):
                    app.set(endpoints(1)[0])

    def test_case_e05_a_write_has_a_ticket_that_is_waited_for(self):
        with lb.Plane() as plane, plane.subscribe() as events:
            plane.add_target(EDGE)
            with plane.add_publisher("app") as app:
                plane.start()
                first = app.reset(endpoints(2))
                second = app.set(endpoints(1)[0])
                self.assertLess(first.number, second.number)
                plane.wait(second, LIMIT)
                plane.wait(first, LIMIT)
                self.assertTrue(plane.ticket_state(first)["in_effect"])
                while not (event := events.next(LIMIT)).covers(second):
                    pass
                self.assertEqual(event.kind, lb.EventKind.IN_EFFECT)
                kept = app.set(lb.Endpoint("elsewhere", "x", "127.0.0.1:9009"))
                with self.assertRaisesRegex(lb.Unmet, "elsewhere"):
                    plane.wait(kept, LIMIT)
                with self.assertRaises(lb.InvalidArgument):
                    plane.wait(lb.Ticket("app", 1 << 40), LIMIT)
                with self.assertRaises(lb.InvalidArgument):
                    app.set(lb.Endpoint("web", "a", "0.0.0.0:80"))

    def test_what_is_refused_raises_and_says_why(self):
        with self.assertRaisesRegex(lb.InvalidArgument, "resync"):
            lb.Plane({"resync": "soon"})
        with lb.Plane() as plane:
            with self.assertRaises(lb.WrongState):
                plane.reconcile(1)
            plane.add_target(EDGE)
            with self.assertRaisesRegex(lb.AlreadyExists, "edge"):
                plane.add_target(EDGE)
            with self.assertRaises(lb.NotFound):
                plane.remove_source("nobody")
            with plane.add_publisher("app") as app:
                with self.assertRaisesRegex(lb.InvalidArgument, "localhost"):
                    app.set(lb.Endpoint("web", "a", "localhost:80"))
                with self.assertRaises(lb.InvalidArgument):
                    app.set(lb.Endpoint("web", "a", "127.0.0.1:80", weight=-1))
                with self.assertRaises(lb.InvalidArgument):
                    app.set(lb.Endpoint("web", "\x00", "127.0.0.1:80"))
        with self.assertRaises(lb.Closed):
            plane.start()
        plane.close()

    def test_events_wake_a_selector_and_end_with_the_plane(self):
        with lb.Plane() as plane, plane.subscribe() as events:
            with self.assertRaises(lb.Timeout):
                events.next(0)
            plane.add_publisher("app").close()
            with selectors.DefaultSelector() as selector:
                selector.register(events, selectors.EVENT_READ)
                plane.start()
                self.assertTrue(selector.select(LIMIT))
            seen = []
            waiter = threading.Thread(target=lambda: seen.extend(events))
            waiter.start()
            plane.shutdown()
            waiter.join(LIMIT)
            self.assertFalse(waiter.is_alive())
            self.assertEqual(seen[-1].kind, lb.EventKind.CLOSING)
            self.assertEqual(events.dropped, 0)

    def test_a_callback_is_asked_and_let_go(self):
        answers = [endpoints(2)]

        def discover():
            return answers[0]

        with lb.Plane("[guard.overall]\nenabled = false") as plane, plane.subscribe() as events:
            plane.add_callback("registry", 0.01, discover)
            with self.assertRaises(lb.AlreadyExists):
                plane.add_callback("registry", 1, discover)
            plane.start()
            while "web" not in plane.snapshot()["services"]:
                events.next(LIMIT)
            # An exception takes nothing away, and is seen.
            answers.clear()
            while True:
                event = events.next(LIMIT)
                if event.kind is lb.EventKind.SOURCE_HEALTH and event.details["health"]["state"] == "stale":
                    break
            self.assertEqual(len(plane.snapshot()["services"]["web"]["endpoints"]), 2)
        self.assertEqual(lb._callbacks, {})

    def test_the_driver_alone(self):
        with lb.Slots(EDGE, "web") as slots:
            self.assertIn("stages", slots.plan(endpoints(2), LIMIT))
            self.assertTrue(slots.apply(endpoints(2), LIMIT)["converged"])

    def test_a_configuration_is_linted(self):
        text = "global\n  stats socket /run/a.sock level user expose-fd listeners\n"
        linted = lb.lint_config(text, {"version": "3.2.26", "name": "my.cfg"})
        self.assertFalse(linted["ok"])
        codes = [finding["code"] for finding in linted["findings"]]
        self.assertIn("socket-level", codes)
        self.assertEqual(linted["findings"][0]["file"], "my.cfg")
        with self.assertRaises(lb.InvalidArgument):
            lb.lint_config(text, {"version": "new"})
        self.assertIn("findings", lb.lint_config(text))

    def test_a_configuration_is_generated(self):
        text = lb.generate_config(
            {"version": "2.6.12", "socket": "/run/admin.sock", "backends": [{"name": "web", "slots": 4}]}
        )
        self.assertIn("server-template slot 1-4", text)

    def test_ten_thousand_cycles_leak_nothing(self):
        def cycle():
            plane = lb.Plane()
            app, events = plane.add_publisher("app"), plane.subscribe(8)
            app.reset(endpoints(3))
            app.drain("web", "web-0")
            try:
                app.weigh("web", "web-0", 300)
            except lb.InvalidArgument:
                pass
            events.close(), app.close(), plane.close()

        def used():
            gc.collect()
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()

        for _ in range(2000):
            cycle()
        before, descriptors = used(), len(os.listdir("/proc/self/fd"))
        for _ in range(10000):
            cycle()
        # One leaked object of 64 bytes a cycle would be 640 kB.
        self.assertLess(used() - before, 400_000)
        self.assertEqual(len(os.listdir("/proc/self/fd")), descriptors)

    def test_planes_that_ran_leave_no_thread_and_no_descriptor(self):
        def cycle():
            with lb.Plane() as plane, plane.add_publisher("app") as app:
                plane.start()
                app.set(endpoints(1)[0])

        cycle()
        threads, descriptors = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            cycle()
        self.assertEqual(len(os.listdir("/proc/self/task")), threads)
        self.assertEqual(len(os.listdir("/proc/self/fd")), descriptors)


if __name__ == "__main__":
    unittest.main()
