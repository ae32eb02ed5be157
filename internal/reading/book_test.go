package reading

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// writeVI1 writes a keepalived.conf with an instance of one address.
func writeVI1(t *testing.T, path, ip string) {
	t.Helper()
	text := "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n " + ip + "\n }\n}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An address went on being claimed after it was taken out of the file: the old text
// was read, and the stamp of the new one remembered.
func TestAFileThatChangesUnderTheReadingIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	writeVI1(t, path, "192.0.2.1/32")
	reads := 0
	b := &Book{Path: path, Options: keepalivedconf.Options{Interfaces: func(string) (int, bool) {
		if reads++; reads == 1 {
			writeVI1(t, path, "192.0.2.22/32")
		}
		return 1500, true
	}}}
	ips, err := b.Addresses("VI_1")
	if err != nil || len(ips) != 1 || ips[0].String() != "192.0.2.22/32" {
		t.Errorf("got %v, %v; want what the file holds now", ips, err)
	}
}

func TestATakeoverDoesNotWaitForAReadingThatTakesLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	writeVI1(t, path, "192.0.2.1/32")
	reading, goOn := make(chan struct{}), make(chan struct{})
	reads := 0
	b := &Book{Path: path, Options: keepalivedconf.Options{Interfaces: func(string) (int, bool) {
		if reads++; reads == 2 {
			close(reading)
			<-goOn
		}
		return 1500, true
	}}}
	if _, err := b.Addresses("VI_1"); err != nil {
		t.Fatal(err)
	}
	writeVI1(t, path, "192.0.2.22/32")
	changed := b.Watch()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	<-reading
	answered := make(chan []vrrp.FloatingIP, 1)
	running.Go(func() {
		ips, _ := b.Addresses("VI_1")
		answered <- ips
	})
	select {
	case ips := <-answered:
		if len(ips) != 1 || ips[0].String() != "192.0.2.1/32" {
			t.Errorf("got %v, want the last good reading", ips)
		}
	case <-time.After(10 * time.Second):
		t.Error("the addresses wait for the new reading")
	}
	close(goOn)
	<-changed
	if ips, _ := b.Addresses("VI_1"); len(ips) != 1 || ips[0].String() != "192.0.2.22/32" {
		t.Errorf("got %v, want what the file holds now", ips)
	}
	stop()
	running.Wait()
}

func TestWhatNoProviderCanMoveIsLeftOutAndSaidOnce(t *testing.T) {
	text := strings.Replace(three, "192.0.2.2/32\n192.0.2.3/32\n}\n",
		"169.254.1.1/32\n224.0.0.9\n127.0.0.9/8\n}\nvirtual_ipaddress_excluded {\nfe80::1/64\nff02::1\n::1\n2001:db8::1\n}\n", 1)
	s := newShelf(t, t.TempDir(), text)
	for range 3 {
		s.wantHas("1,2001:db8::1")
	}
	if n := s.logs.FilterMessage("the address is never handed to a provider").Len(); n != 6 {
		t.Errorf("said %d times of 6 addresses", n)
	}
	s = newShelf(t, t.TempDir(), three)
	s.Managed = []vrrp.FloatingIP{{Prefix: netip.MustParsePrefix("fe80::1/64")}, {Prefix: netip.MustParsePrefix("192.0.2.7/32")}}
	s.wantHas("7")
}

// SIGHUP makes another book, while the file is half written.
func TestABookInheritsWhatTheFormerKnew(t *testing.T) {
	former := newShelf(t, t.TempDir(), three)
	former.RunDirectory = ""
	former.wantHas("1,2,3")
	for _, text := range []string{brokenFiles[0].text, ""} {
		former.write(text)
		s := newShelf(t, filepath.Dir(former.path), "")
		s.RunDirectory = ""
		s.Inherit(former.Book)
		s.wantHas("1,2,3")
	}
	if err := os.Remove(former.path); err != nil {
		t.Fatal(err)
	}
	s := newShelf(t, filepath.Dir(former.path), "")
	s.Inherit(former.Book)
	s.wantHas("1,2,3")
	s.write(strings.Replace(three, "192.0.2.3/32\n", "", 1))
	s.follow(t.Context())
	s.wantHas("1,2")
}

// A condition of the file goes on under the next book, and ends with the former book where
// the next one has another file.
func TestWhatIsWrongWithTheFileIsToldByTheBookInForce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	open := 0
	j := journal.New(zap.New(core), func(e journal.Event) {
		if e.Over {
			open--
		} else if e.Lasts {
			open++
		}
	})
	missing := filepath.Join(t.TempDir(), "keepalived.conf")
	book := func(path string) (b *Book, end func()) {
		part, end := j.Part()
		return &Book{Path: path, Journal: part}, end
	}
	first, end := book(missing)
	if _, err := first.Reading(); err == nil || open != 1 {
		t.Fatalf("%v, and %d conditions hold", err, open)
	}
	second, endSecond := book(missing)
	second.Inherit(first)
	_, _ = first.Reading() // it still runs
	end()
	if _, err := second.Reading(); err == nil || open != 1 || logs.Len() != 1 {
		t.Fatalf("under the next book: %v, %d conditions hold, told %v", err, open, logs.All())
	}
	third, _ := book(newShelf(t, t.TempDir(), three).path)
	third.Inherit(second)
	endSecond()
	if _, err := third.Reading(); err != nil || open != 0 {
		t.Errorf("with another file: %v, and %d conditions hold", err, open)
	}
}

// keepalived was upgraded and started anew while berth runs: from then on its version
// counts. Before 2.4 a line that is too long is cut in two, and 2.4 loses its beginning.
func TestTheFileIsReadAnewWhenTheVersionOfKeepalivedChanges(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, strings.Replace(three, "192.0.2.2/32", "192.0.2.2/32"+strings.Repeat(" ", 1100)+"192.0.2.7/32", 1))
		var version atomic.Value
		version.Store("2.4.3")
		s.Version = func() string { return version.Load().(string) }
		s.run(t)
		if has := s.has(); strings.Contains(has, "2") {
			t.Errorf("as 2.4.3 reads it, the addresses are %s", has)
		}
		version.Store("2.2.7")
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3,7")
	})
}
