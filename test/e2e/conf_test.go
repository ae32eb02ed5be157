package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

// errorsAbout returns the errors about keepalived.conf that any berth logged since
// a moment.
func (f *field) errorsAbout(since time.Time) []string {
	var found []string
	for _, log := range f.Logs() {
		for _, line := range log.Lines() {
			if line.Time.After(since) && strings.Contains(line.Text, "ERROR") && strings.Contains(line.Text, lab.KeepalivedConf) {
				found = append(found, line.Text)
			}
		}
	}
	return found
}

// The file counts when keepalived has loaded it. Until then a MASTER has its three
// addresses, whatever is written into the file.
func TestKeepalivedConfThatIsBrokenTakesNoAddressAway(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		const more = "/etc/keepalived/more.conf"
		f := newField(t)
		all := []netip.Addr{lab.IPv4a, lab.IPv4b, lab.IPv6n}
		f.must(f.host1.WriteFile(more, fmt.Sprintf("virtual_ipaddress_excluded {\n%v/128\nfe80::99/64\n}\n", lab.IPv6n), 0o644))
		f.configure(f.host1, mode, lab.Fast, lab.Instance{Name: "VI_4", ID: 51, Priority: 100,
			Addresses: all[:2], Lines: "    include " + more + "\n"})
		client := f.client(all...)
		k := f.keepalived(f.host1)
		f.served(f.host1, time.Now(), client...)
		text, err := f.host1.ReadFile(lab.KeepalivedConf)
		f.must(err)
		good := string(text)
		write := func(text string) { f.must(f.host1.WriteFile(lab.KeepalivedConf, text, 0o644)) }
		note := func() string { return f.status(f.host1, "VI_4").Configuration }
		claimedBack := func(all ...netip.Addr) {
			t.Helper()
			for _, ip := range all {
				f.must(f.Assign(ip, f.host2))
			}
			for _, ip := range all {
				f.until(ip.String()+" to be claimed back", func() bool { return f.Holder(ip) == f.host1 })
			}
		}

		second := fmt.Sprintf("        %v/32\n", lab.IPv4b)
		for _, broken := range []struct{ name, text, reason string }{
			{"half written", good[:strings.Index(good, second)], "not closed"},
			{"empty", "", "no vrrp_instance"},
			{"refused", strings.Replace(good, "virtual_router_id", "virtual_ruter_id", 1), "virtual_router_id"},
			{"include gone", strings.Replace(good, more, "/etc/keepalived/gone.conf", 1), "no such file"},
			{"template unfilled", strings.Replace(good, second, "        {{ second }}\n", 1), "not an address"},
			{"definition unset", strings.Replace(good, second, "        ${SECOND}\n", 1), "definition"},
			{"placeholder", strings.Replace(good, second, "        @SECOND@\n", 1), "template"},
		}[:rounds(5, 7)] { // the last two differ from the fifth by their words alone
			ok := t.Run(broken.name, func(t *testing.T) {
				f := &field{Lab: f.Lab, t: t}
				since := time.Now()
				write(broken.text)
				f.until("an error about the file", func() bool { return len(f.errorsAbout(since)) > 0 })
				claimedBack(all...)
				f.pass(1500*time.Millisecond, client[0])
				said := f.errorsAbout(since)
				if len(said) != 1 || !strings.Contains(said[0], broken.reason) || !strings.Contains(said[0], `"line"`) {
					t.Errorf("want one error that names the line and %q, got %q", broken.reason, said)
				}
				if !strings.Contains(note(), "reload keepalived") {
					t.Errorf("want the status to say what to do, got %q", note())
				}
			})
			write(good)
			f.until("the note to go", func() bool { return note() == "" })
			if !ok {
				return
			}
		}

		// A good file that keepalived has not loaded takes nothing away either, and
		// adds nothing.
		less := strings.Replace(good, second, "", 1)
		write(less)
		f.until("the note in the status", func() bool { return strings.Contains(note(), "has not loaded it") })
		claimedBack(all...)
		// Its rows about the provider depend on the API's habits.
		out, err := f.host1.Run(f.context(), lab.BerthPath, "--test", lab.BerthConf)
		if !strings.Contains(fmt.Sprint(out, err), "keepalived has not loaded it") {
			t.Errorf("want the self-test to tell of the change, got %v:\n%s", err, out)
		}
		if mode == lab.FIFO {
			// Nor does a berth that starts while the file is half written.
			write(good[:strings.Index(good, second)])
			f.killBerth(f.host1)
			for _, ip := range all {
				f.must(f.Assign(ip, f.host2))
			}
			_, err := f.host1.StartService(f.context(), "--verbose")
			f.must(err)
			for _, ip := range all {
				f.until(ip.String()+" to be claimed by the new berth", func() bool { return f.Holder(ip) == f.host1 })
			}
			write(less)
		}

		// keepalived loads it: the address goes.
		since := time.Now()
		f.must(k.Signal(unix.SIGHUP))
		f.unbound(f.host1, lab.IPv4b, since)
		f.until("the note to go", func() bool { return note() == "" })
		f.pass(time.Second, client[0])
		f.must(f.Assign(lab.IPv4b, f.host2))
		f.stays(lab.IPv4b, f.host2, 1500*time.Millisecond, client[0])
		claimedBack(lab.IPv4a, lab.IPv6n)
		if got := f.status(f.host1, "VI_4").Corrections; got > 0 && mode == lab.Notify {
			t.Errorf("want no correction by an address that keepalived took off at its reload, got %d", got)
		}

		// keepalived loads what ends inside a block, and runs it: that counts too.
		since = time.Now()
		write(less[:strings.Index(less, "    include "+more)])
		f.must(k.Signal(unix.SIGHUP))
		f.unbound(f.host1, lab.IPv6n, since)
		f.pass(2*time.Second, client[0])
		f.must(f.Assign(lab.IPv6n, f.host2))
		f.stays(lab.IPv6n, f.host2, 1500*time.Millisecond, client[0])
		claimedBack(lab.IPv4a)

		// A link-local address is not a floating IP.
		for _, r := range f.Requests(f.host1, time.Time{}) {
			if strings.Contains(r.Path+r.Body, "fe80") {
				t.Errorf("want no call for a link-local address, got %s %s", r.Method, r.Path)
			}
		}
	})
}

// A takeover while the file is half written: a notify script that starts then
// knows the addresses by what keepalived has loaded.
func TestTakeoverWhileKeepalivedConfIsHalfWritten(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		instance := lab.Instance{Name: "VI_4", ID: 51, Priority: 100, Addresses: []netip.Addr{lab.IPv4a, lab.IPv4b}, Excluded: []netip.Addr{lab.IPv6n}}
		f.configure(f.host1, mode, lab.Fast, equals(instance))
		f.configure(f.host2, mode, lab.Fast, equals(instance))
		client := f.client(instance.Addresses...)
		k := f.keepalived(f.host1)
		f.served(f.host1, time.Now(), client...)
		f.standby(f.host2)
		text, err := f.host2.ReadFile(lab.KeepalivedConf)
		f.must(err)
		f.must(f.host2.WriteFile(lab.KeepalivedConf, string(text[:strings.Index(string(text), lab.IPv4b.String())]), 0o644))
		f.must(k.Signal(unix.SIGKILL))
		f.must(f.host1.Cut())
		for _, ip := range []netip.Addr{lab.IPv4a, lab.IPv4b, lab.IPv6n} {
			f.until(ip.String()+" to move", func() bool { return f.Holder(ip) == f.host2 })
		}
	})
}

// An election binds a link-local address like any other, and hands it to no
// provider.
func TestElectedLinkLocalAddressIsBoundOnly(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.etcd()
	f.must(f.host1.ConfigureBerth(lab.Fast + fmt.Sprintf(`etcd: {endpoints: ["http://10.77.0.1:2379"], member: host1, lease-ttl: 4s}
election: {interface: %s, instances: [{name: api, addresses: [%v, "fe80::77/64"]}]}
`, lab.Link, lab.IPv4a)))
	_, err := f.host1.Start("berth", lab.BerthPath, "elect", lab.BerthConf)
	f.must(err)
	f.until("the floating IP to be here", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	f.until("the status to have both", func() bool { return len(f.status(f.host1, "api").Addresses) == 2 })
	for _, a := range f.status(f.host1, "api").Addresses {
		if strings.HasPrefix(a.Address, "fe80") && (a.Claims > 0 || !a.LastCall.IsZero() || a.Owner != "here") {
			t.Errorf("want a link-local address to be bound here and handed to no provider, got %+v", a)
		}
	}
	ip, err := testnet.Program("ip")
	f.must(err)
	if out, err := f.host1.Run(f.context(), ip, "-6", "addr", "show", "dev", lab.Link); err != nil || !strings.Contains(out, "fe80::77/64") {
		t.Errorf("want the link-local address on the owner, got %v:\n%s", err, out)
	}
}
