package e2e_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/lab"
)

// Two instances, one of each family, whose MASTERs are different hosts at first.
func TestFloatingIPsAndPacketsFollowTheMaster(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.configure(f.host1, mode, lab.Fast, instance4(150), instance6(100))
		f.configure(f.host2, mode, lab.Fast, instance4(100), instance6(150))
		four, six := f.client(lab.IPv4a, lab.IPv4b), f.client(lab.IPv6n, lab.IPv6c)

		k1 := f.keepalived(f.host1)
		begin := time.Now()
		f.served(f.host1, begin, append(four, six...)...) // no other host is up
		f.keepalived(f.host2)
		f.served(f.host2, begin, six...)
		f.served(f.host1, begin, four...)

		stopped := time.Now()
		f.must(k1.Stop(f.context()))
		f.served(f.host2, stopped, append(four, six...)...)

		// The better one returns and takes its instance back, and only that.
		returned := time.Now()
		f.keepalived(f.host1)
		f.served(f.host1, returned, four...)
		_, has4 := f.host2.Has(lab.IPv4a)
		f.pass(time.Second, six[0])
		f.served(f.host2, has4, six...)
	})
}

// A floating IP that another client of the API moves comes back by the next refresh.
func TestStolenFloatingIPIsTakenBack(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.configure(f.host1, mode, lab.Fast, instance4(100))
		client := f.client(lab.IPv4a)
		f.keepalived(f.host1)
		f.served(f.host1, time.Now(), client...)

		stolen := time.Now()
		f.must(f.Assign(lab.IPv4a, f.host2))
		f.until("the floating IP to come back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
		f.served(f.host1, stolen, client...)
		// At the latest with the first refresh: its interval plus a tenth, and
		// the call itself.
		back := time.Now()
		if got, want := back.Sub(stolen)-client[0].Stalled(stolen, back), 550*time.Millisecond+500*time.Millisecond; got > want {
			t.Errorf("want it back within %v, got %v", want, got)
		}
	})
}

// berth is away while keepalived becomes MASTER: the line waits in the FIFO,
// which keepalived holds open, and the next berth reads it.
func TestServiceReadsWhatWaitsInTheFIFO(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.must(f.host1.ConfigureBerth(lab.Fast))
	f.must(f.host1.ConfigureKeepalived(lab.FIFO, instance4(100)))
	client := f.client(lab.IPv4a)
	first, err := f.host1.StartService(f.context(), "--verbose")
	f.must(err)
	f.must(first.Signal(unix.SIGKILL))
	<-first.Done()
	f.keepalived(f.host1)
	f.bound(f.host1, lab.IPv4a, time.Time{})

	_, err = f.host1.StartService(f.context(), "--verbose")
	f.must(err)
	f.served(f.host1, time.Now(), client...)
}

// Between becoming MASTER and the claim berth does nothing that it could have done
// before.
func TestFirstCallOfANewOwnerIsTheClaim(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, equals(instance4(100)))
	f.configure(f.host2, lab.FIFO, lab.Fast, equals(instance4(100)))
	client := f.client(lab.IPv4a, lab.IPv4b)
	k1 := f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.standby(f.host2)
	f.pass(time.Second, client[0])
	before := time.Now()
	f.must(k1.Stop(f.context()))
	f.served(f.host2, before, client...)
	calls := f.Requests(f.host2, before)
	if !calls[0].Write {
		t.Errorf("want a claim as first call of host2, got %v", calls)
	}
	// An idle host asks for nothing.
	if idle := f.Requests(f.host2, before.Add(-500*time.Millisecond)); len(idle) != len(calls) {
		t.Errorf("want no call of a host that is BACKUP, got %v", idle)
	}
}

// Where the configuration does not name the server, berth asks the provider's
// metadata service, at the address that all clouds use.
func TestOwnServerIsFoundByMetadata(t *testing.T) {
	t.Parallel()
	f := newField(t)
	client := f.client(lab.IPv4a)
	f.must(f.host1.WriteFile(lab.BerthConf, "provider: cloudscale\ncloudscale: {endpoint: "+lab.Endpoint+", token: "+lab.Token+"}\n", 0o600))
	f.must(f.host1.ConfigureKeepalived(lab.FIFO, instance4(100)))
	_, err := f.host1.StartService(f.context(), "--verbose")
	f.must(err)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
}

// The log has one line for each takeover, which an operator reads first.
func TestTakeoverIsLoggedOnce(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(100))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.pass(2*time.Second, client[0])
	for _, log := range f.Logs() {
		if log.Name != "host1 berth" {
			continue
		}
		told := 0
		for _, line := range log.Lines() {
			if strings.Contains(line.Text, "MASTER") && strings.Contains(line.Text, "VI_4") && !strings.Contains(line.Text, "debug") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("want one line that VI_4 is MASTER, got %d in:\n%s", told, log)
		}
	}
}
