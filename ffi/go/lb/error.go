package lb

// #include <lb.h>
import "C"

import "fmt"

// Status is how a call failed. It is an error to be found with errors.Is.
type Status uint32

// What can go wrong.
const (
	NullArgument    Status = C.LB_STATUS_NULL_ARGUMENT
	InvalidUTF8     Status = C.LB_STATUS_INVALID_UTF8
	InvalidArgument Status = C.LB_STATUS_INVALID_ARGUMENT
	AlreadyExists   Status = C.LB_STATUS_ALREADY_EXISTS
	NotFound        Status = C.LB_STATUS_NOT_FOUND
	Timeout         Status = C.LB_STATUS_TIMEOUT
	Closed          Status = C.LB_STATUS_CLOSED
	WouldDeadlock   Status = C.LB_STATUS_WOULD_DEADLOCK
	IO              Status = C.LB_STATUS_IO
	Refused         Status = C.LB_STATUS_REFUSED
	Panicked        Status = C.LB_STATUS_PANIC
	Unmet           Status = C.LB_STATUS_UNMET
	WrongState      Status = C.LB_STATUS_WRONG_STATE
	Forked          Status = C.LB_STATUS_FORKED
)

func (s Status) Error() string {
	return goString(C.lb_status_name(C.uint32_t(s)))
}

// Error is a failure with its reason.
type Error struct {
	Status  Status
	Message string
}

func (e *Error) Error() string { return "lb: " + e.Message }

// Unwrap gives the status, so that errors.Is(err, lb.Timeout) holds.
func (e *Error) Unwrap() error { return e.Status }

func fail(status Status, format string, arguments ...any) error {
	return &Error{status, fmt.Sprintf(format, arguments...)}
}

// check makes an error out of a status, and frees the library's.
func check(status C.lb_status, cerr *C.lb_error) error {
	if status == C.LB_STATUS_OK {
		return nil
	}
	defer C.lb_error_free(cerr)
	return &Error{Status(status), goString(C.lb_error_message(cerr))}
}

func goString(text C.lb_str) string {
	return C.GoStringN(text.ptr, C.int(text.len))
}
