package e2e_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

// follower is a host with berth, and a REST interface that answers as the test says, so
// that it needs no Patroni.
type follower struct {
	testnet.Rig
	t      *testing.T
	host   *testnet.Node
	status atomic.Int64
	hangs  atomic.Bool
	asked  atomic.Int64 // when the last request came that was answered by 200, in nanoseconds
	berth  *testnet.Process

	bound, unbound atomic.Int64 // how often the address came and went
	changed        atomic.Int64 // when, in nanoseconds
}

func newFollower(t *testing.T) *follower {
	t.Helper()
	testnet.Require(t)
	f := &follower{t: t}
	f.status.Store(http.StatusOK)
	t.Cleanup(func() {
		if t.Failed() {
			for _, log := range f.Logs() {
				t.Log(log)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	far, err := f.Node("far")
	f.must(err)
	f.host, err = f.Node("db1")
	f.must(err)
	f.must(testnet.Cable(f.host, dbLink, far, dbLink))
	f.must(far.Up(dbLink))
	f.must(f.host.Up(dbLink))
	f.must(f.host.WatchAddresses(func(e testnet.AddressEvent) {
		if e.Address.Addr() != dbAddress {
			return
		}
		if f.changed.Store(e.Time.UnixNano()); e.Added {
			f.bound.Add(1)
		} else {
			f.unbound.Add(1)
		}
	}))
	f.must(f.host.Install(lab.BerthPath, berth, 0o755))
	f.must(f.host.WriteFile(lab.BerthConf, leaderConf, 0o600))
	f.serve()
	return f
}

// serve answers as Patroni does: by HTTP/1.0, with a connection for each request.
func (f *follower) serve() {
	var l net.Listener
	f.must(f.host.Do(func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:8008")
		return err
	}))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		if f.hangs.Load() {
			<-r.Context().Done()
			return
		}
		status := int(f.status.Load())
		if status == http.StatusOK {
			f.asked.Store(begun.UnixNano())
		}
		w.Header().Set("Connection", "close")
		w.WriteHeader(status)
	})}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	f.OnClose(func() error {
		err := server.Close()
		<-done
		return err
	})
}

func (f *follower) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// elects starts berth.
func (f *follower) elects() {
	f.t.Helper()
	var err error
	f.berth, err = f.host.Start("berth", lab.BerthPath, "elect", lab.BerthConf)
	f.must(err)
	f.Record(f.berth.Log)
}

// until waits until the address has come and gone so often, and returns when it last did.
func (f *follower) until(bound, unbound int64) time.Time {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), waitLimit)
	defer cancel()
	f.must(f.Wait(ctx, "the address to come and go", func() bool { return f.bound.Load() >= bound && f.unbound.Load() >= unbound }))
	return time.Unix(0, f.changed.Load())
}

// says waits for a line of the berth that runs.
func (f *follower) says(text string, since time.Time) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), waitLimit)
	defer cancel()
	f.must(f.Wait(ctx, "berth to say "+text, func() bool {
		_, ok := f.berth.Log.Find(since, contains(text))
		return ok
	}))
}

// A process that goes on within the lifetime of the addresses leaves them where they are.
func TestAFollowerThatBeginsAnewMovesNothing(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.elects()
	f.until(1, 0)
	for _, how := range []unix.Signal{unix.SIGHUP, unix.SIGUSR2, unix.SIGKILL} {
		f.says("addresses are bound", time.Time{})
		begun := time.Now()
		f.must(f.berth.Signal(how))
		if how != unix.SIGHUP {
			<-f.berth.Done()
			f.elects()
		}
		f.says("addresses are bound", begun)
	}
	if n := f.unbound.Load(); n > 0 {
		t.Errorf("want the address never gone, it went %d times", n)
	}
	begun := time.Now()
	f.must(f.berth.Signal(unix.SIGTERM))
	if took := f.until(1, 1).Sub(begun); took > 300*time.Millisecond {
		t.Errorf("want the address gone at once after SIGTERM, it took %v", took)
	}
	<-f.berth.Done()
	if code := f.berth.ExitCode(); code != 0 {
		t.Errorf("want status 0, got %d", code)
	}
}

// The times of term.go, measured: the address goes in the time from the last 200 in which
// the kernel, or berth, removes it.
func TestAnAddressEndsInTimeAfterTheLastAnswer(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.elects()
	gone := int64(0)
	measure := func(what string, least, most time.Duration, begin, end func()) {
		t.Helper()
		f.until(gone+1, gone)
		begin()
		gone++
		at := f.until(gone, gone)
		took := at.Sub(time.Unix(0, f.asked.Load()))
		t.Logf("%s: gone %v after the last 200", what, took.Round(time.Millisecond))
		if took < least || took > most {
			t.Errorf("%s: want the address gone within %v, and not before %v, it took %v", what, most, least, took)
		}
		end()
	}
	// A machine with other tests is late by itself.
	const slow = 300 * time.Millisecond
	for range 3 {
		measure("berth frozen", 900*time.Millisecond, 3410*time.Millisecond+slow, func() { f.must(f.berth.Signal(unix.SIGSTOP)) }, func() { f.must(f.berth.Signal(unix.SIGCONT)) })
	}
	measure("Patroni frozen", 2200*time.Millisecond, 3*time.Second+slow, func() { f.hangs.Store(true) }, func() { f.hangs.Store(false) })
	f.until(gone+1, gone)
	f.status.Store(http.StatusServiceUnavailable)
	gone++
	f.until(gone, gone) // by the next request
}

// A process that takes the place of another within the lifetime of the addresses goes on with
// what that one found of the health checks; one that begins later does not, although Patroni
// says that the host is the leader.
func TestAFollowerThatBeginsLaterAsksItsChecksFirst(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.must(f.host.WriteFile(lab.BerthConf, leaderConf+`health: [{tcp: {address: "127.0.0.1:5432"}, interval: 500ms, rise: 1, fall: 4}]`+"\n", 0o600))
	var db net.Listener
	f.must(f.host.Do(func() (err error) {
		db, err = net.Listen("tcp", "127.0.0.1:5432")
		return err
	}))
	defer db.Close()
	f.elects()
	f.until(1, 0)
	f.must(f.berth.Signal(unix.SIGTERM))
	f.until(1, 1)
	<-f.berth.Done()
	f.must(db.Close())
	f.elects()
	f.says("a health check has failed too often in a row", time.Time{})
	if n := f.bound.Load(); n != 1 {
		t.Errorf("want the address bound by no process whose check never passed, it was bound %d times", n)
	}
}

// A check that hangs does not keep a process from ending before its addresses do.
func TestACheckThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.must(f.host.WriteFile(lab.BerthConf, leaderConf+`health: [{tcp: {address: "127.0.0.1:5432", banner: ready}, interval: 1m, timeout: 1m, rise: 1}]`+"\n", 0o600))
	var db net.Listener
	f.must(f.host.Do(func() (err error) {
		db, err = net.Listen("tcp", "127.0.0.1:5432")
		return err
	}))
	defer db.Close()
	f.elects()
	c, err := db.Accept() // and say nothing
	f.must(err)
	defer c.Close()
	begun := time.Now()
	f.must(f.berth.Signal(unix.SIGTERM))
	<-f.berth.Done()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// A program of a check that is missing is a check that fails, and no mistake for which the
// process cannot begin anew.
func TestAMissingProgramOfACheckKeepsNoProcessFromBeingReplaced(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.must(f.host.WriteFile(lab.BerthConf, leaderConf+"health: [{exec: {command: [/nowhere/check]}}]\n", 0o600))
	f.elects()
	begun := time.Time{}
	for _, how := range []unix.Signal{unix.SIGHUP, unix.SIGUSR2} {
		f.says("a health check has failed too often in a row", begun)
		begun = time.Now()
		f.must(f.berth.Signal(how))
		f.says("addresses stay for the next process", begun)
	}
	<-f.berth.Done()
}
