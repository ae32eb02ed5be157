package status_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/status"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

func TestTheTableTellsWhyPeersAreMasterAndWhatIsKnownOfThem(t *testing.T) {
	now := time.Now()
	two := status.Peer{Peer: "lb2", Address: "198.51.100.2:12345", Alive: true, Priority: 5, ID: "5f7f", Heard: now.Add(-2 * time.Second)}
	late := two
	late.Heard = now.Add(-1500 * time.Millisecond)
	dead := status.Peer{Peer: "198.51.100.3", Address: "198.51.100.3:12345", Priority: 0, Heard: now.Add(-time.Minute)}
	never := status.Peer{Peer: "198.51.100.4", Address: "198.51.100.4:12345"}
	all := []status.Instance{
		{Instance: "192.0.2.10", Mode: status.Watching, State: vrrp.Backup, Since: now, Updated: now, Reason: "lb2 ranks before this host", Peers: []status.Peer{two, dead, never}},
		{Instance: "192.0.2.11", Mode: status.Watching, State: vrrp.Master, Since: now, Updated: now.Add(-time.Second), Reason: "no living peer", Peers: []status.Peer{late, never},
			Addresses: []status.Address{{Address: "192.0.2.11/32", Owner: status.Here}}},
		{Instance: "192.0.2.12", Mode: status.Watching, State: vrrp.Unknown, Since: now, Reason: "hold-off until 03:00:00"},
		{Instance: "VI_1", Mode: "fifo", State: vrrp.Backup, Since: now, Reason: "BACKUP reported"},
	}
	var out bytes.Buffer
	if err := status.Table(&out, all, now, func(status.Instance) bool { return true }); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"INSTANCE STATE SINCE ADDRESS OWNER LAST CALL LEASE NOTE",
		"192.0.2.10 BACKUP 0s ago - - - - lb2 ranks before this host",
		"192.0.2.11 MASTER 0s ago 192.0.2.11/32 this host - - -",
		"192.0.2.12 UNKNOWN 0s ago - - - - hold-off until 03:00:00",
		"VI_1 BACKUP 0s ago - - - - -",
		"",
		"PEER ADDRESS ALIVE PRIORITY LAST HEARD ID INSTANCES",
		"lb2 198.51.100.2:12345 yes 5 1s ago 5f7f 192.0.2.10, 192.0.2.11",
		"198.51.100.3 198.51.100.3:12345 no 0 1m0s ago - 192.0.2.10",
		"198.51.100.4 198.51.100.4:12345 no - never - 192.0.2.10, 192.0.2.11",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A peer is heard each second: its file must not be written with each heartbeat at once.
func TestAPeerThatIsHeardAgainIsWrittenLaterThanOneThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := status.NewBoard(dir, status.Instance{Mode: status.Watching}, journal.New(nil))
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		read := func() status.Peer {
			all, err := status.Read(dir)
			if errors.Is(err, os.ErrNotExist) || len(all) == 0 {
				return status.Peer{}
			}
			return all[0].Peers[0]
		}
		p := status.Peer{Peer: "lb2", Alive: true, Heard: time.Now()}
		b.Peers("192.0.2.10", []status.Peer{p})
		time.Sleep(300 * time.Millisecond)
		if !read().Alive {
			t.Error("the peer is not written")
		}
		p.Heard = time.Now()
		b.Peers("192.0.2.10", []status.Peer{p})
		time.Sleep(500 * time.Millisecond)
		if read().Heard.Equal(p.Heard) {
			t.Error("a time alone is written at once")
		}
		time.Sleep(time.Second)
		if !read().Heard.Equal(p.Heard) {
			t.Error("the time is not written after a while")
		}
		p.Alive = false
		b.Peers("192.0.2.10", []status.Peer{p})
		time.Sleep(300 * time.Millisecond)
		if read().Alive {
			t.Error("the death of the peer is not written")
		}
		cancel(errors.New("test is over"))
		<-done
	})
}
