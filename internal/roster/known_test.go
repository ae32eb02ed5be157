package roster_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/condition"
	"berth/internal/roster"
	"berth/providers"

	"go.uber.org/zap/zaptest/observer"
)

const holdOff = 3100 * time.Millisecond

// holds compares a condition with the start of the reason why it does not hold, "" if it does.
func holds(t *testing.T, c condition.Condition, when, want string) {
	t.Helper()
	synctest.Wait()
	if ok, reason := c.State(); ok != (want == "") || !strings.HasPrefix(reason, want) {
		t.Errorf("%s: got %v %q, want %q", when, ok, reason, want)
	}
}

// A host that could not read the group yet would take no peers for no living peers.
func TestAGroupThatWasNeverReadIsNotAGroupWithoutPeers(t *testing.T) {
	c, known := &cloud{err: errors.New("HTTP status 503")}, &condition.Value{}
	play(t, roster.Options{Group: c.group, Port: 1, Known: known, HoldOff: holdOff}, func(t *testing.T, n *node, _ *observer.ObservedLogs) {
		holds(t, known, "at the start", "the group of the peers has not been read yet")
		time.Sleep(time.Hour)
		holds(t, known, "after an hour of failures", "the group of the peers has not been read yet")
		c.set(nil, server("a", "lb1", true, "198.51.100.1"), server("b", "lb2", false, "198.51.100.2"))
		for n.told() == "" {
			time.Sleep(100 * time.Millisecond)
		}
		want(t, n, "when the group is read", "lb2=198.51.100.2:1")
		time.Sleep(holdOff - 200*time.Millisecond)
		holds(t, known, "while the peers are heard first", "its peers are known since ")
		time.Sleep(300 * time.Millisecond)
		holds(t, known, "after that", "")
		c.set(errors.New("HTTP status 503"))
		time.Sleep(time.Hour)
		holds(t, known, "when it cannot be read any more", "")
	})
}

// The peers of an owner that is started again must hear it before the provider has told
// the group.
func TestTheGroupOfTheProcessBeforeIsKnownAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peers-web.json")
	read := &cloud{members: []providers.Member{server("a", "lb1", true, "198.51.100.1"), server("b", "lb2", false, "198.51.100.2")}}
	play(t, roster.Options{Group: read.group, Port: 1, Memory: file}, func(*testing.T, *node, *observer.ObservedLogs) { time.Sleep(time.Second) })
	unread, known := &cloud{err: errors.New("HTTP status 503")}, &condition.Value{}
	play(t, roster.Options{Group: unread.group, Port: 2, Memory: file, Known: known, HoldOff: holdOff}, func(t *testing.T, n *node, _ *observer.ObservedLogs) {
		want(t, n, "at the start", "lb2=198.51.100.2:2")
		holds(t, known, "at the start", "")
		time.Sleep(time.Hour)
		holds(t, known, "later", "")
	})
	if err := os.WriteFile(file, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	known = &condition.Value{}
	play(t, roster.Options{Group: unread.group, Port: 2, Memory: file, Known: known, HoldOff: holdOff}, func(t *testing.T, n *node, logs *observer.ObservedLogs) {
		holds(t, known, "with a broken file", "the group of the peers has not been read yet")
		if count(logs, "roster-memory-ignored") != 1 {
			t.Errorf("told %v", logs.All())
		}
	})
}

// failing are names whose look-ups fail with an error each.
type failing map[string]error

func (f failing) Former(string) []netip.Addr { return nil }

func (f failing) Addresses(_ context.Context, name string) ([]netip.Addr, error) {
	if err := f[name]; err != nil {
		return nil, err
	}
	return []netip.Addr{addr("198.51.100.2")}, nil
}

func TestAPeerWhoseNameCannotBeLookedUpMayLiveAndOneWhoseNameDoesNotExistNot(t *testing.T) {
	timeout, missing := &net.DNSError{Err: "i/o timeout", IsTimeout: true}, &net.DNSError{Err: "no such host", IsNotFound: true}
	for _, row := range []struct {
		name string
		err  error
		want string
	}{
		{"known", nil, ""}, {"no answer", timeout, "the address of the peer lb3 is not known yet"}, {"does not exist", missing, ""},
	} {
		known := &condition.Value{}
		o := roster.Options{Names: failing{"lb3": row.err}, Hosts: []roster.Host{{"198.51.100.9", 1}, {"lb2", 1}, {"lb3", 1}}, Known: known, HoldOff: holdOff}
		play(t, o, func(t *testing.T, _ *node, _ *observer.ObservedLogs) {
			time.Sleep(time.Hour)
			holds(t, known, row.name, row.want)
		})
	}
	// Without names there is nothing to wait for.
	known := &condition.Value{}
	play(t, roster.Options{Hosts: []roster.Host{{"198.51.100.9", 1}}, Known: known}, func(t *testing.T, _ *node, _ *observer.ObservedLogs) {
		holds(t, known, "addresses", "")
	})
}
