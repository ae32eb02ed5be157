package faults_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/faults"
	"berth/test/lab"
)

var (
	names  = flag.String("faults", "", "names of faults to run, with commas, or all; a selection if empty")
	runs   = flag.Int("runs", 1, "runs of each fault")
	binary = flag.String("berth", "", "path of the berth under test; built if empty")
	seed   = flag.Uint64("seed", 0, "of the random run; 0 for a new one")
	length = flag.Duration("length", 0, "of the random run; less than a minute, and half an hour with BERTH_SOAK=1, if 0")
)

var (
	berth, clockBerth string
	table             results
)

func TestMain(m *testing.M) {
	flag.Parse()
	// With more labs at a time the tests would measure the machine.
	flag.Set("test.parallel", "3")
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "berth-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	berth = *binary
	if berth == "" {
		berth, err = faults.Build(dir)
	}
	if err == nil && slices.ContainsFunc(selection(), func(f faults.Fault) bool { return f.Clock }) {
		clockBerth, err = faults.BuildWithClock(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	table.print()
	return code
}

// selection returns the faults that the flags ask for.
func selection() []faults.Fault {
	wanted := strings.Split(*names, ",")
	return slices.DeleteFunc(faults.All(), func(f faults.Fault) bool {
		switch *names {
		case "":
			return !f.CI
		case "all":
			return false
		}
		return !slices.Contains(wanted, f.Name)
	})
}

func newLab(t *testing.T, o faults.Options) *faults.Lab {
	t.Helper()
	etcd, err := etcdtest.Binary()
	if err != nil {
		if os.Getenv(testnet.RequireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	testnet.Require(t)
	if o.Patroni {
		if err := lab.PatroniAvailable(); err != nil {
			t.Fatal(err) // they run by name only
		}
	}
	o.Etcd = etcd
	l, err := faults.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// newElection makes a lab in which berth runs on every host.
func newElection(t *testing.T, o faults.Options) *faults.Lab {
	t.Helper()
	if o.Berth = berth; o.Clock {
		o.Berth = clockBerth
	}
	l := newLab(t, o)
	if o.Pool > 0 {
		if err := errors.Join(l.Ready(t.Context()), l.List(t.Context(), faults.PoolAddresses(o.Pool)...)); err != nil {
			t.Fatal(err)
		}
	}
	if o.Patroni {
		if err := errors.Join(l.Ready(t.Context()), l.StartPatroni(t.Context())); err != nil {
			tell(t, l, nil)
			t.Fatal(err)
		}
	}
	for _, h := range l.Hosts {
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
		if o.Added {
			if err := l.Add(t.Context(), h); err != nil {
				tell(t, l, nil)
				t.Fatal(err)
			}
		}
		if o.Crowd > 0 { // the first one gets everything
			until(t, l, "an owner of all", func() bool { return l.Owner() != nil })
		}
	}
	return l
}

func TestFaults(t *testing.T) {
	for _, f := range selection() {
		t.Run(f.Name, func(t *testing.T) {
			if f.Crowd == 0 && !f.Patroni { // these want the machine for themselves
				t.Parallel()
			}
			var got []faults.Figures
			for n := range *runs {
				figures, ok := once(t, newElection(t, f.Options()), f, (float64(n)+0.5)/float64(*runs))
				got = append(got, figures)
				if !ok {
					break
				}
			}
			if median := middle(got, f.Without); *runs > 1 && f.Limits.Median > 0 && median > f.Limits.Median {
				t.Errorf("want no owner for %v in the median, got %v", f.Limits.Median, median)
			}
			table.add(f, got, !t.Failed())
		})
	}
}

// once does a run and judges it.
func once(t *testing.T, l *faults.Lab, f faults.Fault, phase float64) (faults.Figures, bool) {
	h, err := faults.Do(t.Context(), l, f, phase)
	var figures faults.Figures
	var problems []string
	if h != nil {
		figures, problems = faults.Judge(h)
		problems = append(problems, f.Exceeded(figures)...)
	}
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	if t.Failed() {
		tell(t, l, h)
	}
	return figures, err == nil
}

// tell logs all that is known of a run, in order.
func tell(t *testing.T, l *faults.Lab, h *faults.History) {
	type entry struct {
		at   time.Time
		text string
	}
	var all []entry
	for _, log := range l.Logs() {
		for _, line := range log.Lines() {
			if !strings.Contains(log.Name, "etcd") { // they log much, and nothing that helps
				all = append(all, entry{line.Time, log.Name + ": " + line.Text})
			}
		}
	}
	if h != nil {
		for _, c := range h.Changes {
			all = append(all, entry{c.At, fmt.Sprintf("%s: %v owned: %t", c.Host, c.Address, c.Owned)})
		}
		for _, a := range h.Announcements {
			all = append(all, entry{a.At, fmt.Sprintf("%s: announces %v", a.Host, a.Address)})
		}
		for _, a := range h.Acts {
			all = append(all, entry{a.At, "--- " + a.What})
		}
		if samples := h.Samples[h.Addresses[0]]; len(samples) > 0 {
			for i, s := range samples[1:] {
				if took := s.Sent.Sub(samples[i].Sent); s.Sent.After(h.Begin) && took > 5*lab.Interval {
					all = append(all, entry{s.Sent, fmt.Sprintf("client: asked nothing for %v", took)})
				}
			}
		}
		for _, address := range h.Addresses {
			for _, o := range h.Outages(address) {
				all = append(all, entry{o.From, fmt.Sprintf("client: %v not served for %v", address, o.Duration())})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
	for _, e := range all {
		t.Log(e.at.Format("05.000000"), e.text)
	}
}

// results is the table of measured figures.
type results struct {
	mu   sync.Mutex
	rows map[string]string
}

func middle(all []faults.Figures, of func(faults.Figures) time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	var values []time.Duration
	for _, f := range all {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

func most(all []faults.Figures, of func(faults.Figures) time.Duration) time.Duration {
	var longest time.Duration
	for _, f := range all {
		longest = max(longest, of(f))
	}
	return longest
}

func (r *results) add(f faults.Fault, got []faults.Figures, held bool) {
	two := func(f faults.Figures) time.Duration { return f.TwoOwnersMax }
	outage := func(f faults.Figures) time.Duration { return f.Outage }
	healed := func(f faults.Figures) time.Duration { return f.AfterHeal }
	heard := func(f faults.Figures) time.Duration { return f.Announced }
	limit := figure(f.Limits.NoOwner)
	if f.Limits.BeyondLease {
		limit = "outage - lease + " + limit
	}
	allowed := figure(f.Limits.TwoOwners)
	if f.Limits.Shared {
		allowed = "any"
	}
	verdict := "held"
	if !held {
		verdict = "EXCEEDED"
	}
	row := strings.Join([]string{f.Name, fmt.Sprint(len(got)), figure(most(got, two)), allowed,
		figure(middle(got, f.Without)), figure(most(got, f.Without)), limit,
		figure(middle(got, outage)), figure(most(got, outage)), figure(most(got, healed)), figure(most(got, heard)), others(f, got), verdict}, "\t|")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil {
		r.rows = make(map[string]string)
	}
	r.rows[f.Name] = row
}

// others are the figures that only some faults have, with what is allowed.
func others(f faults.Fault, got []faults.Figures) string {
	var list []string
	for _, o := range []struct {
		what    string
		of      func(faults.Figures) time.Duration
		allowed time.Duration
	}{
		{"one owner again", func(f faults.Figures) time.Duration { return f.OneAgain }, f.Limits.OneAgain},
		{"left", func(f faults.Figures) time.Duration { return f.Left }, f.Limits.Left},
		{"dropped", func(f faults.Figures) time.Duration { return f.Dropped }, f.Limits.Dropped},
	} {
		if o.allowed > 0 {
			list = append(list, fmt.Sprintf("%s %s of %s", o.what, figure(most(got, o.of)), figure(o.allowed)))
		}
	}
	moves, uneven := 0, 0
	for _, g := range got {
		moves, uneven = max(moves, g.Moves), max(uneven, g.Uneven)
	}
	if f.Pool || f.Limits.Moves > 0 {
		list = append(list, fmt.Sprintf("%d moves", moves))
	}
	if f.Pool {
		list = append(list, fmt.Sprintf("even to %d", uneven))
	}
	return strings.Join(list, ", ")
}

func figure(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return d.Round(10 * time.Microsecond).String()
}

func (r *results) print() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rows) == 0 {
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "lease %v\t|\t|two owners\t|\t|no owner\t|\t|\t|client\t|\t|after heal\t|heard\t|also (max)\t|\n", faults.Lease)
	fmt.Fprintln(w, "fault\t|runs\t|max\t|allowed\t|median\t|max\t|allowed\t|median\t|max\t|max\t|max\t|\t|")
	for _, f := range faults.All() {
		if row, ok := r.rows[f.Name]; ok {
			fmt.Fprintln(w, row)
		}
	}
	w.Flush()
}
