package reading

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// writeVI1 writes a keepalived.conf with an instance of one address.
func writeVI1(t *testing.T, path, ip string) {
	t.Helper()
	text := "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n " + ip + "\n }\n}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Found as an address that went on being claimed after it was taken out of the
// file: the old text was read, and the stamp of the new one remembered.
func TestAFileThatChangesUnderTheReadingIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	writeVI1(t, path, "192.0.2.1/32")
	reads := 0
	b := &Book{Path: path, Log: zap.NewNop(), Options: keepalivedconf.Options{Interfaces: func(string) (int, bool) {
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
	b := &Book{Path: path, Log: zap.NewNop(), Options: keepalivedconf.Options{Interfaces: func(string) (int, bool) {
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
