package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// LoadOptions say what is asked of the API of a member.
type LoadOptions struct {
	// Rate is how many requests are due in a second, one in writeEvery of which writes.
	Rate int
	// Connections is over how many connections they go.
	Connections int
}

const (
	// writeEvery makes 5 % of the requests writes.
	writeEvery = 20
	// memoryEvery is how often the memory of the member is read.
	memoryEvery = 100 * time.Millisecond
)

// A Load asks the API of one member for what operators and their programs ask it, at a
// steady rate: it lists and shows addresses, the cluster and the status, and it adds, changes
// and removes addresses of its own, which no other member has. A request that is late for
// its turn counts from its turn on, so that a member which hangs cannot hide that.
type Load struct {
	host    *Host
	options LoadOptions
	client  *http.Client
	known   documented
	begin   time.Time
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	dialled atomic.Int64
	turn    atomic.Int64

	mu     sync.Mutex // guards report
	report Report
}

// A Report is what came of a load.
type Report struct {
	Lasted      time.Duration
	Requests    int
	Connections int            // that were made
	Answers     map[string]int // by method, route and status
	Took        []time.Duration
	// Problems are answers that the API does not document, or that a client which asks
	// for what is there may not get.
	Problems []string
	Memory   []Memory
}

// Memory is the resident memory of a member.
type Memory struct {
	At    time.Time
	Bytes int64
}

// documented are the status codes of a route that the member describes itself, by method
// and route.
type documented map[string][]int

// StartLoad begins a load on the API of a host.
func (l *Lab) StartLoad(ctx context.Context, h *Host, o LoadOptions) (*Load, error) {
	a := &Load{host: h, options: o, report: Report{Answers: map[string]int{}}}
	a.client = h.newClient(o.Connections, func() { a.dialled.Add(1) })
	status, text, err := h.ask(ctx, a.client, http.MethodGet, "/openapi.json", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	if err == nil {
		a.known, err = parseDocumented(text)
	}
	if err != nil {
		return nil, fmt.Errorf("read the description of the API of %s: %w", h.Name(), err)
	}
	ctx, a.cancel = context.WithCancel(ctx)
	a.begin = time.Now()
	for n := range o.Connections {
		a.wait.Go(func() { a.askOver(ctx, n) })
	}
	a.wait.Go(func() { a.watch(ctx) })
	return a, nil
}

// parseDocumented reads the status codes from an OpenAPI description.
func parseDocumented(text []byte) (documented, error) {
	var description struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(text, &description); err != nil {
		return nil, err
	}
	all := documented{}
	for route, methods := range description.Paths {
		for method, raw := range methods {
			var operation struct {
				Responses map[string]json.RawMessage `json:"responses"`
			}
			if json.Unmarshal(raw, &operation) != nil {
				continue // what all methods of the route share
			}
			for code := range operation.Responses {
				if n, err := strconv.Atoi(code); err == nil {
					key := strings.ToUpper(method) + " " + route
					all[key] = append(all[key], n)
				}
			}
		}
	}
	return all, nil
}

// A question is a request of the load.
type question struct {
	method, route, path string
	body                string
	want                int
}

// askOver asks over one connection until the context ends.
func (a *Load) askOver(ctx context.Context, n int) {
	own := ID(netip.AddrFrom4([4]byte{198, 18, 99, byte(n + 1)}))
	address := strings.TrimPrefix(own, "vip-")
	writes := []question{
		{http.MethodPost, "/ips", "/ips", `{"ip":"` + address + `/32"}`, http.StatusCreated},
		{http.MethodPatch, "/ips/{id}", "/ips/" + own, `{"healthcheck_interval":7}`, http.StatusOK},
		{http.MethodDelete, "/ips/{id}", "/ips/" + own, "", http.StatusNoContent},
	}
	written := 0
	defer func() {
		if written%len(writes) != 0 { // leave nothing behind
			a.question(context.WithoutCancel(ctx), writes[len(writes)-1], time.Now())
		}
	}()
	first := ID(a.host.lab.probed[0])
	reads := []question{
		{http.MethodGet, "/ips", "/ips", "", http.StatusOK},
		{http.MethodGet, "/ips/{id}", "/ips/" + first, "", http.StatusOK},
		{http.MethodGet, "/cluster", "/cluster", "", http.StatusOK},
		{http.MethodGet, "/status", "/status", "", http.StatusOK},
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		turn := a.turn.Add(1) - 1
		due := a.begin.Add(time.Duration(turn) * time.Second / time.Duration(a.options.Rate))
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		q := reads[turn%int64(len(reads))]
		if turn%writeEvery == writeEvery-1 {
			q = writes[written%len(writes)]
			written++
		}
		a.question(context.WithoutCancel(ctx), q, due)
	}
}

// question makes one request and notes what came of it.
func (a *Load) question(ctx context.Context, q question, due time.Time) {
	var body []byte
	if q.body != "" {
		body = []byte(q.body)
	}
	status, said, err := a.host.ask(ctx, a.client, q.method, q.path, body)
	took := time.Since(due)
	key := q.method + " " + q.route
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.Requests++
	a.report.Took = append(a.report.Took, took)
	switch {
	case err != nil:
		a.report.Answers[key+" none"]++
		a.report.Problems = append(a.report.Problems, fmt.Sprintf("%s: %v", key, err))
		return
	case !slices.Contains(a.known[key], status):
		a.report.Problems = append(a.report.Problems, fmt.Sprintf("%s: status %d, which the API does not document: %s", key, status, said))
	case status != q.want:
		a.report.Problems = append(a.report.Problems, fmt.Sprintf("%s: status %d, want %d: %s", key, status, q.want, said))
	}
	a.report.Answers[fmt.Sprintf("%s %d", key, status)]++
}

// watch notes the memory of the member until the context ends.
func (a *Load) watch(ctx context.Context) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		if n, err := a.host.memory(); err == nil { // else it has been killed
			a.mu.Lock()
			a.report.Memory = append(a.report.Memory, Memory{time.Now(), n})
			a.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// memory returns the resident memory of the host's berth.
func (h *Host) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", h.Berth.PID())) // in pages, proc_pid_statm(5)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read memory of berth on %s: got %q", h.Name(), text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Stop ends the load. Requests on their way are waited for.
func (a *Load) Stop() Report {
	a.cancel()
	a.wait.Wait()
	a.client.CloseIdleConnections()
	r := a.report
	r.Lasted, r.Connections = time.Since(a.begin), int(a.dialled.Load())
	if r.Connections > a.options.Connections {
		r.Problems = append(r.Problems, fmt.Sprintf("%d connections were made for %d that are kept", r.Connections, a.options.Connections))
	}
	return r
}

// Quantile returns the time within which that part of the requests was answered, counted
// from the moment at which each was due.
func (r Report) Quantile(part float64) time.Duration {
	if len(r.Took) == 0 {
		return 0
	}
	took := slices.Sorted(slices.Values(r.Took))
	return took[min(len(took)-1, int(part*float64(len(took))))]
}

// Growth is by how much the memory grew from the second quarter of the load to the last
// one, in the median of each. The first quarter is that of what is made once.
func (r Report) Growth() int64 { return r.median(3, 4) - r.median(1, 2) }

// median returns the median of the memory in some quarters.
func (r Report) median(from, to int) int64 {
	part := slices.SortedFunc(slices.Values(r.Memory[len(r.Memory)*from/4:len(r.Memory)*to/4]), func(a, b Memory) int { return cmp.Compare(a.Bytes, b.Bytes) })
	if len(part) == 0 {
		return 0
	}
	return part[len(part)/2].Bytes
}

func (r Report) String() string {
	var answers []string
	for _, key := range slices.Sorted(maps.Keys(r.Answers)) {
		answers = append(answers, fmt.Sprintf("%s: %d", key, r.Answers[key]))
	}
	rate := float64(r.Requests) / r.Lasted.Seconds()
	mb := func(n int64) float64 { return float64(n) / (1 << 20) }
	return fmt.Sprintf("%d requests in %v (%.0f/s) over %d connections; p50 %v, p99 %v, max %v; memory %.1f MB in the first quarter, %.1f MB in the last, growth %+.1f MB; %s",
		r.Requests, r.Lasted.Round(time.Millisecond), rate, r.Connections, r.Quantile(0.5).Round(10*time.Microsecond), r.Quantile(0.99).Round(10*time.Microsecond),
		r.Quantile(1).Round(10*time.Microsecond), mb(r.median(0, 1)), mb(r.median(3, 4)), mb(r.Growth()), strings.Join(answers, ", "))
}
