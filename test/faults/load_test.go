package faults_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/faults"
)

// loads are the short form of the load, which is for every change, and the long one, that
// make faults FAULTS=api-load asks for.
var (
	shortLoad = loadForm{faults.LoadOptions{Rate: 200, Connections: 8}, 3 * time.Second, 0}
	longLoad  = loadForm{faults.LoadOptions{Rate: 1000, Connections: 16}, 30 * time.Second, 0}
)

type loadForm struct {
	faults.LoadOptions
	lasts time.Duration // at least
	pairs int           // of runs, without the load and with it; 0 for one run under it alone
}

const (
	// grown is by how much the memory of a member may grow while the load lasts: what the
	// collector of Go leaves to chance, and not what thousands of requests would leave
	// behind.
	grown = 6 << 20
	// delayed is by how much the load may delay a take-over in the median: by the time
	// between two renewals of the lease, which the owner may have been killed in at any moment.
	delayed = faults.Lease / 5
)

// The API of a member is asked by many while the owner of an address is killed, and while
// it hands over: each request gets its answer, the memory does not grow, and the address
// has its next owner as soon as without the load.
func TestAPIUnderLoad(t *testing.T) {
	form := shortLoad
	if *names != "" {
		if !slices.Contains(strings.Split(*names, ","), "api-load") && *names != "all" {
			t.Skip("is not asked for")
		}
		form = longLoad
		form.pairs = *runs
	}
	all := faults.All()
	for _, name := range []string{"added-kill9", "added-failover"} {
		t.Run(name, func(t *testing.T) {
			if form.pairs == 0 { // the long one wants the machine for itself
				t.Parallel()
			}
			f := all[slices.IndexFunc(all, func(f faults.Fault) bool { return f.Name == name })]
			l := newElection(t, f.Options())
			if form.pairs == 0 {
				underLoad(t, l, f, 0.5, form)
				return
			}
			var idle, loaded []faults.Figures
			for n := range form.pairs {
				phase := (float64(n) + 0.5) / float64(form.pairs)
				figures, ok := once(t, l, f, phase)
				idle = append(idle, figures)
				if ok {
					figures, ok = underLoad(t, l, f, phase, form)
					loaded = append(loaded, figures)
				}
				if !ok {
					return
				}
			}
			without, with := middle(idle, f.Without), middle(loaded, f.Without)
			fmt.Printf("%s: no owner for %v without the load, for %v under it, in the median of %d runs\n", name, without, with, form.pairs)
			if form.pairs > 1 && with > without+delayed {
				t.Errorf("want a take-over that the load does not delay, got %v in place of %v", with, without)
			}
		})
	}
}

// underLoad does a run while the API of a member that survives is asked: of the owner when
// it hands over, of another member when the owner is killed.
func underLoad(t *testing.T, l *faults.Lab, f faults.Fault, phase float64, form loadForm) (faults.Figures, bool) {
	t.Helper()
	if err := l.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	victim := l.Victim()
	asked := victim
	if f.Name == "added-kill9" {
		asked = l.Hosts[(slices.Index(l.Hosts, victim)+1)%len(l.Hosts)]
	}
	load, err := l.StartLoad(t.Context(), asked, form.LoadOptions)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	// The fault comes in the middle.
	<-time.After(max(0, (form.lasts-f.Lasts)/2))
	figures, ok := once(t, l, f, phase)
	<-time.After(form.lasts - time.Since(begun))
	report := load.Stop()
	fmt.Printf("%s under load: no owner for %v, allowed %v; %v\n", f.Name, f.Without(figures), f.Limits.NoOwner, report)
	for _, p := range report.Problems[:min(20, len(report.Problems))] {
		t.Error(p)
	}
	if n := len(report.Problems); n > 20 {
		t.Errorf("%d problems in all", n)
	}
	if report.Growth() > grown {
		t.Errorf("want memory that does not grow, got %v", report)
	}
	if want := int(0.9 * float64(form.Rate) * report.Lasted.Seconds()); report.Requests < want {
		t.Errorf("want at least %d requests, got %d", want, report.Requests)
	}
	return figures, ok && !t.Failed()
}
