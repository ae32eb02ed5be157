package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

// names makes the hosts ask a mute name server and then one that answers.
func (f *field) names() []*testnet.NameServer {
	f.t.Helper()
	servers, err := f.ServeNames()
	f.must(err)
	return servers
}

// named is a configuration with the API by name, and the times of the product.
func (f *field) named(h *lab.Host, extra string) {
	f.t.Helper()
	f.must(h.WriteFile(lab.BerthConf, fmt.Sprintf("provider: cloudscale\ncloudscale: {endpoint: %q, token: %s, server-uuid: %s}\n%s",
		"http://"+lab.NamedHost+":8080", lab.Token, h.UUID, extra), 0o600))
}

// electsByName is a configuration with etcd by name, and no provider.
func (f *field) electsByName(h *lab.Host) {
	f.t.Helper()
	f.must(h.WriteFile(lab.BerthConf, fmt.Sprintf(`etcd: {endpoints: ["http://%s:2379"], member: %s, lease-ttl: 6s}
election: {interface: %s, instances: [{name: api, addresses: [%v]}]}
`, lab.NamedHost, h.Name, lab.Link, lab.IPv4a), 0o600))
}

// In notify mode each process looks the name up for itself, because the token goes
// over plain HTTP; the service looks it up when it starts.
func TestAnAPIByNameIsClaimedBehindAMuteNameServer(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"with the times of the product": "", "with attempts shorter than a look-up": lab.Fast} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode lab.Mode) {
				f := newField(t)
				f.names()
				f.named(f.host1, extra)
				f.must(f.host1.ConfigureKeepalived(mode, instance4(100)))
				if mode == lab.FIFO {
					_, err := f.host1.StartService(f.context(), "--verbose")
					f.must(err)
				}
				client := f.client(lab.IPv4a)
				f.keepalived(f.host1)
				bound := f.bound(f.host1, lab.IPv4a, time.Time{})
				ctx, cancel := context.WithTimeout(t.Context(), 2*waitLimit)
				defer cancel()
				f.must(f.Wait(ctx, "a claim", func() bool { return f.Holder(lab.IPv4a) == f.host1 }))
				t.Logf("claimed %v after keepalived bound the address", time.Since(bound))
				f.served(f.host1, bound, client...)
				text, err := f.host1.ReadFile("/run/berth/names.json")
				if err != nil || !strings.Contains(string(text), lab.NamedHost) || !strings.Contains(string(text), "10.77.0.1") {
					t.Errorf("want the address of %s to be kept, got %q (%v)", lab.NamedHost, text, err)
				}
			})
		})
	}
}

// The self-test passes behind a slow name server.
func TestSelfTestAndShowWorkBehindAMuteNameServer(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.etcd()
	f.names()
	f.electsByName(f.host1)
	for _, args := range [][]string{{"--test", lab.BerthConf}, {"show", lab.BerthConf}} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*waitLimit)
		out, err := f.host1.Run(ctx, lab.BerthPath, args...)
		cancel()
		if err != nil || strings.Contains(out, "FAIL") {
			t.Errorf("berth %s: %v\n%s", args, err, out)
		}
	}
}

// The election needs no name server once it has had an answer: not when etcd is
// restarted, and not when berth is.
func TestAnElectedOwnerStaysWhenEtcdByNameIsRestartedAndNoNameServerAnswers(t *testing.T) {
	t.Parallel()
	f := newField(t)
	etcd := f.etcd()
	servers := f.names()
	client := f.client(lab.IPv4a)
	f.electsByName(f.host1)
	f.must(f.Assign(lab.IPv4a, f.host1))
	begin := time.Now()
	p, err := f.host1.Start("berth", lab.BerthPath, "elect", lab.BerthConf)
	f.must(err)
	bound := f.bound(f.host1, lab.IPv4a, begin)
	t.Logf("elected after %v", bound.Sub(begin))
	f.served(f.host1, bound, client...)

	servers[1].SetMute(true)
	f.must(etcd.Member(0).Kill())
	f.must(etcd.Member(0).Restart())
	f.must(etcd.Ready(f.context()))
	f.pass(8*time.Second, client[0]) // longer than the lease
	if has, since := f.host1.Has(lab.IPv4a); !has || since != bound {
		t.Errorf("want the owner to keep its address, got it: %t since %v", has, since)
	}
	f.must(p.Signal(unix.SIGUSR2))
	f.until("the end of berth", func() bool { return !p.Exited().IsZero() })
	_, err = f.host1.Start("berth", lab.BerthPath, "elect", lab.BerthConf)
	f.must(err)
	f.pass(8*time.Second, client[0])
	if has, since := f.host1.Has(lab.IPv4a); !has || since != bound {
		t.Errorf("want the next process to keep the address, got it: %t since %v", has, since)
	}
}
