package e2e_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"berth/internal/testnet"
)

// keepalived sends the output of its scripts to /dev/null; without a wrapper
// only the journal shows it to the operator.
func TestLogOfAScriptWithoutWrapperReachesTheJournal(t *testing.T) {
	t.Parallel()
	testnet.Require(t)
	n, err := testnet.New("journal", &testnet.Bell{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	var journal *net.UnixConn
	err = n.Do(func() error {
		if err := os.MkdirAll("/run/systemd/journal", 0o755); err != nil {
			return err
		}
		var err error
		journal, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/systemd/journal/socket", Net: "unixgram"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	for _, step := range []error{
		n.Install("/usr/bin/berth", berth, 0o755),
		n.WriteFile("/etc/berth.yml", "provider: fake\n", 0o600),
		n.WriteFile("/etc/keepalived/keepalived.conf", "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n}\n", 0o644),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	out, err := n.Run(t.Context(), "/bin/sh", "-c", "/usr/bin/berth /etc/berth.yml INSTANCE VI_9 BACKUP 100 2>/dev/null; echo status $?")
	if err != nil || strings.TrimSpace(out) != "status 1" {
		t.Errorf("printed %q, %v", out, err)
	}
	buf := make([]byte, 64<<10)
	for {
		if err := journal.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
			t.Fatal(err)
		}
		size, err := journal.Read(buf)
		if err != nil {
			t.Fatalf("the journal never had the error: %v", err)
		}
		entry := string(buf[:size])
		if !strings.Contains(entry, `vrrp_instance "VI_9": not in the keepalived configuration`) {
			continue
		}
		for _, field := range []string{"PRIORITY=3\n", "SYSLOG_IDENTIFIER=berth\n"} {
			if !strings.Contains(entry, field) {
				t.Errorf("entry without %q:\n%s", field, entry)
			}
		}
		return
	}
}
