package providers_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/providers"
)

func TestAwaitAsksUntilTheOperationIsOver(t *testing.T) {
	running := providers.Progress{Running: true}
	failed := func(status int, kind providers.Kind) error {
		return &providers.Error{Provider: "test", Op: "read operation", Kind: kind, Status: status}
	}
	demoted := errors.New("demoted")
	type answer struct {
		now providers.Progress
		err error
	}
	for _, row := range []struct {
		name    string
		begun   providers.Progress
		answers []answer // the last one again and again
		asked   []string // when
		want    string   // in the error, "" for none
		unknown bool
		limit   int // of questions without an answer
	}{
		{"over with its acceptance", providers.Progress{}, nil, nil, "", false, 0},
		{"not told by its acceptance", providers.Progress{Unknown: true}, nil, nil, "not known", true, 0},
		{"asked for twice as late each time, and with every longest interval", running,
			[]answer{{running, nil}, {running, nil}, {running, nil}, {running, nil}, {running, nil}, {providers.Progress{}, nil}},
			[]string{"100ms", "300ms", "700ms", "1.5s", "2.5s", "3.5s"}, "", false, 0},
		{"failed, for the reason that the API tells", running,
			[]answer{{providers.Progress{Failed: true, Kind: providers.Invalid, Reason: "server is locked"}, nil}},
			[]string{"100ms"}, "test: assign: server is locked", false, 0},
		{"an answer that fails now and then", running,
			[]answer{{running, failed(500, providers.Transient)}, {running, failed(502, providers.Transient)}, {providers.Progress{}, nil}},
			[]string{"100ms", "300ms", "700ms"}, "", false, 0},
		{"answers that fail for long", running, []answer{{running, failed(0, providers.Transient)}},
			[]string{"100ms", "300ms", "700ms", "1.5s", "2.5s"}, "not known", true, 0},
		{"an answer that fails, of an operation with a limit of its own", running, []answer{{running, nil}, {running, failed(502, providers.Transient)}},
			[]string{"100ms", "300ms"}, "not known", true, 1},
		{"forgotten by the API", running, []answer{{running, failed(http.StatusNotFound, providers.NotFound)}},
			[]string{"100ms"}, "not known", true, 0},
		{"not permitted to ask", running, []answer{{running, failed(403, providers.Auth)}},
			[]string{"100ms"}, "read operation: HTTP status 403", false, 0},
		{"asked to wait", running, []answer{{running, failed(429, providers.RateLimited)}},
			[]string{"100ms"}, "read operation: HTTP status 429", false, 0},
		{"until the context ends", running, []answer{{running, nil}},
			[]string{"100ms", "300ms", "700ms", "1.5s", "2.5s", "3.5s", "4.5s"}, "test: assign: demoted", false, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var asked []string
				ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, demoted)
				defer cancel()
				c := providers.NewCaller(providers.CallerOptions{Provider: "test"})
				err := c.Await(ctx, providers.Operation{Op: "assign", First: 100 * time.Millisecond, Longest: time.Second, Unanswered: row.limit,
					Ask: func(context.Context) (providers.Progress, error) {
						a := row.answers[min(len(asked), len(row.answers)-1)]
						asked = append(asked, time.Since(start).String())
						return a.now, a.err
					}}, row.begun)
				if diff := cmp.Diff(row.asked, asked); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
				if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
					t.Errorf("want an error with %q, got %v", row.want, err)
				}
				if errors.Is(err, providers.ErrOutcomeUnknown) != row.unknown {
					t.Errorf("outcome unknown: want %v, got %v", row.unknown, err)
				}
				if row.want == "test: assign: demoted" && !errors.Is(err, demoted) {
					t.Errorf("want the cause of the context, got %v", err)
				}
			})
		})
	}
}
