package election_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// outage is a member with three instances beside an etcd with one member, and what is
// told at info and above.
type outage struct {
	*testing.T
	etcd *etcdtest.Cluster
	said *observer.ObservedLogs

	// State of late: whether an outage was told that has not ended, and whether the end of
	// the watch was told rightly beside it, which it can be from earliest on.
	open, unwatched bool
	earliest        time.Time
}

// unwatchedLasting is how long the watch must be away before that is told.
const unwatchedLasting = 3 * time.Second

func newOutage(t *testing.T, change func(*election.Member)) *outage {
	t.Parallel()
	core, said := observer.New(zap.InfoLevel)
	o := &outage{T: t, etcd: start(t, 1, etcdtest.Options{}), said: said}
	etcd, err := election.NewEtcd(election.Options{Endpoints: o.etcd.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	m := &election.Member{Etcd: etcd, Prefix: prefix, Name: "a", TTL: ttl, Journal: journal.New(zap.New(core))}
	change(m)
	m.Init()
	ctx, cancel := context.WithCancelCause(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		_ = m.Run(ctx, func(ctx context.Context) error {
			var campaigns sync.WaitGroup
			for _, name := range []string{"api", "db", "web"} {
				campaigns.Go(func() {
					_ = m.Campaign(ctx, election.Campaign{Instance: name}, func(ctx context.Context, _ election.Grant) error {
						<-ctx.Done()
						return context.Cause(ctx)
					})
				})
			}
			campaigns.Wait()
			return context.Cause(ctx)
		})
	})
	t.Cleanup(func() { cancel(errors.New("test ends")); running.Wait(); etcd.Close() })
	return o
}

// until waits until a number of lines with a text were told since the last call of
// lines.
func (o *outage) until(n int, text string) {
	o.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); o.said.FilterMessage(text).Len() < n; <-tick.C {
		if time.Now().After(end) {
			o.Fatalf("want %d times %q, got %v", n, text, o.said.All())
		}
	}
}

// kill ends etcd.
func (o *outage) kill() {
	o.Helper()
	o.earliest = time.Now().Add(unwatchedLasting)
	if err := o.etcd.Member(0).Kill(); err != nil {
		o.Fatal(err)
	}
}

// late reports whether a line is there only because the machine is busy: the watch was
// away for unwatchedLasting while no renewal was missed yet, or after the outage.
func (o *outage) late(code string, ends bool, at time.Time) bool {
	switch {
	case slices.Contains(election.Outage, code):
		o.open, o.earliest = !ends, at.Add(unwatchedLasting)
	case code != "etcd-unwatched":
	case ends:
		told := o.unwatched
		o.unwatched = false
		return told
	default:
		o.unwatched = !o.open && !at.Before(o.earliest)
		return o.unwatched
	}
	return false
}

// lines returns what was told since the last call: level, code and instance, sorted.
func (o *outage) lines() string {
	var lines []string
	for _, e := range o.said.TakeAll() {
		fields := e.ContextMap()
		_, ends := fields["after"]
		ends = ends && e.Level == zapcore.InfoLevel
		over := ""
		if ends {
			over = " over"
		}
		if o.late(fmt.Sprint(fields["code"]), ends, e.Time) {
			continue
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%v %v%s %v", e.Level, fields["code"], over, fields["instance"])))
	}
	slices.Sort(lines)
	return strings.ReplaceAll(strings.Join(lines, "\n"), " <nil>", "")
}

// An operator reads why the lease has ended and what that means for each instance, and
// nothing of what follows from it, such as that the queues cannot be followed.
func TestAnOutageOfEtcdTellsEachFactOnce(t *testing.T) {
	o := newOutage(t, func(*election.Member) {})
	o.until(3, "became the owner")
	o.lines()
	o.kill()
	o.until(1, "cannot get a lease from etcd yet; trying again")
	o.until(3, "no longer the owner")
	<-time.After(ttl) // for what must not be told
	want := strings.Join([]string{
		"info instance-lost api", "info instance-lost db", "info instance-lost web",
		"warn lease-ended", "warn lease-unacknowledged", "warn lease-unobtained"}, "\n")
	if got := o.lines(); got != want {
		t.Errorf("in the outage: want\n%s\ngot\n%s", want, got)
	}
	if err := o.etcd.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	o.until(3, "became the owner")
	<-time.After(6 * time.Second) // longer than what follows may be held back
	want = strings.Join([]string{
		"info instance-acquired api", "info instance-acquired db", "info instance-acquired web",
		"info lease-unobtained over"}, "\n")
	if got := o.lines(); got != want {
		t.Errorf("after the outage: want\n%s\ngot\n%s", want, got)
	}
}

func TestAnOutageThatALeaseOutlastsTellsItsBeginningAndItsEnd(t *testing.T) {
	o := newOutage(t, func(m *election.Member) { m.TTL = 20 * time.Second })
	o.until(3, "became the owner")
	o.lines()
	o.kill()
	o.until(1, "etcd does not acknowledge the lease; trying the other endpoints")
	<-time.After(5 * time.Second)
	if err := o.etcd.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	o.until(1, "etcd acknowledges the lease again")
	<-time.After(6 * time.Second)
	if want, got := "info lease-unacknowledged over\nwarn lease-unacknowledged", o.lines(); got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
}

func TestAnOutageThatIsIgnoredTellsThatTheLeaseIs(t *testing.T) {
	o := newOutage(t, func(m *election.Member) { m.Retain, m.TTL = true, 8*time.Second })
	o.until(3, "became the owner")
	o.lines()
	o.kill()
	o.until(1, "etcd does not answer; going on without the lease, as on-etcd-loss says")
	<-time.After(ttl)
	if err := o.etcd.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	o.until(1, "etcd acknowledges the lease again")
	<-time.After(6 * time.Second)
	if want, got := "error lease-ignored\ninfo lease-ignored over\nwarn lease-unacknowledged", o.lines(); got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
}
