package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// systemctl is what the commands of the documentation need of systemd: it reads units and
// drop-ins, and starts a program again that has ended by itself. A unit of the type notify
// is started when berth has a status.
const systemctl = `#!/bin/sh
verb=$1; shift
signal=TERM
for a; do
	case $a in
	--now) ;;
	--signal=*) signal=${a#--signal=} ;;
	*) unit=${a%.service} ;;
	esac
done
pid=/run/unit-$unit.pid end=/run/unit-$unit.end
case $verb in
daemon-reload) exit ;;
kill) exec kill -s "$signal" "$(cat "$pid")" ;;
esac
if [ -e "$pid" ]; then
	case $verb in enable | start) exit ;; esac
	touch "$end"
	kill "$(cat "$pid")"
	while [ -e "$end" ]; do sleep 0.01; done
fi
case $verb in disable | stop) exit ;; esac
setsid unit "$unit" </dev/null >/run/units 2>&1 &
while [ ! -e "$pid" ]; do sleep 0.01; done
grep -qs Type=notify "/etc/systemd/system/$unit.service" || exit 0
for i in $(seq 500); do
	berth status >/dev/null 2>&1 && exit
	sleep 0.01
done
exit 1
`

// unit runs the program of a unit, again and again until systemctl ends it.
const unit = `#!/bin/sh
dir=/etc/systemd/system/$1.service pid=/run/unit-$1.pid end=/run/unit-$1.end
value() { cat "$dir" "$dir.d"/*.conf 2>/dev/null | sed -n "s/^$1=-*//p"; }
while [ ! -e "$end" ]; do
	(
		set -a
		eval "$(value Environment)"
		for f in $(value EnvironmentFile); do . "$f"; done
		eval exec "$(value ExecStart | tail -1)"
	) &
	echo $! >"$pid.new"; mv "$pid.new" "$pid"
	wait $!
	sleep 0.1
done
rm "$pid" "$end"
`

// hasUnits gives a host systemctl, berth's units, and others by their commands. record takes
// the log of all.
func hasUnits(n *testnet.Node, record func(*testnet.Log), others map[string]string) error {
	log, err := n.Pipe("/run/units")
	if err != nil {
		return err
	}
	record(log)
	root, err := lab.Root()
	err = errors.Join(err, n.WriteFile("/usr/bin/systemctl", systemctl, 0o755), n.WriteFile("/usr/bin/unit", unit, 0o755),
		n.Do(func() error { return os.MkdirAll("/run/berth", 0o755) })) // systemd makes it
	for _, name := range []string{"berth-elect.service", "berth.service"} {
		err = errors.Join(err, n.Install("/etc/systemd/system/"+name, filepath.Join(root, "dist", name), 0o644))
	}
	for name, command := range others {
		err = errors.Join(err, n.WriteFile("/etc/systemd/system/"+name+".service", "[Service]\nExecStart="+command+"\n", 0o644))
	}
	return err
}

// migration is hosts on which a predecessor has an address, and berth gets it.
type migration struct {
	*segment
	hosts   []*testnet.Node
	address netip.Addr

	gone time.Time     // since when no host has the address; of segment.mu
	gap  time.Duration // the longest time without, while it was with some host before
}

// newMigration makes hosts, with etcd on their network. Each has a unit of the predecessor
// and that of berth.
func newMigration(t *testing.T, predecessor, address string, names ...string) *migration {
	t.Helper()
	testnet.Require(t, "curl", "pgrep")
	m := &migration{segment: newSegment(t), address: netip.MustParseAddr(address)}
	for i, name := range names {
		n := m.attach(name, 11+i)
		m.must(hasUnits(n, m.Record, map[string]string{predecessor: "/usr/bin/" + predecessor}))
		m.hosts = append(m.hosts, n)
	}
	m.watched = m.time
	m.begin(etcdtest.Options{})
	return m
}

// time takes how long no host has the address.
func (m *migration) time(e testnet.AddressEvent) {
	if e.Lost || e.Address.Addr() != m.address {
		return
	}
	switch owners := m.owners[m.address]; {
	case len(owners) == 0:
		m.gone = e.Time
	case e.Added && !m.gone.IsZero():
		m.gap, m.gone = max(m.gap, e.Time.Sub(m.gone)), time.Time{}
	}
}

// owner waits until one host has the address, and no other.
func (m *migration) owner(n *testnet.Node) {
	m.t.Helper()
	m.until(fmt.Sprintf("%s to have %v", n.Name, m.address), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return slices.Equal(m.owners[m.address], []string{n.Name})
	})
}

// rollOver bounds the time without an owner when one host hands an address over to another,
// on a busy machine; it is less than a lease.
const rollOver = 3 * time.Second

// moved fails the test if no host had the address for longer than limit, or two had it.
func (m *migration) moved(limit time.Duration) {
	m.t.Helper()
	m.once()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.t.Logf("without an owner for %v at most", m.gap); m.gap > limit {
		m.t.Errorf("want the address to be without an owner for %v at most, got %v", limit, m.gap)
	}
	m.gap = 0
}

// served starts an HTTP server of a host, which ends with the test.
func (m *migration) served(n *testnet.Node, address string, h http.Handler) {
	m.t.Helper()
	m.must(n.Do(func() error {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: h}
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve(l) })
		m.OnClose(func() error {
			err := server.Close()
			serving.Wait()
			return err
		})
		return nil
	}))
}

// As vip-manager 3.0.0: it looks once a second, and leaves the address bound at its end.
const vipManager = `#!/bin/sh
while :; do
	if %s; then
		ip address add 192.0.2.254/24 dev eth0 2>/dev/null
	else
		ip address del 192.0.2.254/24 dev eth0 2>/dev/null
	fi
	sleep 1
done
`

func TestVIPManagerRollsOver(t *testing.T) {
	t.Parallel()
	m := newMigration(t, "vip-manager", "192.0.2.254", "db1", "db2", "db3")
	var leader atomic.Int32
	for i, n := range m.hosts {
		m.served(n, "127.0.0.1:8008", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // Patroni
			if int(leader.Load()) != i {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		m.must(n.WriteFile("/usr/bin/vip-manager", fmt.Sprintf(vipManager, `[ "$(curl -s -o /dev/null -w '%{http_code}' 127.0.0.1:8008/leader)" = 200 ]`), 0o755))
		m.must(n.WriteFile("/etc/berth.yml", configured(t, "vip-manager", "yaml")[1], 0o600))
		m.bash(n, "systemctl enable --now vip-manager")
	}
	m.owner(m.hosts[0])
	blocks := documented(t, "vip-manager")
	for _, n := range m.hosts[1:] {
		m.bash(n, blocks[0])
	}
	m.bash(m.hosts[0], blocks[1])
	m.until("berth to have the address", func() bool { return m.length(m.address) == 32 })
	m.owner(m.hosts[0])
	m.moved(rollOver)
	leader.Store(1) // from now on berth alone decides
	m.owner(m.hosts[1])
	m.moved(8 * time.Second)
}

func TestVIPManagerRollsOverToAnElection(t *testing.T) {
	t.Parallel()
	m := newMigration(t, "vip-manager", "192.0.2.254", "db1", "db2")
	m.etcdctl("put", "/service/pgcluster/leader", "db1")
	for _, n := range m.hosts {
		m.served(n, "127.0.0.1:5432", http.NotFoundHandler())
		m.must(n.WriteFile("/usr/bin/vip-manager", fmt.Sprintf(vipManager,
			`[ "$(ETCDCTL_API=3 etcdctl --endpoints `+m.endpoint()+` get --print-value-only /service/pgcluster/leader)" = "$(hostname)" ]`), 0o755))
		m.must(n.WriteFile("/etc/berth.yml", strings.ReplaceAll(configured(t, "vip-manager", "yaml")[2], "http://192.0.2.1:2379", m.endpoint()), 0o600))
		m.bash(n, "systemctl enable --now vip-manager")
	}
	m.owner(m.hosts[0])
	blocks := documented(t, "vip-manager")
	m.bash(m.hosts[1], blocks[0])
	m.bash(m.hosts[0], blocks[1])
	m.bash(m.hosts[1], blocks[2])
	m.owner(m.hosts[0])
	m.moved(rollOver)
	m.bash(m.hosts[0], "systemctl disable --now berth-elect")
	m.owner(m.hosts[1])
	m.once()
}

// As kube-vip: the leader, which a file names here, has the address until its end.
const kubeVIP = `#!/bin/sh
trap 'ip address del 192.0.2.254/32 dev eth0; exit' TERM
while :; do
	[ -e /run/leader ] && ip address add 192.0.2.254/32 dev eth0 2>/dev/null
	sleep 0.2
done
`

// As the kubelet: a pod runs while its manifest is there.
const kubelet = `#!/bin/sh
manifest=/etc/kubernetes/manifests/kube-vip.yaml
while :; do
	if [ -e "$manifest" ] && ! pgrep -x kube-vip >/dev/null; then
		setsid kube-vip &
	elif [ ! -e "$manifest" ]; then
		pkill -x kube-vip
	fi
	sleep 0.1
done
`

func TestKubeVIPRollsOver(t *testing.T) {
	t.Parallel()
	m := newMigration(t, "kubelet", "192.0.2.254", "cp1", "cp2", "cp3")
	files := configured(t, "kube-vip", "yaml")
	conf := files[1]
	for _, plain := range []struct{ from, to string }{ // the lab has neither their certificates nor their names
		{`"https://127.0.0.1:2379"`, `"` + m.endpoint() + `"`}, {"  ca-file: /etc/kubernetes/pki/etcd/ca.crt\n", ""},
		{"  cert-file: /etc/kubernetes/pki/etcd/peer.crt\n", ""}, {"  key-file: /etc/kubernetes/pki/etcd/peer.key\n", ""},
		{"https://192.0.2.11:6443/livez", "http://127.0.0.1:6443/livez"}, {", ca-file: /etc/kubernetes/pki/ca.crt", ""},
	} {
		if !strings.Contains(conf, plain.from) {
			t.Fatalf("want %s in\n%s", plain.from, conf)
		}
		conf = strings.ReplaceAll(conf, plain.from, plain.to)
	}
	for _, n := range m.hosts {
		m.served(n, "127.0.0.1:6443", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		m.must(errors.Join(n.WriteFile("/usr/bin/kube-vip", kubeVIP, 0o755), n.WriteFile("/usr/bin/kubelet", kubelet, 0o755),
			n.WriteFile("/etc/kubernetes/manifests/kube-vip.yaml", files[0], 0o600), n.WriteFile("/etc/berth.yml", conf, 0o600)))
		m.bash(n, "systemctl enable --now kubelet")
	}
	owner, others := m.hosts[0], m.hosts[1:]
	m.must(owner.WriteFile("/run/leader", "", 0o600))
	m.owner(owner)
	blocks := documented(t, "kube-vip")
	for _, n := range others {
		m.bash(n, blocks[0])
	}
	m.bash(owner, blocks[1])
	for _, n := range others {
		m.bash(n, blocks[2])
	}
	if out := m.bash(owner, blocks[3]); !strings.Contains(out, "192.0.2.254/32") {
		t.Errorf("want the address to be there, got %s", out)
	}
	m.owner(owner)
	m.moved(rollOver)
	m.bash(owner, "systemctl disable --now berth-elect")
	m.owned()
	m.once()
}
