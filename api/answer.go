package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"berth/election"
	"berth/ips"
	"berth/pool"
)

// statuses are those of all answers.
var statuses = []int{http.StatusOK, http.StatusCreated, http.StatusNoContent,
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict,
	http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusInternalServerError, http.StatusServiceUnavailable}

// answer is what a handler answers: a status and what becomes JSON, nil for no body.
type answer struct {
	status   int
	body     any
	location string // of what was made
}

// refusal is an error with the status of its answer.
type refusal struct {
	status int
	text   string
}

// Error returns the text.
func (e *refusal) Error() string { return e.text }

func refuse(status int, format string, values ...any) error {
	return &refusal{status, fmt.Sprintf(format, values...)}
}

// statusOf returns the status with which an error is answered, and its text for the client.
func statusOf(err error) (status int, text string) {
	r, isRefusal := errors.AsType[*refusal](err)
	invalid, isInvalid := errors.AsType[*ips.InvalidError](err)
	conflict, isConflict := errors.AsType[*ips.ConflictError](err)
	handover, isHandover := errors.AsType[*election.RefusedError](err)
	switch {
	case isRefusal:
		return r.status, r.text
	case errors.Is(err, ips.ErrUnknown):
		return http.StatusNotFound, ips.ErrUnknown.Error()
	case errors.Is(err, ips.ErrAssigned):
		return http.StatusBadRequest, ips.ErrAssigned.Error() // LinK's status
	case errors.Is(err, pool.ErrAbsent):
		return http.StatusNotFound, err.Error()
	case isInvalid:
		return http.StatusBadRequest, invalid.Text
	case isConflict:
		return http.StatusConflict, conflict.Text
	case isHandover:
		return http.StatusConflict, handover.Reason
	case errors.Is(err, election.ErrNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, election.ErrNoAnswer.Error()
	}
	// The rest are refusals of etcd and the system, which can pass.
	return http.StatusServiceUnavailable, err.Error()
}

// problem is the body of every error. LinK's clients read one key or the other.
type problem struct {
	Error string `json:"error"`
	Msg   string `json:"msg"`
}

// writeError answers with an error.
func writeError(w http.ResponseWriter, status int, text string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, problem{text, text})
}

// writeJSON answers with JSON.
func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("an answer that has no JSON: %v", err))
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that has gone needs no answer
}

// changeTime bounds for what a request waits: for etcd, another member, the kernel. It is
// shorter than the ten seconds that berth's own client waits, and than those in which
// internal/serve has an answer written, so that the client learns why.
const changeTime = 8 * time.Second

// asJSON makes a handler of a function that returns its answer.
func (s *site) asJSON(f func(*http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeoutCause(r.Context(), changeTime, election.ErrNoAnswer)
		defer cancel()
		a, err := f(r.WithContext(ctx))
		if err != nil {
			if errors.Is(err, ctx.Err()) {
				err = context.Cause(ctx)
			}
			status, text := statusOf(err)
			writeError(w, status, text)
			return
		}
		if a.location != "" {
			w.Header().Set("Location", a.location)
		}
		if a.body == nil {
			w.WriteHeader(a.status)
			return
		}
		writeJSON(w, a.status, a.body)
	}
}
