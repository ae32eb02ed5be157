package fifo

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

func TestParseLine(t *testing.T) {
	state := func(name string, s vrrp.State, prio int) vrrp.Event {
		return vrrp.Event{Source: "fifo", Instance: name, State: s, Priority: prio}
	}
	for _, row := range []struct {
		name, line string
		want       vrrp.Event
		irrelevant bool
		err        string
	}{
		{name: "MASTER", line: `INSTANCE "VI_1" MASTER 150`, want: state("VI_1", vrrp.Master, 150)},
		{name: "BACKUP", line: `INSTANCE "VI_1" BACKUP 1`, want: state("VI_1", vrrp.Backup, 1)},
		{name: "FAULT", line: `INSTANCE "VI_1" FAULT 255`, want: state("VI_1", vrrp.Fault, 255)},
		{name: "STOP", line: `INSTANCE "VI_1" STOP 100`, want: state("VI_1", vrrp.Stop, 100)},
		{name: "DELETED", line: `INSTANCE "VI_1" DELETED 100`, want: state("VI_1", vrrp.Deleted, 100)},
		{name: "verify now", line: `INSTANCE "VI_1" MASTER_RX_LOWER_PRI 100`, want: vrrp.Event{Source: "fifo", Instance: "VI_1", Kind: vrrp.VerifyNow, Priority: 100}},
		{name: "priority of a MASTER", line: `INSTANCE "VI_1" MASTER_PRIORITY 90`, want: vrrp.Event{Source: "fifo", Instance: "VI_1", Kind: vrrp.PriorityChange, Priority: 90}},
		{name: "priority of another", line: `INSTANCE "VI_1" BACKUP_PRIORITY 90`, want: vrrp.Event{Source: "fifo", Instance: "VI_1", Kind: vrrp.PriorityChange, Priority: 90}},
		{name: "sync group", line: `GROUP "G" MASTER 0`, want: vrrp.Event{Source: "fifo", Group: true, Instance: "G", State: vrrp.Master}},
		{name: "name with spaces", line: `INSTANCE "two words" MASTER 1`, want: state("two words", vrrp.Master, 1)},
		{name: "name that holds a state and a number", line: `INSTANCE "a BACKUP 1" MASTER 2`, want: state("a BACKUP 1", vrrp.Master, 2)},
		{name: "name like a flag", line: `INSTANCE "-odd" MASTER 2`, want: state("-odd", vrrp.Master, 2)},
		{name: "name with backslash, hash and apostrophe", line: `INSTANCE "a\#'b" MASTER 2`, want: state(`a\#'b`, vrrp.Master, 2)},
		{name: "name that is not UTF-8", line: "INSTANCE \"\xff\x01\" MASTER 2", want: state("\xff\x01", vrrp.Master, 2)},
		{name: "empty name", line: `INSTANCE "" MASTER 2`, want: state("", vrrp.Master, 2)},
		{name: "by hand without quotes", line: `INSTANCE VI_1 MASTER 2`, want: state("VI_1", vrrp.Master, 2)},
		{name: "by hand without priority", line: `INSTANCE "VI_1" BACKUP`, want: state("VI_1", vrrp.Backup, 0)},
		{name: "virtual server", line: `VS [192.0.2.1]:tcp:80 UP`, irrelevant: true},
		{name: "real server of a group with spaces", line: `RS [192.0.2.2]:tcp:80 [a b]:80 DOWN`, irrelevant: true},
		{name: "empty line", line: ``, irrelevant: true},
		{name: "unknown state word", line: `INSTANCE "VI_1" DREAMING 1`, err: `unknown state word "DREAMING"`},
		{name: "in keepalived's source but never written", line: `INSTANCE "VI_1" {UNKNOWN} 1`, err: `unknown state word "{UNKNOWN}"`},
		{name: "state in small letters", line: `INSTANCE "VI_1" master 1`, err: `unknown state word "master"`},
		{name: "unknown type", line: `CLUSTER "VI_1" MASTER 1`, err: "line does not begin with INSTANCE or GROUP"},
		{name: "leading space", line: ` INSTANCE "VI_1" MASTER 1`, err: "line does not begin with INSTANCE or GROUP"},
		{name: "quote in the name", line: `INSTANCE "a"b" MASTER 1`, err: "name holds a double quote"},
		{name: "quote never closed", line: `INSTANCE "VI_1 MASTER 1`, err: "name has no closing quote"},
		{name: "type alone", line: `INSTANCE`, err: "state is missing"},
		{name: "name alone", line: `INSTANCE "VI_1" `, err: "expected a state and a priority after the name"},
		{name: "priority is not a number", line: `INSTANCE "VI_1" MASTER x`, err: "priority is not a number from 0 to 255"},
		{name: "priority out of range", line: `INSTANCE "VI_1" MASTER 256`, err: "priority is not a number from 0 to 255"},
		{name: "too many words", line: `INSTANCE "VI_1" MASTER 1 2`, err: "expected a state and a priority after the name"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, relevant, err := ParseLine([]byte(row.line))
			if row.err != "" {
				if err == nil || err.Error() != row.err || relevant {
					t.Fatalf("got %+v, relevant %v, error %v; want error %q", got, relevant, err, row.err)
				}
				return
			}
			if err != nil || relevant == row.irrelevant {
				t.Fatalf("relevant %v, error %v", relevant, err)
			}
			if diff := cmp.Diff(row.want, got); relevant && diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSplitterJoinsLinesHoweverTheyArrive(t *testing.T) {
	text := "one\n\ntwo two\n" + strings.Repeat("x", maxLine) + "\n" + strings.Repeat("y", maxLine+1) + "\nthree\nunfinished"
	want := []string{"one", "", "two two", strings.Repeat("x", maxLine), "three"}
	for _, size := range []int{1, 2, 3, 7, 4095, 4096, 4097, len(text)} {
		var s splitter
		var got []string
		long := 0
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			s.feed(rest[:n], func(l []byte) { got = append(got, string(l)) }, func() { long++ })
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, got); diff != "" || long != 1 {
			t.Errorf("chunks of %d: %d too long, want 1; lines (-want +got):\n%s", size, long, diff)
		}
	}
}

func TestSplitterDoesNotGrowOnAnEndlessLine(t *testing.T) {
	var s splitter
	long := 0
	chunk := bytes.Repeat([]byte("z"), 64<<10)
	for range 1000 {
		s.feed(chunk, func([]byte) { t.Fatal("got a line without a newline") }, func() { long++ })
	}
	if cap(s.partial) > maxLine || long != 1 {
		t.Errorf("kept %d bytes and complained %d times, want %d at most and once", cap(s.partial), long, maxLine)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, line := range []string{`INSTANCE "VI_1" MASTER 150`, `GROUP "a b" FAULT 0`, `VS [192.0.2.1]:tcp:80 UP`, `INSTANCE "a"" MASTER 1`, "", `INSTANCE "`, `INSTANCE x BACKUP`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		ev, relevant, err := ParseLine(line)
		if err != nil || !relevant || ev.Kind != vrrp.StateChange {
			return
		}
		// The event, printed as keepalived prints it and parsed again, is the same.
		kind := "INSTANCE"
		if ev.Group {
			kind = "GROUP"
		}
		again, _, err := ParseLine(fmt.Appendf(nil, "%s \"%s\" %s %d", kind, ev.Instance, ev.State, ev.Priority))
		if err != nil || !cmp.Equal(ev, again) {
			t.Errorf("%q is %+v, printed and parsed again %+v, %v", line, ev, again, err)
		}
	})
}
