package providers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"berth/internal/journal"
	"berth/providers"
)

// answering is a transport that answers with what the function says.
type answering func(*http.Request) (status int, header http.Header)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header := a(r)
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("you said " + r.Header.Get("Token"))), Request: r}, nil
}

// vault has a credential that can change.
type vault struct {
	mu     sync.Mutex
	value  string
	err    error
	loaded int
}

func (v *vault) load() ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loaded++
	return []string{v.value}, v.err
}

func (v *vault) set(value string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.value, v.err = value, err
}

const (
	oldToken = "old-token-271828182845"
	newToken = "new-token-314159265358"
)

// ask makes a request with the credential of now.
func ask(ctx context.Context, c *providers.Caller, credentials *providers.Credentials) error {
	return c.Call(ctx, "ask", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, "GET", "http://x/", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Token", credentials.Values()[0])
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	})
}

func TestCredentialsThatChangedAreReadAgain(t *testing.T) {
	tests := []struct {
		name      string
		value     string
		err       error
		valid     string
		wantCalls int
		wantErr   string // part of it, "" for none
		wantWarn  bool
	}{
		{"the new one is right", newToken, nil, newToken, 2, "", false},
		{"the new one is wrong too", newToken, nil, "another", 2, "(withheld", false},
		{"nothing has changed", oldToken, nil, "another", 1, "(withheld", false},
		{"they cannot be read", "", errors.New("no such file"), "another", 1, "(withheld", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := &vault{value: oldToken}
			credentials, err := providers.NewCredentials(v.load)
			if err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zap.InfoLevel)
			calls := 0
			c := providers.NewCaller(providers.CallerOptions{Provider: "test", Credentials: credentials, Journal: journal.New(zap.New(core)),
				Transport: answering(func(r *http.Request) (int, http.Header) {
					calls++
					if r.Header.Get("Token") == tt.valid {
						return 200, nil
					}
					return 401, nil
				})})
			v.set(tt.value, tt.err)
			err = ask(t.Context(), c, credentials)
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("want an error with %q, got %v", tt.wantErr, err)
			}
			if calls != tt.wantCalls {
				t.Errorf("calls: want %d, got %d", tt.wantCalls, calls)
			}
			if warned := logs.FilterLevelExact(zap.WarnLevel).Len() == 1; warned != tt.wantWarn {
				t.Errorf("warned: want %v, got %v", tt.wantWarn, logs.All())
			}
		})
	}
}

func TestCredentialsAreReadAgainOnceForAllCallsThatWereRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{value: oldToken}
		credentials, err := providers.NewCredentials(v.load)
		if err != nil {
			t.Fatal(err)
		}
		c := providers.NewCaller(providers.CallerOptions{Provider: "test", Credentials: credentials,
			Transport: answering(func(r *http.Request) (int, http.Header) {
				time.Sleep(time.Second)
				if r.Header.Get("Token") == newToken {
					return 200, nil
				}
				return 403, nil
			})})
		v.set(newToken, nil)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := ask(t.Context(), c, credentials); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if v.loaded != 2 {
			t.Errorf("want them read at the start and once more, got %d times", v.loaded)
		}
	})
}

func TestRetryAfterHoldsForAllCallsOfTheAccount(t *testing.T) {
	tests := []struct {
		name   string
		status int
		after  []string // of one answer after the other
		want   time.Duration
	}{
		{"seconds", 429, []string{"7"}, 7 * time.Second},
		{"of a server that is unavailable", 503, []string{"7"}, 7 * time.Second},
		{"a day is not believed", 429, []string{"86400"}, 10 * time.Minute},
		{"none", 429, []string{""}, 0},
		{"nothing to wait for", 429, []string{"0"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				answers := answering(func(*http.Request) (int, http.Header) {
					if calls++; calls <= len(tt.after) {
						return tt.status, http.Header{"Retry-After": {tt.after[calls-1]}}
					}
					return 200, nil
				})
				c := providers.NewCaller(providers.CallerOptions{Provider: "test", Transport: answers})
				read := func(io.Reader) error { return nil }
				if err := c.Get(t.Context(), "one", "http://x/", read); err == nil {
					t.Fatal("want an error")
				}
				if tt.want > 0 {
					time.Sleep(tt.want - time.Nanosecond)
					err := c.Get(t.Context(), "another", "http://x/", read)
					e, ok := errors.AsType[*providers.Error](err)
					if !ok || e.Kind != providers.RateLimited || e.Wait != time.Nanosecond || e.Op != "another" {
						t.Errorf("before the time: want what is left to wait, got %+v", err)
					}
					if calls != 1 {
						t.Errorf("before the time: want no call, got %d", calls-1)
					}
					time.Sleep(time.Nanosecond)
				}
				if err := c.Get(t.Context(), "another", "http://x/", read); err != nil {
					t.Errorf("in time: %v", err)
				}
			})
		})
	}
}

func TestRoots(t *testing.T) {
	if roots, err := providers.Roots(""); roots != nil || err != nil {
		t.Errorf("no file: want those of the system, got %v, %v", roots, err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("-----BEGIN NOTHING-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		empty:          "read ca-file: no certificate in " + empty,
		"/nonexistent": "read ca-file: open /nonexistent: no such file or directory",
	} {
		if _, err := providers.Roots(file); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	srv.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	srv.StartTLS()
	defer srv.Close()
	c := providers.NewCaller(providers.CallerOptions{Provider: "test"})
	err := c.Get(t.Context(), "ask", srv.URL, nil)
	if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Errorf("want the version refused, got %v", err)
	}
}

func TestCredentialsThatCannotBeReadAreToldUntilTheAPIAcceptsThem(t *testing.T) {
	v := &vault{value: oldToken}
	credentials, err := providers.NewCredentials(v.load)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	status := 401
	c := providers.NewCaller(providers.CallerOptions{Provider: "test", Credentials: credentials, Journal: journal.New(zap.New(core)),
		Transport: answering(func(*http.Request) (int, http.Header) { return status, nil })})
	v.set("", errors.New("no such file"))
	for _, step := range []struct{ status, lines int }{{401, 1}, {401, 1}, {503, 1}, {200, 2}, {200, 2}} {
		status = step.status
		_ = ask(t.Context(), c, credentials)
		if n := logs.Len(); n != step.lines {
			t.Errorf("%d lines after status %d, want %d: %v", n, status, step.lines, logs.All())
		}
	}
	if end := logs.All()[1]; end.Level != zap.InfoLevel || end.ContextMap()["code"] != "provider-credentials-unreadable" {
		t.Errorf("want its end to be told, got %v", end)
	}
}
