package app

import (
	"os"
	"path/filepath"
	"testing"

	"berth/keepalivedconf"

	"go.uber.org/zap"
)

// Found as an address that went on being claimed after it was taken out of the
// file: the old text was read, and the stamp of the new one remembered.
func TestAFileThatChangesUnderTheReadingIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	write := func(ip string) {
		text := "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n " + ip + "\n }\n}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.1/32")
	reads := 0
	b := newBook(path, keepalivedconf.Options{Interfaces: func(string) (int, bool) {
		if reads++; reads == 1 {
			write("192.0.2.22/32")
		}
		return 1500, true
	}}, nil, zap.NewNop())
	ips, err := b.addresses("VI_1")
	if err != nil || len(ips) != 1 || ips[0].String() != "192.0.2.22/32" {
		t.Errorf("got %v, %v; want what the file holds now", ips, err)
	}
}
