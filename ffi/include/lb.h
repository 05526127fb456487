/*
 * lb: endpoints of Docker, Swarm, etcd, files and programs, kept in HAProxy through its runtime socket.
 *
 * Ownership
 *   What a function hands out through `out` is the caller's. Every type has one function that frees it; NULL is
 *   fine there. No function takes an argument over. Texts go in as pointer and length (UTF-8, need not end in
 *   NUL, are copied; NULL with length 0 is the empty text). An `lb_str` that comes out is borrowed: it lives as
 *   long as the object it came from, and is not NUL-terminated.
 *
 * Errors
 *   What can fail returns an `lb_status`. Only with LB_STATUS_OK has anything been changed or written to an
 *   output. Otherwise, unless `err` is NULL, `*err` gets an `lb_error` that the caller frees; with LB_STATUS_OK
 *   `*err` is left alone. Functions of every object may give, besides what they say themselves:
 *   LB_STATUS_NULL_ARGUMENT, LB_STATUS_INVALID_UTF8, LB_STATUS_INVALID_ARGUMENT; LB_STATUS_PANIC when the library
 *   has a bug, and from then on for that object, which can only be freed; LB_STATUS_FORKED in a child process.
 *
 * Threads
 *   An object passed as `const T *` may be used by any number of threads at once; one passed as `T *` by one at a
 *   time. Freeing an object needs that nobody else uses it. A plane has threads of its own from lb_plane_start to
 *   lb_plane_shutdown, in which every signal is blocked; the library installs no signal handler, and no function
 *   of it may be called in one. Four of them do the work, at most 64 wait for files, and each source that is asked by
 *   a callback has one; beyond that, what waits for a file waits for a thread.
 *
 * Fork
 *   The threads do not exist in a child process. There, objects of the parent answer LB_STATUS_FORKED and freeing
 *   them does nothing; a child makes its own, or calls exec. To become a daemon, fork before lb_plane_start.
 *
 * Callbacks
 *   They must return: no exception, no longjmp, no pthread_exit. `release` is called exactly once, when `userdata`
 *   is used no more, in every case: also when the function that was given it fails, and then before it returns.
 *
 * There is no state beyond these objects, but for the log: see lb_set_logger.
 */

#ifndef LB_H
#define LB_H

/* Written by cbindgen from the sources: BLESS=1 cargo test -p lb-ffi --test capi header */

#include <stddef.h>
#include <stdint.h>

/* The binary interface that this header describes; lb_abi_version() is that of the library. */
#define LB_ABI_VERSION 1

/* As a timeout: wait as long as it takes. */
#define LB_FOREVER UINT32_MAX

/* As a grace: the limit that the target is configured with. */
#define LB_TARGET_LIMIT UINT32_MAX

/**
 * The outcome of a call. Numbers are never changed, only added.
 */
typedef enum {
    /**
     * It did what it says.
     */
    LB_STATUS_OK = 0,
    /**
     * A pointer is NULL that must not be.
     */
    LB_STATUS_NULL_ARGUMENT = 1,
    /**
     * A text is not UTF-8.
     */
    LB_STATUS_INVALID_UTF8 = 2,
    /**
     * An argument cannot be what it is; the error says which and what was expected.
     */
    LB_STATUS_INVALID_ARGUMENT = 3,
    /**
     * Something of that name is there already.
     */
    LB_STATUS_ALREADY_EXISTS = 4,
    /**
     * Nothing of that name is there.
     */
    LB_STATUS_NOT_FOUND = 5,
    /**
     * The time is over.
     */
    LB_STATUS_TIMEOUT = 6,
    /**
     * The plane or the publisher was shut down.
     */
    LB_STATUS_CLOSED = 7,
    /**
     * It must not be called in a callback: it would wait for that callback.
     */
    LB_STATUS_WOULD_DEADLOCK = 8,
    /**
     * A file or socket failed.
     */
    LB_STATUS_IO = 9,
    /**
     * HAProxy refused.
     */
    LB_STATUS_REFUSED = 10,
    /**
     * A bug in the library, which it contained: the object can only be freed.
     */
    LB_STATUS_PANIC = 11,
    /**
     * HAProxy is reached and in step, but for a desired state that it cannot meet at run time.
     */
    LB_STATUS_UNMET = 12,
    /**
     * The plane was not started yet, or is started already.
     */
    LB_STATUS_WRONG_STATE = 13,
    /**
     * The object is the parent process's.
     */
    LB_STATUS_FORKED = 14,
} lb_status;

/**
 * The kind of an event. lb_event_json has the details.
 */
typedef enum {
    /**
     * Something that this header does not know yet.
     */
    LB_EVENT_KIND_OTHER = 0,
    /**
     * A source was added.
     */
    LB_EVENT_KIND_SOURCE_ADDED = 1,
    /**
     * A source was taken away, with its endpoints.
     */
    LB_EVENT_KIND_SOURCE_REMOVED = 2,
    /**
     * A source's health changed.
     */
    LB_EVENT_KIND_SOURCE_HEALTH = 3,
    /**
     * A source found something wrong with one of its objects.
     */
    LB_EVENT_KIND_SOURCE_DIAGNOSTIC = 4,
    /**
     * An update of a source was older than what it had reported before, and was left out.
     */
    LB_EVENT_KIND_SOURCE_OUTDATED = 5,
    /**
     * Removals are held back: lb_plane_confirm lets them through.
     */
    LB_EVENT_KIND_GUARD_HELD = 6,
    /**
     * Removals are no longer held back.
     */
    LB_EVENT_KIND_GUARD_RELEASED = 7,
    /**
     * The desired state changed: there is a new generation.
     */
    LB_EVENT_KIND_PUBLISHED = 8,
    /**
     * A target was added.
     */
    LB_EVENT_KIND_TARGET_ADDED = 9,
    /**
     * A target was taken away.
     */
    LB_EVENT_KIND_TARGET_REMOVED = 10,
    /**
     * Everything that a new generation desires is in effect on a target and verified.
     */
    LB_EVENT_KIND_VERIFIED = 11,
    /**
     * A target changed something, or verified a generation but for what is unmet; LB_EVENT_KIND_VERIFIED follows when
     * the rest is in effect.
     */
    LB_EVENT_KIND_PASS = 12,
    /**
     * A target could not be changed; it is tried again.
     */
    LB_EVENT_KIND_TARGET_FAILED = 13,
    /**
     * The plane is shutting down.
     */
    LB_EVENT_KIND_CLOSING = 14,
    /**
     * Something happened at a target that is no change of an endpoint: a reload, slots that run low.
     */
    LB_EVENT_KIND_TARGET_NOTICE = 15,
    /**
     * Something began that lasts and that a program or an operator should know of: a "condition".
     */
    LB_EVENT_KIND_CONDITION_BEGAN = 16,
    /**
     * A condition ended.
     */
    LB_EVENT_KIND_CONDITION_ENDED = 17,
    /**
     * Writes of a publisher are in effect on every target: see lb_event_covers.
     */
    LB_EVENT_KIND_IN_EFFECT = 18,
    /**
     * Only permanent conditions, which it names, keep writes of a publisher from being in effect: see lb_event_covers.
     * LB_EVENT_KIND_IN_EFFECT follows when they end.
     */
    LB_EVENT_KIND_KEPT_BACK = 19,
} lb_event_kind;

/**
 * The state of an endpoint.
 */
typedef enum {
    /**
     * It serves and wants traffic.
     */
    LB_ENDPOINT_STATE_READY = 0,
    /**
     * Its address is known but it does not serve yet.
     */
    LB_ENDPOINT_STATE_PENDING = 1,
    /**
     * It is leaving: no new traffic, what runs may end.
     */
    LB_ENDPOINT_STATE_DRAINING = 2,
    /**
     * It does not serve.
     */
    LB_ENDPOINT_STATE_DOWN = 3,
} lb_endpoint_state;

/**
 * The level of a line of the log.
 */
typedef enum {
    /**
     * Nothing at all.
     */
    LB_LOG_LEVEL_OFF = 0,
    /**
     * Something that needs somebody's care.
     */
    LB_LOG_LEVEL_ERROR = 1,
    /**
     * Something that went wrong and is tried again, or worked around.
     */
    LB_LOG_LEVEL_WARN = 2,
    /**
     * Information for a person who looks on.
     */
    LB_LOG_LEVEL_INFO = 3,
    /**
     * Details that help to understand.
     */
    LB_LOG_LEVEL_DEBUG = 4,
    /**
     * Everything.
     */
    LB_LOG_LEVEL_TRACE = 5,
} lb_log_level;

/**
 * Endpoints, services and routes that take effect together. Used by one thread at a time.
 */
typedef struct lb_batch lb_batch;

/**
 * Why a call failed.
 */
typedef struct lb_error lb_error;

/**
 * Something that happened.
 */
typedef struct lb_event lb_event;

/**
 * A subscription to events. Used by any number of threads; each event goes to one of them.
 */
typedef struct lb_events lb_events;

/**
 * A control plane: sources of endpoints, and targets that are kept in step with them.
 */
typedef struct lb_plane lb_plane;

/**
 * Writes to a source of the plane it was made for, from any number of threads; what is written last counts. Writing
 * does not wait for anything: it takes effect in the background. Every write has a ticket: see lb_publisher_ticket,
 * lb_plane_wait and LB_EVENT_KIND_IN_EFFECT; lb_plane_reconcile waits for every write before it.
 */
typedef struct lb_publisher lb_publisher;

/**
 * The slots of one backend of a running HAProxy, without a plane: the program says which endpoints it wants and when.
 * Has no thread between calls, and is used by one thread at a time.
 */
typedef struct lb_slots lb_slots;

/**
 * An owned text.
 */
typedef struct lb_text lb_text;

/**
 * A borrowed text: UTF-8, not NUL-terminated. `ptr` is never NULL.
 */
typedef struct {
    /**
     * Its first byte.
     */
    const char *ptr;
    /**
     * The number of bytes it has.
     */
    size_t len;
} lb_str;

/**
 * Is called for a line of the log: its level (an lb_log_level), the module it is from and its text, both of which live
 * until the callback returns.
 */
typedef void (*lb_log_fn)(void *userdata, uint32_t level, lb_str module, lb_str message);

/**
 * Is called when `userdata` is used no more. May be NULL where nothing is to be done.
 */
typedef void (*lb_release_fn)(void *userdata);

/**
 * Puts everything that there is now into `everything`, which is empty and lives until the callback returns. Returns
 * LB_STATUS_OK; with anything else, what was known before stays in effect and it is called again after a pause.
 */
typedef uint32_t (*lb_discover_fn)(void *userdata, lb_batch *everything);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The text. Lives as long as the object; empty for NULL.
 */
lb_str lb_text_view(const lb_text *text);

/**
 * Frees a text. NULL is fine.
 */
void lb_text_free(lb_text *text);

/**
 * The status that the call gave; LB_STATUS_NULL_ARGUMENT for NULL.
 */
lb_status lb_error_status(const lb_error *error);

/**
 * The problem, for people: a lower-case fragment that names what was given and what was expected. Lives as long
 * as the error; empty for NULL.
 */
lb_str lb_error_message(const lb_error *error);

/**
 * Frees an error. NULL is fine.
 */
void lb_error_free(lb_error *error);

/**
 * The binary interface of the library that runs. A program compares it with LB_ABI_VERSION when it loads the library
 * itself; the dynamic linker does so by the library's name.
 */
uint32_t lb_abi_version(void);

/**
 * The library's version, such as "0.1.0". Lives forever.
 */
lb_str lb_version(void);

/**
 * The name of a status, such as "TIMEOUT"; "UNKNOWN" for a number that is none. Lives forever.
 */
lb_str lb_status_name(uint32_t status);

/**
 * Sends the log of the whole process's use of this library to `log`, lines up to `most` (an lb_log_level), in the
 * place of where it was sent before; NULL: nowhere, as in the beginning. `log` is called from any thread, several at
 * once, and at any time until `release` is called: on the thread that sent the log elsewhere, or on the one that
 * then still was in `log`. In `log`, functions of objects answer LB_STATUS_WOULD_DEADLOCK.
 * LB_STATUS_ALREADY_EXISTS when the process has another log that Rust code has set.
 */
lb_status lb_set_logger(uint32_t most, lb_log_fn log, void *userdata, lb_release_fn release, lb_error **err);

/**
 * An empty batch. Free it with lb_batch_free; it may be used again and again, also while empty.
 */
lb_status lb_batch_new(lb_batch **out, lb_error **err);

/**
 * Adds an endpoint: `id` names it within `service` as long as it lives, whatever its address ("10.0.0.7:8080" or
 * `[::1]:80`). `weight` is 0 to 256, its share relative to the others'; `state` an lb_endpoint_state. Names have 1
 * to 128 characters out of A-Z a-z 0-9 . _ : -
 */
lb_status lb_batch_add_endpoint(lb_batch *batch,
                                const char *service,
                                size_t service_len,
                                const char *id,
                                size_t id_len,
                                const char *address,
                                size_t address_len,
                                uint32_t weight,
                                uint32_t state,
                                lb_error **err);

/**
 * Adds that an endpoint is gone. Only for lb_publisher_apply: elsewhere, what is not listed is gone.
 */
lb_status lb_batch_remove_endpoint(lb_batch *batch,
                                   const char *service,
                                   size_t service_len,
                                   const char *id,
                                   size_t id_len,
                                   lb_error **err);

/**
 * Adds that a service is there, with or without endpoints; `tcp` other than 0: its traffic is not HTTP, which every
 * batch with endpoints of the service must say again.
 */
lb_status lb_batch_add_service(lb_batch *batch,
                               const char *service,
                               size_t service_len,
                               uint32_t tcp,
                               lb_error **err);

/**
 * Adds how a service is to be served; it is declared with that, as by lb_batch_add_service. `exclusive` other than 0: at
 * most one of its endpoints can get traffic at any moment, as for the primary of a database; an endpoint is taken out,
 * with its sessions, before another one is admitted. `shutdown_on_down` other than 0: sessions to an endpoint in
 * LB_ENDPOINT_STATE_DOWN are shut down at once, else they end by themselves. Every batch that declares the service must
 * say it again.
 */
lb_status lb_batch_set_service_options(lb_batch *batch,
                                       const char *service,
                                       size_t service_len,
                                       uint32_t exclusive,
                                       uint32_t shutdown_on_down,
                                       lb_error **err);

/**
 * Adds that requests for `host` ("shop.example", "*.example", "*": any) and `path` ("/api" and below, "^/api" all that
 * begins with it, "=/api" only that, empty: any) belong to `service`. The routes of a service in one batch are all it has from there on.
 */
lb_status lb_batch_add_route(lb_batch *batch,
                             const char *host,
                             size_t host_len,
                             const char *path,
                             size_t path_len,
                             const char *service,
                             size_t service_len,
                             lb_error **err);

/**
 * The number of endpoints, removals and services the batch has; 0 for NULL.
 */
size_t lb_batch_len(const lb_batch *batch);

/**
 * Frees a batch. NULL is fine. The batch that a callback is given is not freed by it.
 */
void lb_batch_free(lb_batch *batch);

/**
 * A control plane out of its configuration: that of `lb-agent`, in TOML or (when it begins with a brace) JSON; empty
 * for the defaults. Its sources and targets may also be added later. Nothing runs and nobody is connected to before
 * lb_plane_start.
 */
lb_status lb_plane_new(const char *config, size_t config_len, lb_plane **out, lb_error **err);

/**
 * Adds a source, written like one of the configuration's `sources`: {"kind": "docker" | "swarm" | "etcd" | "file",
 * "name": …, …}. Where sources disagree, the one added first wins. LB_STATUS_ALREADY_EXISTS for a name in use,
 * LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_add_source(const lb_plane *plane, const char *source, size_t source_len, lb_error **err);

/**
 * Adds a target, written like one of the configuration's `targets`: {"name": "edge", "socket": "/run/haproxy.sock"}.
 * LB_STATUS_ALREADY_EXISTS for a name in use, LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_add_target(const lb_plane *plane, const char *target, size_t target_len, lb_error **err);

/**
 * Adds a source that the program writes to. The plane waits for its first write (at most the configured
 * `initial_limit`) before it touches a target. LB_STATUS_ALREADY_EXISTS for a name in use, LB_STATUS_CLOSED after
 * lb_plane_shutdown.
 */
lb_status lb_plane_add_publisher(const lb_plane *plane,
                                 const char *source,
                                 size_t source_len,
                                 lb_publisher **out,
                                 lb_error **err);

/**
 * Adds a source that is asked: `discover` is called every `interval_ms` (10 or more), on a thread of the library made
 * for this source, never twice at once. It may call everything of this header but lb_plane_shutdown, which answers
 * LB_STATUS_WOULD_DEADLOCK; a plane that it frees ends in the background. `release` is called on that thread after
 * the source was removed or the plane shut down, or on the calling thread when the source was never started.
 * LB_STATUS_ALREADY_EXISTS for a name in use, LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_add_callback_source(const lb_plane *plane,
                                       const char *source,
                                       size_t source_len,
                                       uint32_t interval_ms,
                                       lb_discover_fn discover,
                                       void *userdata,
                                       lb_release_fn release,
                                       lb_error **err);

/**
 * Ends a source and takes its endpoints away, which nothing holds back. LB_STATUS_NOT_FOUND when there is none of
 * that name, LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_remove_source(const lb_plane *plane, const char *source, size_t source_len, lb_error **err);

/**
 * Ceases to drive a target, which goes on as it is. LB_STATUS_NOT_FOUND when there is none of that name,
 * LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_remove_target(const lb_plane *plane, const char *target, size_t target_len, lb_error **err);

/**
 * Starts the plane's threads; does not wait for anything else. LB_STATUS_WRONG_STATE when it was started before,
 * LB_STATUS_CLOSED after lb_plane_shutdown, LB_STATUS_IO when the system gives no threads.
 */
lb_status lb_plane_start(const lb_plane *plane, lb_error **err);

/**
 * Ends the plane and waits until its threads are gone and every callback has returned; wakes everyone who waits in
 * it, with LB_STATUS_CLOSED. Targets go on as they are. May be called from several threads, and again.
 * LB_STATUS_WOULD_DEADLOCK in a callback.
 */
lb_status lb_plane_shutdown(const lb_plane *plane, lb_error **err);

/**
 * Shuts the plane down as lb_plane_shutdown does and frees it; in a callback that happens in the background.
 * Publishers and subscriptions stay, closed, until they are freed. NULL is fine.
 */
void lb_plane_free(lb_plane *plane);

/**
 * Makes every target pass once more and waits until everything that is desired is in effect and verified everywhere:
 * every write of publishers of this plane that returned before, and what the other sources have said so far.
 * LB_STATUS_TIMEOUT, naming what is late and why; LB_STATUS_UNMET when all is in effect but for what only permanent
 * conditions keep from it, naming the first (what passes by itself is waited for); LB_STATUS_WRONG_STATE before
 * lb_plane_start, LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_reconcile(const lb_plane *plane, uint32_t timeout_ms, lb_error **err);

/**
 * Waits until the write with `ticket` to the source named `source` is in effect and verified on every target; at once
 * if it is. LB_STATUS_TIMEOUT, naming what is late and why; LB_STATUS_UNMET when only permanent conditions keep it from
 * that, naming the first; LB_STATUS_INVALID_ARGUMENT for a ticket that was not given yet, LB_STATUS_NOT_FOUND for no
 * such source, LB_STATUS_WRONG_STATE before lb_plane_start, LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_wait(const lb_plane *plane,
                        const char *source,
                        size_t source_len,
                        uint64_t ticket,
                        uint32_t timeout_ms,
                        lb_error **err);

/**
 * The outcome of the write with `ticket` to the source named `source`, as a JSON object: "in_effect", the "generation"
 * that has it, the targets that are "lagging", and the "conditions" that keep it from being in effect. Statuses as for
 * lb_plane_wait; after lb_plane_shutdown, the last state.
 */
lb_status lb_plane_ticket_json(const lb_plane *plane,
                               const char *source,
                               size_t source_len,
                               uint64_t ticket,
                               lb_text **out,
                               lb_error **err);

/**
 * Lets through what the guard holds back of `service`, or of all with an empty text, and says how many endpoints that
 * were; `released` may be NULL. LB_STATUS_WRONG_STATE before lb_plane_start.
 */
lb_status lb_plane_confirm(const lb_plane *plane,
                           const char *service,
                           size_t service_len,
                           size_t *released,
                           lb_error **err);

/**
 * The desired state: generation, services with their endpoints, routes, as a JSON object. LB_STATUS_WRONG_STATE
 * before lb_plane_start; after lb_plane_shutdown, the last one.
 */
lb_status lb_plane_snapshot_json(const lb_plane *plane, lb_text **out, lb_error **err);

/**
 * The state of sources and targets: health, generations, last errors, unmet conditions, as a JSON object.
 * LB_STATUS_WRONG_STATE before lb_plane_start; after lb_plane_shutdown, the last one.
 */
lb_status lb_plane_status_json(const lb_plane *plane, lb_text **out, lb_error **err);

/**
 * The plan of a pass over a target now, as a JSON object with "stages" of commands and their reasons; nothing is
 * changed. LB_STATUS_NOT_FOUND for no such target, LB_STATUS_IO or LB_STATUS_REFUSED when it cannot be asked,
 * LB_STATUS_TIMEOUT, LB_STATUS_WRONG_STATE before lb_plane_start, LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_plan_json(const lb_plane *plane,
                             const char *target,
                             size_t target_len,
                             uint32_t timeout_ms,
                             lb_text **out,
                             lb_error **err);

/**
 * The ticket of the write that the calling thread made last, if that was to this publisher, else of the newest write of
 * any thread; 0 before the first. Of two writes to one publisher, the later has the greater ticket. A write that changes
 * nothing has one too; one that failed has none.
 */
lb_status lb_publisher_ticket(const lb_publisher *publisher,
                              uint64_t *ticket,
                              lb_error **err);

/**
 * Writes that what is in the batch is all there is; what it does not list is gone, which the guard may hold back:
 * see lb_plane_confirm. A program that starts begins with this. LB_STATUS_INVALID_ARGUMENT for a batch with
 * removals, LB_STATUS_CLOSED when the source is gone.
 */
lb_status lb_publisher_reset(const lb_publisher *publisher, const lb_batch *everything, lb_error **err);

/**
 * Writes what is in the batch at once: never half of it takes effect. What it does not name stays. LB_STATUS_CLOSED
 * when the source is gone.
 */
lb_status lb_publisher_apply(const lb_publisher *publisher, const lb_batch *changes, lb_error **err);

/**
 * Writes one endpoint: see lb_batch_add_endpoint. LB_STATUS_CLOSED when the source is gone.
 */
lb_status lb_publisher_set(const lb_publisher *publisher,
                           const char *service,
                           size_t service_len,
                           const char *id,
                           size_t id_len,
                           const char *address,
                           size_t address_len,
                           uint32_t weight,
                           uint32_t state,
                           lb_error **err);

/**
 * Writes another weight, 0 to 256, of an endpoint; without such an endpoint nothing happens. LB_STATUS_CLOSED when
 * the source is gone.
 */
lb_status lb_publisher_weigh(const lb_publisher *publisher,
                             const char *service,
                             size_t service_len,
                             const char *id,
                             size_t id_len,
                             uint32_t weight,
                             lb_error **err);

/**
 * Writes that an endpoint is leaving: it gets no new traffic, and what runs may end within `grace_ms`, or
 * LB_TARGET_LIMIT. Without such an endpoint nothing happens. LB_STATUS_CLOSED when the source is gone.
 */
lb_status lb_publisher_drain(const lb_publisher *publisher,
                             const char *service,
                             size_t service_len,
                             const char *id,
                             size_t id_len,
                             uint32_t grace_ms,
                             lb_error **err);

/**
 * Writes that an endpoint is gone; without such an endpoint nothing happens. LB_STATUS_CLOSED when the source is
 * gone.
 */
lb_status lb_publisher_remove(const lb_publisher *publisher,
                              const char *service,
                              size_t service_len,
                              const char *id,
                              size_t id_len,
                              lb_error **err);

/**
 * Takes away everything that was written and closes the source. LB_STATUS_CLOSED from then on.
 */
lb_status lb_publisher_retire(const lb_publisher *publisher, lb_error **err);

/**
 * Frees a publisher. The source has ended, and what was written stays in effect: so does a program that crashes. To
 * take it away call lb_publisher_retire or lb_plane_remove_source first. NULL is fine.
 */
void lb_publisher_free(lb_publisher *publisher);

/**
 * Subscribes to the events from now on; before lb_plane_start, to all of them. `capacity` (1 to 1048576) is how many
 * are kept for a subscriber that does not fetch them: after that the oldest is dropped and counted.
 * LB_STATUS_CLOSED after lb_plane_shutdown.
 */
lb_status lb_plane_subscribe(const lb_plane *plane, size_t capacity, lb_events **out, lb_error **err);

/**
 * Waits for the next event, which the caller frees. LB_STATUS_TIMEOUT when there was none (0: does not wait),
 * LB_STATUS_CLOSED when the plane was shut down and every event was fetched.
 */
lb_status lb_events_next(const lb_events *events, uint32_t timeout_ms, lb_event **out, lb_error **err);

/**
 * A file descriptor for poll, select or epoll: readable while lb_events_next has something to say without waiting, an
 * event or LB_STATUS_CLOSED. It belongs to the subscription: do not read, write or close it. -1 for NULL.
 */
int lb_events_fd(const lb_events *events);

/**
 * The number of events that were dropped since the subscription because they were not fetched in time; 0 for NULL.
 */
uint64_t lb_events_dropped(const lb_events *events);

/**
 * Ends a subscription. Nobody may be waiting in it. NULL is fine.
 */
void lb_events_free(lb_events *events);

/**
 * The kind of an event; LB_EVENT_KIND_OTHER for NULL.
 */
lb_event_kind lb_event_kind_of(const lb_event *event);

/**
 * The name of the source or target it happened to; empty where that is neither. Lives as long as the event.
 */
lb_str lb_event_subject(const lb_event *event);

/**
 * The newest write that the event is about, of the source that is its subject; 0 for an event that is about no write.
 */
uint64_t lb_event_ticket(const lb_event *event);

/**
 * 1 if the event is about the write with this ticket, of the source that is its subject; else 0. An event is about
 * every write after that of the former such event, or about writes that were kept back before.
 */
int lb_event_covers(const lb_event *event, uint64_t ticket);

/**
 * Everything about it, as a JSON object with at least "seq", "at_micros" and "event". Lives as long as the event.
 */
lb_str lb_event_json(const lb_event *event);

/**
 * Frees an event. NULL is fine.
 */
void lb_event_free(lb_event *event);

/**
 * The backend of `service` in the HAProxy of `target`, which is written like one of the configuration's `targets`.
 * Nothing is connected to yet. Where `target` has no `manage`, only the service's own backend is managed, and no other
 * is changed.
 */
lb_status lb_slots_new(const char *target,
                       size_t target_len,
                       const char *service,
                       size_t service_len,
                       lb_slots **out,
                       lb_error **err);

/**
 * The plan of lb_slots_apply for the endpoints in `wanted`, which is all that the backend shall have, as a JSON
 * object with "stages" of commands and their reasons. Nothing is changed. LB_STATUS_INVALID_ARGUMENT for other
 * services or removals in `wanted`, LB_STATUS_IO or LB_STATUS_REFUSED when HAProxy cannot be asked,
 * LB_STATUS_TIMEOUT. A plan is made also while another process manages the backend.
 */
lb_status lb_slots_plan(lb_slots *slots, const lb_batch *wanted, uint32_t timeout_ms, lb_text **out, lb_error **err);

/**
 * Brings the backend to the endpoints in `wanted` as far as that is possible now, and tells the result as a JSON
 * object: "applied" steps, "unmet" conditions, whether all the rest has "converged", and with "again" (seconds and
 * nanoseconds, or null) when to call it again with the same endpoints, as something takes time, such as a drain.
 * Statuses as for lb_slots_plan, and LB_STATUS_REFUSED, naming the other process, while another on this machine manages
 * the backend; after LB_STATUS_TIMEOUT, LB_STATUS_IO or LB_STATUS_REFUSED some of it may be in
 * effect, and the next call finishes it.
 */
lb_status lb_slots_apply(lb_slots *slots,
                         const lb_batch *wanted,
                         uint32_t timeout_ms,
                         lb_text **out,
                         lb_error **err);

/**
 * Closes the connection; HAProxy goes on as it is. NULL is fine.
 */
void lb_slots_free(lb_slots *slots);

/**
 * The text of a haproxy.cfg that has what the plane needs, out of a description in TOML or JSON: {"version": "2.6.12",
 * "socket": "/run/haproxy/admin.sock", "server_state_file": …, "service_map", "maxconn", "threads", "hard_stop_after",
 * "stats", "frontends": [{"name", "bind": "0.0.0.0:80", "tls": {"bind", "certificates", "list", "http2",
 * "only_tls13"}, "mode": "http" | "tcp", "default_backend", "route_map", "rate_limit": {"requests", "period"}}],
 * "backends": [{"name", "slots": 20, "slot_prefix", "mode", "balance": "roundrobin" | "leastconn" | "random" | "hash
 * source" | "hash uri" | "hash header NAME", "http_reuse", "server_header", "cookie": {"name", "key", "secure"},
 * "check": true | {"inter", "fall", "rise", "path", "host", "expect"}, "maxconn"}]}: the table `haproxy` of lb-agent's
 * configuration. Nothing is written to any file.
 */
lb_status lb_config_generate(const char *desired,
                             size_t desired_len,
                             lb_text **out,
                             lb_error **err);

/**
 * The lines of a haproxy.cfg that break a guarantee, as JSON: {"ok": …, "findings": [{"code": "socket-level",
 * "severity": "error" | "warning", "file", "line", "section", "guarantee", "message", "instead"}]}. Options, in TOML
 * or JSON, say what is known beside it, all of it optional, or nothing at all (NULL, 0): {"name": "haproxy.cfg",
 * "version": "2.6.12", "policy": {as for a target}, "open_files": 65536, "memory": bytes, "missing": [map files that
 * are not there]}. HAProxy is not asked and no file is read. A finding is no error: the status is LB_STATUS_OK.
 */
lb_status lb_config_lint(const char *config,
                         size_t config_len,
                         const char *options,
                         size_t options_len,
                         lb_text **out,
                         lb_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LB_H */
