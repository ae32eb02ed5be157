package serve_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/serve"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// runExporter runs one, told before where to show the metrics; said gets the
// messages of its log, with the address if one was said.
func runExporter(t *testing.T, where serve.Where) (r *metrics.Registry, e *serve.Exporter, said <-chan string, stop func()) {
	t.Helper()
	r = &metrics.Registry{}
	r.Counter("berth_test_total", "Help.").Add(7)
	messages := make(chan string, 16)
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m"}), lineWriter(messages), zap.InfoLevel)
	e = serve.NewExporter(r, journal.New(zap.New(core)))
	e.Show(where)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx)
	}()
	return r, e, messages, func() {
		cancel(errors.New("test is over"))
		<-done
	}
}

type lineWriter chan<- string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- strings.TrimSpace(string(p))
	return len(p), nil
}

func (lineWriter) Sync() error { return nil }

func TestMetricsAreServed(t *testing.T) {
	_, e, said, stop := runExporter(t, serve.Where{Listen: "127.0.0.1:0"})
	defer stop()
	_, at, _ := strings.Cut(<-said, `"listen": "`)
	base := "http://" + strings.TrimSuffix(at, `"}`)
	for _, row := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/metrics", 200, "# HELP berth_test_total Help.\n# TYPE berth_test_total counter\nberth_test_total 7\n"},
		{"HEAD", "/metrics", 200, ""},
		{"POST", "/metrics", 405, "only GET and HEAD\n"},
		{"GET", "/", 404, "404 page not found\n"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), row.method, base+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != row.status || string(body) != row.body {
			t.Errorf("%s %s: want %d %q, got %d %q, %v", row.method, row.path, row.status, row.body, resp.StatusCode, body, err)
		}
	}
	e.Show(serve.Where{})
	e.Show(serve.Where{Listen: "127.0.0.1:0"}) // the next one, so that the former is gone
	<-said
	if resp, err := http.Get(base + "/metrics"); err == nil {
		resp.Body.Close()
		t.Error("still served where the configuration does not say any more")
	}
}

func TestMetricsAtAnAddressThatIsTakenAreAWarning(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, _, said, stop := runExporter(t, serve.Where{Listen: l.Addr().String()})
	defer stop()
	if got := <-said; !strings.HasPrefix(got, "cannot serve metrics; trying again") || !strings.Contains(got, l.Addr().String()) {
		t.Errorf("want a warning with the address, got %s", got)
	}
}

func TestTextfileIsKeptUpToDateAndGoesWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "berth.prom")
		r, _, _, stop := runExporter(t, serve.Where{Textfile: path})
		more := r.Counter("berth_more_total", "Help.")
		synctest.Wait()
		more.Add(1)
		time.Sleep(serve.TextfileInterval + time.Millisecond)
		synctest.Wait()
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasSuffix(string(text), "berth_more_total 1\n") {
			t.Errorf("want the count of now, got %q, %v", text, err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode() != fs.FileMode(0o644) {
			t.Errorf("want a file for everybody, got %v, %v", st, err)
		}
		stop()
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("want nothing left behind, got %v, %v", left, err)
		}
	})
}

func TestTextfileThatCannotBeWrittenIsAWarningUntilItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "later")
		_, _, said, stop := runExporter(t, serve.Where{Textfile: filepath.Join(dir, "berth.prom")})
		defer stop()
		time.Sleep(3*serve.TextfileInterval + time.Millisecond)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(serve.TextfileInterval)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(dir, "berth.prom")); err != nil {
			t.Error(err)
		}
		if got := <-said; !strings.HasPrefix(got, "cannot write metrics; trying again") {
			t.Errorf("want a warning, got %s", got)
		}
		if got := <-said; !strings.HasPrefix(got, "metrics are written again") || len(said) != 0 {
			t.Errorf("want its end, got %s and %d more", got, len(said))
		}
	})
}
