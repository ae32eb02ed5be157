package keepalivedconf_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"berth/keepalivedconf"
)

// manyInstances returns a configuration of about 300 bytes per instance.
func manyInstances(count int) []byte {
	var b bytes.Buffer
	for n := range count {
		fmt.Fprintf(&b, `vrrp_instance instance-%d {
    state BACKUP
    interface eth%d
    virtual_router_id %d  # unique on its interface
    priority 100
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass secret
    }
    virtual_ipaddress {
        10.%d.%d.1/24 dev eth0
        10.%d.%d.2/24
    }
}
`, n, n/250, n%250+1, n/250, n%250, n/250, n%250)
	}
	return b.Bytes()
}

// BenchmarkParseFile reads 20,000 instances.
func BenchmarkParseFile(b *testing.B) {
	path := filepath.Join(b.TempDir(), "keepalived.conf")
	text := manyInstances(20000)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{Version: "2.2.7"})
		if err != nil || len(c.Instances) != 20000 {
			b.Fatalf("%d instances, %v", len(c.Instances), err)
		}
	}
}

// BenchmarkSplitLines is the lower bound for any reader of the same bytes: it reads
// them and splits them into lines and words.
func BenchmarkSplitLines(b *testing.B) {
	path := filepath.Join(b.TempDir(), "keepalived.conf")
	text := manyInstances(20000)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		words := 0
		for line := range bytes.Lines(data) {
			words += len(bytes.Fields(line))
		}
		if words == 0 {
			b.Fatal("no words")
		}
	}
}
