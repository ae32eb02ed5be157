package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/internal/testnet"
	"berth/test/lab"
	"berth/vrrp"
)

// As floaty: it claims the address for as long as its host is MASTER, and leaves it where it
// is at its end. It says so on its standard error.
const floatyScript = `#!/bin/sh
claim() { curl -sf -m 1 -o /dev/null -X PATCH -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' %s/v1/floating-ips/198.51.100.10 -d '{"server": "%s"}'; }
case $1 in
--fifo)
	while read -r kind name state priority; do
		[ "$state" != MASTER ] || until claim; do sleep 0.1; done
	done <>"$3"
	;;
*)
	echo "floaty: $4" >&2
	while [ "$4" = MASTER ]; do
		claim
		sleep 0.5
	done
	;;
esac
`

// floaty gives a host floaty in place of berth, with a configuration that berth reads, too.
func (f *field) floaty(h *lab.Host) {
	f.t.Helper()
	testnet.Require(f.t, "curl", "pkill")
	keepalived, err := testnet.Program("keepalived")
	f.must(err)
	f.must(hasUnits(h.Node, f.Record, map[string]string{
		"keepalived": keepalived + " --dont-fork --log-console", "floaty": "/usr/bin/floaty --fifo /etc/floaty.yml /run/keepalived.fifo",
	}))
	f.must(h.WriteFile("/usr/bin/floaty", fmt.Sprintf(floatyScript, lab.Token, lab.Endpoint, h.UUID), 0o755))
	f.must(h.WriteFile("/etc/floaty.yml", fmt.Sprintf("provider: cloudscale\ncloudscale: {endpoint: '%s', token: %s, server-uuid: %s}\n"+lab.Fast, lab.Endpoint, lab.Token, h.UUID), 0o600))
}

// runs runs commands on a host.
func (f *field) runs(h *lab.Host, commands string) {
	f.t.Helper()
	if out, err := h.Run(f.context(), "/bin/bash", "-eu", "-o", "pipefail", "-c", commands); err != nil {
		f.t.Fatalf("%s\n%v: %s", commands, err, out)
	}
}

func TestFloatyRollsOver(t *testing.T) {
	t.Parallel()
	f := newField(t)
	client := f.client(lab.IPv4a)
	for i, h := range f.Hosts {
		f.floaty(h)
		f.must(h.WriteFile(lab.NotifyPath, "#!/bin/sh\n/usr/bin/floaty /etc/floaty.yml \"$@\" 2>&1 | logger --tag floaty\n", 0o755))
		f.must(h.ConfigureKeepalived(lab.Notify, instance4(150-50*i)))
		f.runs(h, "systemctl start keepalived")
	}
	f.served(f.host1, time.Now(), client...)
	blocks := documented(t, "floaty")
	f.runs(f.host2, blocks[0])
	rolled := time.Now()
	f.runs(f.host1, blocks[1])
	// The better host takes its instance back.
	f.until("berth to be MASTER on the better host", func() bool {
		s := f.status(f.host1, "VI_4")
		return s.State == vrrp.Master && s.Mode != ""
	})
	f.served(f.host1, rolled, client...)
	for _, h := range f.Hosts {
		tasks, err := h.Tasks()
		f.must(err)
		for _, task := range tasks {
			if strings.Contains(strings.Join(task.Args, " "), "/bin/sh /usr/bin/floaty") {
				t.Errorf("want floaty to have ended on %s, got %q", h.Name, task.Args)
			}
		}
	}
}

func TestFloatyServiceRollsOver(t *testing.T) {
	t.Parallel()
	f := newField(t)
	client := f.client(lab.IPv4a)
	for i, h := range f.Hosts {
		f.floaty(h)
		f.must(h.ConfigureKeepalived(lab.FIFO, instance4(150-50*i)))
		f.must(h.WriteFile("/etc/keepalived/berth-fifo.conf", "global_defs {\n script_user root\n vrrp_notify_fifo /run/keepalived.fifo root\n}\n", 0o644))
		f.runs(h, "systemctl start keepalived; until [ -p /run/keepalived.fifo ]; do sleep 0.01; done; systemctl start floaty")
	}
	f.served(f.host1, time.Now(), client...)
	block := documented(t, "floaty")[0]
	rolled := time.Now()
	f.runs(f.host2, block)
	f.runs(f.host1, block)
	f.until("berth to act", func() bool { return f.status(f.host1, "VI_4").State == vrrp.Master })
	if moves := f.Moves(); len(moves) > 1 {
		t.Errorf("want the floating IP to stay where it is, got %v", moves)
	}
	f.pass(time.Second/2, client[0])
	for _, o := range lab.Outages(client[0].Samples()) {
		if took := o.Duration() - client[0].Stalled(o.From, o.To); o.To.After(rolled) && took > time.Second {
			t.Errorf("want packets to go on, %d in a row were lost, for %v", o.Lost, took)
		}
	}
	f.runs(f.host1, "systemctl stop keepalived")
	f.served(f.host2, time.Now(), client...)
}
