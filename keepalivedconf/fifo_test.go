package keepalivedconf_test

import (
	"os"
	"path/filepath"
	"testing"

	"berth/keepalivedconf"

	"github.com/google/go-cmp/cmp"
)

// Only the FIFOs into which the VRRP process writes count.
func TestFIFOsOfTheVRRPProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	const text = `global_defs {
  script_user root
  notify_fifo /run/a nobody
  vrrp_notify_fifo /run/b
  lvs_notify_fifo /run/c
  vrrp_notify_fifo_script /bin/x
  notify_fifo
}
vrrp_instance v {
  interface eth0
  virtual_router_id 1
  virtual_ipaddress { 192.0.2.1 }
}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/run/a", "/run/b"}, conf.FIFOs); diff != "" {
		t.Errorf("FIFOs (-want +got):\n%s", diff)
	}
}
