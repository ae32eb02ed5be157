package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/serve"
	"berth/internal/status"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestREADMEListsTheMetrics(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	r := &metrics.Registry{}
	newMeters(r)
	for _, f := range r.Families() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", f.Name, f.Kind, strings.Join(f.Labels, ", "), strings.TrimSuffix(f.Help, ".")))
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `berth_") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-declared +README.md):\n%s", d)
	}
}

// series returns the lines that a metric has.
func (w *world) series(t *testing.T, name string) []string {
	t.Helper()
	var text strings.Builder
	if err := w.count.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^`+name+`\b.*$`).FindAllString(text.String(), -1)
}

func TestMetricsOfATakeoverATheftAndADemotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "")
		defer w.stop()
		want := func(name string, lines ...string) {
			t.Helper()
			for i := range lines {
				lines[i] = name + lines[i]
			}
			if d := cmp.Diff(lines, w.series(t, name)); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
		const labels = `{instance="VI_0",address="192.0.2.0/24"} `
		held := w.sim.Hold("PATCH", "/")
		w.send(vrrp.Master, "VI_0")
		if _, err := held.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want("berth_last_success_timestamp_seconds", labels+"0")
		held.Release()
		synctest.Wait()
		want("berth_last_success_timestamp_seconds", fmt.Sprintf("%s%s", labels, number(time.Now())))
		want("berth_claims_total", labels+"1")
		want("berth_thefts_total", labels+"0")

		time.Sleep(time.Minute)
		if err := w.sim.Give(ipOf(0), rival); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want("berth_claims_total", labels+"2")
		want("berth_thefts_total", labels+"1")
		want("berth_contested", labels+"0")
		patches := `{provider="cloudscale",operation="point floating IP",class=`
		for _, line := range []string{patches + `"ok"} 2`, patches + `"transient"} 0`} {
			if got := strings.Join(w.series(t, "berth_provider_requests_total"), "\n"); !strings.Contains(got, line) {
				t.Errorf("want a line with %s, got:\n%s", line, got)
			}
		}

		w.send(vrrp.Backup, "VI_0")
		synctest.Wait()
		want("berth_last_success_timestamp_seconds")
		want("berth_contested")
		want("berth_thefts_total", labels+"1")
	})
}

// number is the time as the metrics show it.
func number(at time.Time) string {
	return fmt.Sprint(float64(at.UnixMilli()) / 1000)
}

func TestStateOfAnInstance(t *testing.T) {
	r := &metrics.Registry{}
	m := newMeters(r)
	for _, row := range []struct {
		state vrrp.State
		want  string
	}{
		{vrrp.Master, `berth_instance_master{instance="VI_1"} 1`},
		{vrrp.Fault, `berth_instance_master{instance="VI_1"} 0`},
		{vrrp.Deleted, ""},
	} {
		m.changed("VI_1", row.state)
		var text strings.Builder
		if err := r.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if got := regexp.MustCompile(`(?m)^berth_instance_master.*$`).FindString(text.String()); got != row.want {
			t.Errorf("%s: want %q, got %q", row.state, row.want, got)
		}
		if want := `berth_corrections_total{instance="VI_1"} 0`; !strings.Contains(text.String(), want) {
			t.Errorf("want %s from the start, got:\n%s", want, text.String())
		}
	}
}

func TestSuspensionIsACorrection(t *testing.T) {
	r := &metrics.Registry{}
	b := board{status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil)), newMeters(r)}
	b.Corrected("VI_1", "address is gone")
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if want := `berth_corrections_total{instance="VI_1"} 1`; !strings.Contains(text.String(), want) {
		t.Errorf("want %s, got:\n%s", want, &text)
	}
}

// runExporter runs one, told before where to show the metrics; said gets the
// messages of its log, with the address if one was said.
func runExporter(t *testing.T, where config.Metrics) (e *exporter, said <-chan string, stop func()) {
	t.Helper()
	r := &metrics.Registry{}
	r.Counter("berth_test_total", "Help.").Add(7)
	messages := make(chan string, 16)
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m"}), lineWriter(messages), zap.InfoLevel)
	e = newExporter(r, zap.New(core))
	e.show(where)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx)
	}()
	return e, messages, func() {
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
	e, said, stop := runExporter(t, config.Metrics{Listen: "127.0.0.1:0"})
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
	e.show(config.Metrics{})
	e.show(config.Metrics{Listen: "127.0.0.1:0"}) // the next one, so that the former is gone
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
	_, said, stop := runExporter(t, config.Metrics{Listen: l.Addr().String()})
	defer stop()
	if got := <-said; !strings.HasPrefix(got, "cannot serve metrics; trying again") || !strings.Contains(got, l.Addr().String()) {
		t.Errorf("want a warning with the address, got %s", got)
	}
}

func TestTextfileIsKeptUpToDateAndGoesWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "berth.prom")
		e, _, stop := runExporter(t, config.Metrics{Textfile: path})
		more := e.registry.Counter("berth_more_total", "Help.")
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
		_, said, stop := runExporter(t, config.Metrics{Textfile: filepath.Join(dir, "berth.prom")})
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
		if got := <-said; !strings.HasPrefix(got, "cannot write metrics; trying again") || len(said) != 0 {
			t.Errorf("want one warning, got %s and %d more", got, len(said))
		}
	})
}
