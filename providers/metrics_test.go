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

	"berth/internal/metrics"
	"berth/providers"
)

// answers is a cloud that gives them in order; nil means that none comes.
type answers []*http.Response

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	next := (*a)[0]
	*a = (*a)[1:]
	if next == nil {
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	}
	time.Sleep(250 * time.Millisecond) // a bound, and a sum without rounding
	next.Body = http.NoBody
	return next, nil
}

func TestRequestsAreCountedByTheirOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &metrics.Registry{}
		limited := http.Header{"Retry-After": {"5"}}
		c := providers.NewCaller(providers.CallerOptions{Provider: "test", Metrics: providers.NewMetrics(r), Transport: &answers{
			{StatusCode: 204}, {StatusCode: 503}, nil, nil, {StatusCode: 429, Header: limited}, {StatusCode: 204}}})
		ask := func(ctx context.Context) error {
			return c.Call(ctx, "ask", func(ctx context.Context) error {
				req, err := http.NewRequestWithContext(ctx, http.MethodPatch, "http://cloud.invalid/", nil)
				if err != nil {
					return err
				}
				resp, err := c.HTTPClient().Do(req)
				if err != nil {
					return err
				}
				return resp.Body.Close()
			})
		}
		ask(t.Context()) // ok
		ask(t.Context()) // transient
		ask(t.Context()) // transient, after the timeout of 10 s
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel(errors.New("demoted"))
		}()
		ask(ctx)         // cancelled
		ask(t.Context()) // rate-limited
		for range 2 {
			ask(t.Context()) // not asked
		}
		time.Sleep(5 * time.Second)
		if err := ask(t.Context()); err != nil {
			t.Errorf("after the wait: %v", err)
		}

		var text strings.Builder
		if err := r.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(text.String()) {
			if !strings.HasPrefix(line, "#") && (!strings.Contains(line, "_bucket") || strings.Contains(line, `le="0.25"`)) {
				got = append(got, strings.TrimPrefix(strings.TrimSpace(line), "berth_provider_"))
			}
		}
		want := []string{
			`requests_total{provider="test",operation="ask",class="auth"} 0`,
			`requests_total{provider="test",operation="ask",class="cancelled"} 1`,
			`requests_total{provider="test",operation="ask",class="invalid"} 0`,
			`requests_total{provider="test",operation="ask",class="not-found"} 0`,
			`requests_total{provider="test",operation="ask",class="ok"} 2`,
			`requests_total{provider="test",operation="ask",class="rate-limited"} 1`,
			`requests_total{provider="test",operation="ask",class="transient"} 2`,
			`responses_total{provider="test",status="204"} 2`,
			`responses_total{provider="test",status="429"} 1`,
			`responses_total{provider="test",status="503"} 1`,
			`request_duration_seconds_bucket{provider="test",operation="ask",le="0.25"} 4`,
			`request_duration_seconds_sum{provider="test",operation="ask"} 12`,
			`request_duration_seconds_count{provider="test",operation="ask"} 6`,
			`rate_limit_wait_seconds_total{provider="test"} 5`,
			`requests_withheld_total{provider="test"} 2`,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}
