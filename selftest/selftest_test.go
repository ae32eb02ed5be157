package selftest_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/selftest"

	"github.com/google/go-cmp/cmp"
)

func run(t *testing.T, c selftest.Check) []string {
	t.Helper()
	var lines []string
	for _, f := range selftest.Run(t.Context(), []selftest.Check{c}) {
		lines = append(lines, f.Level.String()+" "+f.Check+": "+f.Seen+" -> "+f.Cure)
	}
	return lines
}

func TestChecks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("no answer")
	for _, row := range []struct {
		name  string
		check selftest.Check
		want  []string
	}{
		{"configuration", selftest.Configuration("b.yml", false), []string{"ok configuration: b.yml -> "}},
		{"configuration that every user can read", selftest.Configuration("b.yml", true),
			[]string{"warn configuration: b.yml can be read by every user and may hold a secret -> chmod o= b.yml"}},
		{"no keepalived.conf", selftest.KeepalivedConfig(func() (selftest.Keepalived, error) { return selftest.Keepalived{}, failed }),
			[]string{"warn keepalived.conf: no answer -> install keepalived and write its configuration, or set keepalived-config"}},
		{"refused, with a warning", selftest.KeepalivedConfig(func() (selftest.Keepalived, error) {
			return selftest.Keepalived{Path: "k", Refused: "why", Warnings: []string{"w", "a; b; mend it"}, Instances: []string{"VI_1"}}, nil
		}), []string{"FAIL keepalived.conf: keepalived would refuse k: why -> correct the file, then: keepalived -t", "warn keepalived.conf: w -> ", "warn keepalived.conf: a; b -> mend it", "ok keepalived.conf: VI_1 -> "}},
		{"no instance", selftest.KeepalivedConfig(func() (selftest.Keepalived, error) { return selftest.Keepalived{Path: "k"}, nil }),
			[]string{"warn keepalived.conf: k has no vrrp_instance -> add a vrrp_instance with virtual_ipaddress"}},
		{"keepalived runs", selftest.Process(func() (int, error) { return 7, nil }), []string{"ok keepalived: runs with pid 7 -> "}},
		{"keepalived runs and has no pidfd", selftest.Process(func() (int, error) { return 7, failed }),
			[]string{"warn keepalived: runs with pid 7 and is watched by polling /proc: no answer -> allow berth the system calls pidfd_open and pidfd_send_signal"}},
		{"keepalived is not found", selftest.Process(func() (int, error) { return 0, failed }),
			[]string{"warn keepalived: was not found: no answer -> start keepalived, or set keepalived-pid-file"}},
		{"FIFOs", selftest.FIFOs(func() []selftest.FIFO {
			return []selftest.FIFO{
				{Path: "open", Keepalived: 7, Open: true, Reader: 8},
				{Path: "replaced", Keepalived: 7, Reader: 8, Cure: "reload"},
				{Path: "missing", Keepalived: 7, Missing: true, Cure: "reload"},
				{Path: "not yet", Missing: true},
				{Path: "unread", Keepalived: 7, Open: true},
				{Path: "hidden", Keepalived: 7, Err: failed},
				{Path: "waiting", Reader: 8},
			}
		}), []string{
			"ok FIFO: open is open in keepalived and read by process 8 -> ",
			"FAIL FIFO: keepalived (pid 7) does not have replaced open, which it opens only at its start and reload: no event reaches berth -> reload",
			"FAIL FIFO: there is no missing, but keepalived runs: its events are lost -> start berth --fifo, then: reload",
			"warn FIFO: there is no not yet yet -> start berth --fifo, and then keepalived",
			"warn FIFO: no berth is known to read unread -> start berth --fifo (systemctl start berth)",
			"warn FIFO: cannot tell which processes have hidden open: no answer -> run berth --test as root",
			"ok FIFO: waiting is read by process 8 -> ",
		}},
		{"etcd", selftest.Etcd(func(context.Context) ([]selftest.EtcdMember, []string, error) {
			return []selftest.EtcdMember{{Endpoint: "a", Took: 1234567}, {Endpoint: "b", Err: failed}}, []string{"VI_1: lb1"}, nil
		}), []string{"ok etcd: a answers in 1.2ms -> ", "warn etcd: b: no answer -> check etcd.endpoints, certificates and password, and: etcdctl endpoint health", "ok etcd: VI_1: lb1 -> "}},
		{"etcd without an answer", selftest.Etcd(func(context.Context) ([]selftest.EtcdMember, []string, error) {
			return []selftest.EtcdMember{{Endpoint: "a", Err: failed}}, nil, failed
		}), []string{"FAIL etcd: a: no answer -> check etcd.endpoints, certificates and password, and: etcdctl endpoint health"}},
		{"etcd that refuses the user", selftest.Etcd(func(context.Context) ([]selftest.EtcdMember, []string, error) {
			return []selftest.EtcdMember{{Endpoint: "a"}}, nil, errors.New("permission denied")
		}), []string{"ok etcd: a answers in 0s -> ", "FAIL etcd: permission denied -> check the rights of etcd.username below etcd.prefix"}},
		{"interface", selftest.Interface("eth0", func() (string, error) { return "", nil }), []string{"ok interface: eth0 is up, and its addresses can be changed -> "}},
		{"interface that is down", selftest.Interface("eth0", func() (string, error) { return "interface eth0 is down", nil }),
			[]string{"FAIL interface: interface eth0 is down -> ip link set eth0 up, and check its cable and switch"}},
		{"interface that cannot be opened", selftest.Interface("eth0", func() (string, error) { return "", failed }),
			[]string{"FAIL interface: no answer -> correct this, or give the instances another interface, because berth elect does not start; run the self-test as the user of the service"}},
		{"server", selftest.Server(func(context.Context) (string, string, error) { return "id", "lb1", nil }), []string{"ok own server: id (lb1) -> "}},
		{"no server", selftest.Server(func(context.Context) (string, string, error) { return "", "", failed }),
			[]string{"FAIL own server: no answer -> check the token and the server's id in the configuration"}},
		{"floating IPs", selftest.FloatingIPs(func(context.Context) ([]selftest.FloatingIP, error) {
			return []selftest.FloatingIP{{Address: "a", Managed: true, Owner: "lb2"}, {Address: "b"}}, nil
		}), []string{"ok floating IPs: a is at lb2 -> ", "warn floating IPs: b is not a floating IP of the account and is left alone -> order it at the provider, if it should be one"}},
		{"no floating IPs", selftest.FloatingIPs(func(context.Context) ([]selftest.FloatingIP, error) { return nil, nil }),
			[]string{"warn floating IPs: there is no address to manage -> add addresses to the vrrp_instance, or managed-addresses"}},
		{"floating IPs cannot be read", selftest.FloatingIPs(func(context.Context) ([]selftest.FloatingIP, error) { return nil, failed }),
			[]string{"FAIL floating IPs: no answer -> check endpoint, token and network"}},
		{"directory", selftest.Directory("d", dir, false), []string{"ok d: " + dir + " -> "}},
		{"directory that berth makes", selftest.Directory("d", dir+"/a/b", true), []string{"ok d: " + dir + "/a/b -> "}},
		{"directory that berth makes here", selftest.Directory("d", "a", true), []string{"ok d: a -> "}},
		{"directory that berth does not make", selftest.Directory("d", dir+"/a", false),
			[]string{"FAIL d: cannot write into " + dir + "/a: no such file or directory -> run as root, or: mkdir -p " + dir + "/a"}},
		{"below a file", selftest.Directory("d", dir+"/file/a", true),
			[]string{"FAIL d: cannot write into " + dir + "/file/a: not a directory -> run as root, or: mkdir -p " + dir + "/file/a"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, run(t, row.check)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNagiosStatusIsThatOfTheWorstFinding(t *testing.T) {
	for want, levels := range [][]selftest.Level{{selftest.OK}, {selftest.OK, selftest.Warn}, {selftest.Fail, selftest.Warn}} {
		var findings []selftest.Finding
		for _, l := range levels {
			findings = append(findings, selftest.Finding{Check: "c", Level: l, Seen: "s"})
		}
		var b strings.Builder
		got, err := selftest.Nagios(&b, findings)
		first, _, _ := strings.Cut(b.String(), " - ")
		if err != nil || got != want || first != []string{"BERTH OK", "BERTH WARNING", "BERTH CRITICAL"}[want] {
			t.Errorf("%v: status %d, %q, %v; want %d", levels, got, first, err, want)
		}
	}
}

func TestReports(t *testing.T) {
	findings := []selftest.Finding{{Check: "a", Level: selftest.OK, Seen: "two\nlines"}, {Check: "b", Level: selftest.Warn, Seen: "<s>", Cure: "c"}}
	for _, row := range []struct {
		name   string
		report func(io.Writer, []selftest.Finding) error
		want   string
	}{
		{"table", selftest.Table, "RESULT  CHECK  SEEN       WHAT TO DO\nok      a      two lines  -\nwarn    b      <s>        c\n"},
		{"JSON", selftest.JSON, `{"result":"warn","findings":[{"check":"a","level":"ok","seen":"two\nlines"},{"check":"b","level":"warn","seen":"<s>","cure":"c"}]}`},
		{"Nagios", func(w io.Writer, f []selftest.Finding) error {
			_, err := selftest.Nagios(w, f)
			return err
		}, "BERTH WARNING - ok: 1, warnings: 1, failures: 0\n[ok] a: two lines\n[warn] b: <s>\n"},
	} {
		var b strings.Builder
		err := row.report(&b, findings)
		got := b.String()
		if row.name == "JSON" { // the white space is for people
			got = strings.NewReplacer("\n", "", "  ", "", ": ", ":").Replace(got)
		}
		if diff := cmp.Diff(row.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", row.name, err, diff)
		}
	}
}
