"""The lb control plane: endpoints of Docker, Swarm, etcd, files and this program, kept in HAProxy.

Everything is released by ``with`` or ``close()``. What fails raises a subclass of :class:`Error`. Objects but
:class:`Slots` may be used from several threads; waiting releases the interpreter.
"""

from __future__ import annotations

import ctypes
import enum
import json
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Optional, Union

__all__ = [
    "AlreadyExists", "Batch", "Closed", "Endpoint", "Error", "Event", "EventKind", "Events", "InvalidArgument",
    "NotFound", "Plane", "Publisher", "Refused", "Route", "Service", "Slots", "State", "Ticket", "Timeout", "Unmet",
    "Unreachable",
    "WouldDeadlock", "WrongState", "generate_config", "version",
]

ABI_VERSION = 1
_FOREVER = 0xFFFFFFFF


class Error(Exception):
    """Something failed; ``status`` is the number of its kind."""

    status = -1


class InvalidArgument(Error, ValueError):
    """A value cannot be what it is; the text says which and what was expected."""


class AlreadyExists(Error):
    """A source or target of that name is there already."""


class NotFound(Error, LookupError):
    """There is no source or target of that name."""


class Timeout(Error, TimeoutError):
    """The time is over."""


class Closed(Error):
    """The plane, the source or this object was closed."""


class WouldDeadlock(Error):
    """It would wait for the very callback that called it."""


class Unreachable(Error, OSError):
    """A file or socket failed."""


class Refused(Error):
    """HAProxy refused."""


class Unmet(Error):
    """All is in effect but for what only permanent conditions keep from it."""


class WrongState(Error):
    """The plane was not started yet, or is started already."""


_ERRORS: dict[int, type[Error]] = {
    1: InvalidArgument, 2: InvalidArgument, 3: InvalidArgument, 4: AlreadyExists, 5: NotFound, 6: Timeout, 7: Closed,
    8: WouldDeadlock, 9: Unreachable, 10: Refused, 12: Unmet, 13: WrongState,
}


class State(enum.IntEnum):
    """What an endpoint can be."""

    READY = 0
    PENDING = 1
    DRAINING = 2
    DOWN = 3


class EventKind(enum.IntEnum):
    """What happened."""

    OTHER = 0
    SOURCE_ADDED = 1
    SOURCE_REMOVED = 2
    SOURCE_HEALTH = 3
    SOURCE_DIAGNOSTIC = 4
    SOURCE_OUTDATED = 5
    GUARD_HELD = 6
    GUARD_RELEASED = 7
    PUBLISHED = 8
    TARGET_ADDED = 9
    TARGET_REMOVED = 10
    VERIFIED = 11
    PASS = 12
    TARGET_FAILED = 13
    CLOSING = 14
    TARGET_NOTICE = 15
    CONDITION_BEGAN = 16
    CONDITION_ENDED = 17
    IN_EFFECT = 18
    KEPT_BACK = 19


@dataclass(frozen=True)
class Endpoint:
    """One address of a service."""

    service: str
    id: str
    address: str
    weight: int = 100
    state: State = State.READY


@dataclass(frozen=True)
class Route:
    """Requests for this host ("*": any) and path (empty: any) belong to this service."""

    service: str
    host: str
    path: str = ""


@dataclass(frozen=True)
class Service:
    """How a service is to be served. Every batch that names it must say all of it again."""

    name: str
    tcp: bool = False
    exclusive: bool = False
    shutdown_on_down: bool = False


@dataclass(frozen=True)
class Batch:
    """What takes effect together."""

    endpoints: Iterable[Endpoint] = ()
    routes: Iterable[Route] = ()
    remove: Iterable[tuple[str, str]] = ()
    services: Iterable[Service] = ()


@dataclass(frozen=True)
class Ticket:
    """One write: see :meth:`Plane.wait`. Of two writes of one publisher, the later has the greater number."""

    source: str
    number: int


@dataclass(frozen=True)
class Event:
    """Something that happened; ``details`` is everything about it."""

    kind: EventKind
    subject: str
    details: dict[str, Any] = field(hash=False)

    def covers(self, ticket: Ticket) -> bool:
        """Whether an event of kind IN_EFFECT or KEPT_BACK is about this write."""
        if self.kind not in (EventKind.IN_EFFECT, EventKind.KEPT_BACK) or self.subject != ticket.source:
            return False
        return bool(self.details["after"] < ticket.number <= self.details["ticket"]["revision"])


class _Str(ctypes.Structure):
    _fields_ = [("ptr", ctypes.c_void_p), ("len", ctypes.c_size_t)]

    def text(self) -> str:
        return ctypes.string_at(self.ptr, self.len).decode()


_P = ctypes.c_void_p
_OUT = ctypes.POINTER(_P)
_TEXT = [ctypes.c_char_p, ctypes.c_size_t]
_U32 = ctypes.c_uint32
_DISCOVER = ctypes.CFUNCTYPE(_U32, _P, _P)
_RELEASE = ctypes.CFUNCTYPE(None, _P)

_lib = ctypes.CDLL(f"liblb.so.{ABI_VERSION}")


def _declare(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_lib, name)
    function.restype = result
    function.argtypes = [part for item in arguments for part in (item if isinstance(item, list) else [item])]
    return function


_declare("lb_abi_version", _U32)
_declare("lb_version", _Str)
_declare("lb_error_message", _Str, _P)
_declare("lb_text_view", _Str, _P)
_declare("lb_event_kind_of", _U32, _P)
_declare("lb_event_subject", _Str, _P)
_declare("lb_event_json", _Str, _P)
_declare("lb_events_fd", ctypes.c_int, _P)
_declare("lb_events_dropped", ctypes.c_uint64, _P)
for _name in ("error", "text", "event", "batch", "publisher", "events", "plane", "slots"):
    _declare(f"lb_{_name}_free", None, _P)
for _name, _arguments in {
    "lb_batch_new": [_OUT],
    "lb_batch_add_endpoint": [_P, _TEXT, _TEXT, _TEXT, _U32, _U32],
    "lb_batch_add_route": [_P, _TEXT, _TEXT, _TEXT],
    "lb_batch_remove_endpoint": [_P, _TEXT, _TEXT],
    "lb_batch_add_service": [_P, _TEXT, _U32],
    "lb_batch_set_service_options": [_P, _TEXT, _U32, _U32],
    "lb_plane_new": [_TEXT, _OUT],
    "lb_plane_add_source": [_P, _TEXT],
    "lb_plane_add_target": [_P, _TEXT],
    "lb_plane_add_publisher": [_P, _TEXT, _OUT],
    "lb_plane_add_callback_source": [_P, _TEXT, _U32, _DISCOVER, _P, _RELEASE],
    "lb_plane_remove_source": [_P, _TEXT],
    "lb_plane_remove_target": [_P, _TEXT],
    "lb_plane_start": [_P],
    "lb_plane_shutdown": [_P],
    "lb_plane_subscribe": [_P, ctypes.c_size_t, _OUT],
    "lb_plane_reconcile": [_P, _U32],
    "lb_plane_confirm": [_P, _TEXT, ctypes.POINTER(ctypes.c_size_t)],
    "lb_plane_snapshot_json": [_P, _OUT],
    "lb_plane_status_json": [_P, _OUT],
    "lb_plane_plan_json": [_P, _TEXT, _U32, _OUT],
    "lb_events_next": [_P, _U32, _OUT],
    "lb_publisher_reset": [_P, _P],
    "lb_publisher_apply": [_P, _P],
    "lb_publisher_set": [_P, _TEXT, _TEXT, _TEXT, _U32, _U32],
    "lb_publisher_weigh": [_P, _TEXT, _TEXT, _U32],
    "lb_publisher_drain": [_P, _TEXT, _TEXT, _U32],
    "lb_publisher_remove": [_P, _TEXT, _TEXT],
    "lb_publisher_retire": [_P],
    "lb_publisher_ticket": [_P, ctypes.POINTER(ctypes.c_uint64)],
    "lb_plane_wait": [_P, _TEXT, ctypes.c_uint64, _U32],
    "lb_plane_ticket_json": [_P, _TEXT, ctypes.c_uint64, _OUT],
    "lb_slots_new": [_TEXT, _TEXT, _OUT],
    "lb_slots_plan": [_P, _P, _U32, _OUT],
    "lb_slots_apply": [_P, _P, _U32, _OUT],
    "lb_config_generate": [_TEXT, _OUT],
    "lb_config_lint": [_TEXT, _TEXT, _OUT],
}.items():
    _declare(_name, _U32, *_arguments, _OUT)

if _lib.lb_abi_version() != ABI_VERSION:
    raise ImportError(f"liblb has interface {_lib.lb_abi_version()}, expected {ABI_VERSION}")


def version() -> str:
    """The library's version."""
    return _lib.lb_version().text()


def _call(name: str, *arguments: Any) -> None:
    flat: list[Any] = []
    for argument in arguments:
        if isinstance(argument, str):
            data = argument.encode()
            flat += [data, len(data)]
        else:
            flat.append(argument)
    err = _P()
    status = getattr(_lib, name)(*flat, ctypes.byref(err))
    if status != 0:
        message = _lib.lb_error_message(err).text()
        _lib.lb_error_free(err)
        error = _ERRORS.get(status, Error)(message)
        error.status = status
        raise error


def _text_of(name: str, *arguments: Any) -> str:
    out = _P()
    _call(name, *arguments, ctypes.byref(out))
    try:
        return _lib.lb_text_view(out).text()
    finally:
        _lib.lb_text_free(out)


def _config(value: Union[str, dict[str, Any]]) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _ms(seconds: Optional[float]) -> int:
    if seconds is None:
        return _FOREVER
    if seconds < 0:
        raise InvalidArgument(f"timeout is {seconds}, expected 0 or more")
    return min(int(seconds * 1000), _FOREVER - 1)


def _u32(what: str, number: int) -> int:
    if not 0 <= number <= _FOREVER:
        raise InvalidArgument(f"{what} is {number}, expected 0 to {_FOREVER}")
    return number


def generate_config(desired: Union[str, dict[str, Any]]) -> str:
    """The text of a haproxy.cfg; see lb_config_generate in lb.h."""
    return _text_of("lb_config_generate", _config(desired))


def lint_config(config: str, options: Union[str, dict[str, Any], None] = None) -> dict[str, Any]:
    """What in a haproxy.cfg breaks which guarantee: {"ok": …, "findings": […]}; see lb_config_lint in lb.h."""
    return json.loads(_text_of("lb_config_lint", config, _config(options or "")))


class _Object:
    """Something of the library that is freed once."""

    _kind = ""

    def __init__(self, pointer: _P) -> None:
        self._pointer: Optional[_P] = pointer
        self._finalizer = weakref.finalize(self, getattr(_lib, f"lb_{self._kind}_free"), pointer)

    @property
    def _p(self) -> _P:
        if self._pointer is None:
            raise Closed(f"this {type(self).__name__} is closed")
        return self._pointer

    def close(self) -> None:
        """Frees it; nobody else may be using it. May be called again."""
        self._pointer = None
        self._finalizer()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Filled:
    """A batch of the library while it is needed."""

    def __init__(self, batch: Union[Batch, Iterable[Endpoint]]) -> None:
        self._batch = batch if isinstance(batch, Batch) else Batch(endpoints=batch)

    def __enter__(self) -> _P:
        self._pointer = _P()
        _call("lb_batch_new", ctypes.byref(self._pointer))
        try:
            _fill(self._pointer, self._batch)
        except BaseException:
            _lib.lb_batch_free(self._pointer)
            raise
        return self._pointer

    def __exit__(self, *_: object) -> None:
        _lib.lb_batch_free(self._pointer)


def _fill(pointer: Any, batch: Batch) -> None:
    for e in batch.endpoints:
        weight, state = _u32("weight", e.weight), _u32("state", e.state)
        _call("lb_batch_add_endpoint", pointer, e.service, e.id, e.address, weight, state)
    for route in batch.routes:
        _call("lb_batch_add_route", pointer, route.host, route.path, route.service)
    for known in batch.services:
        _call("lb_batch_add_service", pointer, known.name, int(known.tcp))
        _call("lb_batch_set_service_options", pointer, known.name, int(known.exclusive), int(known.shutdown_on_down))
    for service, id in batch.remove:
        _call("lb_batch_remove_endpoint", pointer, service, id)


class Publisher(_Object):
    """Writes to a source of a plane, without waiting. Closing it leaves in effect what was written."""

    _kind = "publisher"

    def __init__(self, pointer: _P, name: str) -> None:
        super().__init__(pointer)
        self._name = name

    def _write(self, function: str, *arguments: Any) -> Ticket:
        _call(function, self._p, *arguments)
        # That of this thread's own write.
        number = ctypes.c_uint64()
        _call("lb_publisher_ticket", self._p, ctypes.byref(number))
        return Ticket(self._name, number.value)

    def reset(self, everything: Union[Batch, Iterable[Endpoint]]) -> Ticket:
        """Writes all there is: what is not listed is gone."""
        with _Filled(everything) as batch:
            return self._write("lb_publisher_reset", batch)

    def apply(self, changes: Union[Batch, Iterable[Endpoint]]) -> Ticket:
        """Writes changes that take effect together."""
        with _Filled(changes) as batch:
            return self._write("lb_publisher_apply", batch)

    def set(self, e: Endpoint) -> Ticket:
        """Writes one endpoint."""
        weight, state = _u32("weight", e.weight), _u32("state", e.state)
        return self._write("lb_publisher_set", e.service, e.id, e.address, weight, state)

    def weigh(self, service: str, id: str, weight: int) -> Ticket:
        """Writes another weight, 0 to 256."""
        return self._write("lb_publisher_weigh", service, id, _u32("weight", weight))

    def drain(self, service: str, id: str, grace: Optional[float] = None) -> Ticket:
        """Writes that an endpoint is leaving, within ``grace`` seconds or the target's own limit."""
        return self._write("lb_publisher_drain", service, id, _ms(grace))

    def remove(self, service: str, id: str) -> Ticket:
        """Writes that an endpoint is gone."""
        return self._write("lb_publisher_remove", service, id)

    def retire(self) -> None:
        """Takes away everything that was written and closes the source."""
        _call("lb_publisher_retire", self._p)


class Events(_Object):
    """Events of a plane, as an iterator that ends with the plane. It has ``fileno()`` for selectors and asyncio."""

    _kind = "events"

    def next(self, timeout: Optional[float] = None) -> Event:
        """The next event; raises :class:`Timeout`, or :class:`Closed` after the last one."""
        out = _P()
        _call("lb_events_next", self._p, _ms(timeout), ctypes.byref(out))
        try:
            number = _lib.lb_event_kind_of(out)
            kind = EventKind(number) if number in EventKind._value2member_map_ else EventKind.OTHER
            return Event(kind, _lib.lb_event_subject(out).text(), json.loads(_lib.lb_event_json(out).text()))
        finally:
            _lib.lb_event_free(out)

    def fileno(self) -> int:
        """Readable while ``next(0)`` has something to say."""
        return _lib.lb_events_fd(self._p)

    @property
    def dropped(self) -> int:
        """How many events were lost because they were not fetched in time."""
        return _lib.lb_events_dropped(self._p)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return self.next()
        except Closed:
            raise StopIteration from None


# Callbacks that the library may still call, by the number that it is given for them.
_callbacks: dict[int, Callable[[], Union[Batch, Iterable[Endpoint]]]] = {}
_next_callback = iter(range(1, 1 << 62))


@_DISCOVER
def _discover(userdata: int, everything: int) -> int:
    try:
        found = _callbacks[userdata]()
        _fill(everything, found if isinstance(found, Batch) else Batch(endpoints=found))
        return 0
    except Error as error:
        return error.status if error.status > 0 else 3
    except BaseException:
        # What was known stays in effect; the plane's status says that the callback failed.
        return 9


@_RELEASE
def _release(userdata: int) -> None:
    _callbacks.pop(userdata, None)


class Plane(_Object):
    """A control plane. ``config`` is that of lb-agent, as a dict or a text in TOML or JSON."""

    _kind = "plane"

    def __init__(self, config: Union[str, dict[str, Any]] = "") -> None:
        out = _P()
        _call("lb_plane_new", _config(config), ctypes.byref(out))
        super().__init__(out)

    def add_source(self, source: Union[str, dict[str, Any]]) -> None:
        """Adds a source of Docker, Swarm, etcd or files."""
        _call("lb_plane_add_source", self._p, _config(source))

    def add_target(self, target: Union[str, dict[str, Any]]) -> None:
        """Adds a HAProxy, with at least ``name`` and ``socket``."""
        _call("lb_plane_add_target", self._p, _config(target))

    def add_publisher(self, name: str) -> Publisher:
        """Adds a source that this program writes to."""
        out = _P()
        _call("lb_plane_add_publisher", self._p, name, ctypes.byref(out))
        return Publisher(out, name)

    def add_callback(
        self, name: str, interval: float, discover: Callable[[], Union[Batch, Iterable[Endpoint]]]
    ) -> None:
        """Adds a source that is asked every ``interval`` seconds. When it raises, what was known stays in effect."""
        number = next(_next_callback)
        _callbacks[number] = discover
        _call("lb_plane_add_callback_source", self._p, name, _ms(interval), _discover, number, _release)

    def remove_source(self, name: str) -> None:
        """Ends a source and takes its endpoints away."""
        _call("lb_plane_remove_source", self._p, name)

    def remove_target(self, name: str) -> None:
        """Ceases to drive a target, which goes on as it is."""
        _call("lb_plane_remove_target", self._p, name)

    def start(self) -> None:
        """Starts the plane's threads."""
        _call("lb_plane_start", self._p)

    def shutdown(self) -> None:
        """Ends the plane and wakes everyone who waits in it. Targets go on as they are."""
        _call("lb_plane_shutdown", self._p)

    def subscribe(self, capacity: int = 1024) -> Events:
        """The events from now on."""
        out = _P()
        _call("lb_plane_subscribe", self._p, _u32("capacity", capacity), ctypes.byref(out))
        return Events(out)

    def reconcile(self, timeout: Optional[float] = None) -> None:
        """Waits until every write before is in effect everywhere; raises :class:`Timeout` or :class:`Unmet`."""
        _call("lb_plane_reconcile", self._p, _ms(timeout))

    def wait(self, ticket: Ticket, timeout: Optional[float] = None) -> None:
        """Waits until a write is in effect on every target; raises :class:`Timeout` or :class:`Unmet`."""
        _call("lb_plane_wait", self._p, ticket.source, ticket.number, _ms(timeout))

    def ticket_state(self, ticket: Ticket) -> dict[str, Any]:
        """What became of a write: ``in_effect``, ``generation``, ``lagging`` and ``conditions``."""
        return json.loads(_text_of("lb_plane_ticket_json", self._p, ticket.source, ticket.number))

    def confirm(self, service: str = "") -> int:
        """Lets removals through that are held back, of one service or all; gives how many."""
        count = ctypes.c_size_t()
        _call("lb_plane_confirm", self._p, service, ctypes.byref(count))
        return count.value

    def snapshot(self) -> dict[str, Any]:
        """The desired state."""
        return json.loads(_text_of("lb_plane_snapshot_json", self._p))

    def status(self) -> dict[str, Any]:
        """The state of sources and targets."""
        return json.loads(_text_of("lb_plane_status_json", self._p))

    def plan(self, target: str, timeout: Optional[float] = None) -> dict[str, Any]:
        """What a pass over a target would do now."""
        return json.loads(_text_of("lb_plane_plan_json", self._p, target, _ms(timeout)))


class Slots(_Object):
    """The driver alone: the endpoints of one backend, when this program says so. For one thread at a time."""

    _kind = "slots"

    def __init__(self, target: Union[str, dict[str, Any]], service: str) -> None:
        out = _P()
        _call("lb_slots_new", _config(target), service, ctypes.byref(out))
        super().__init__(out)

    def plan(self, wanted: Union[Batch, Iterable[Endpoint]], timeout: Optional[float] = None) -> dict[str, Any]:
        """What :meth:`apply` would do."""
        with _Filled(wanted) as batch:
            return json.loads(_text_of("lb_slots_plan", self._p, batch, _ms(timeout)))

    def apply(self, wanted: Union[Batch, Iterable[Endpoint]], timeout: Optional[float] = None) -> dict[str, Any]:
        """Brings the backend to these endpoints, as far as that is possible now."""
        with _Filled(wanted) as batch:
            return json.loads(_text_of("lb_slots_apply", self._p, batch, _ms(timeout)))
