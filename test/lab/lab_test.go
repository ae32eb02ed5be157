package lab_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/testnet"
	"berth/test/lab"
)

func TestOutages(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * lab.Interval) }
	for _, tt := range []struct {
		name    string
		answers string // one letter per request, - for a lost one
		want    []lab.Outage
	}{
		{"no request", "", nil},
		{"all answered", "111", nil},
		{"none answered", "---", nil},
		{"lost before the first answer", "--11", nil},
		{"lost after the last answer", "11--", nil},
		{"one lost", "1-1", []lab.Outage{{From: at(1), To: at(2), Lost: 1}}},
		{"moved to another host without loss", "1122", nil},
		{"two outages", "1--22-1", []lab.Outage{{From: at(1), To: at(3), Lost: 2}, {From: at(5), To: at(6), Lost: 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var samples []lab.Sample
			for i, by := range strings.Split(tt.answers, "") {
				s := lab.Sample{Sent: at(i)}
				if by != "-" {
					s.Answered, s.By = at(i), by
				}
				samples = append(samples, s)
			}
			if diff := cmp.Diff(tt.want, lab.Outages(samples)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The measurements are right only if the lab is: packets follow the API and nothing
// else.
func TestPacketsFollowTheAPI(t *testing.T) {
	testnet.Require(t, lab.Programs...)
	l, err := lab.New(lab.Options{Binary: "/bin/true"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	host1, host2 := l.Hosts[0], l.Hosts[1]
	for _, ip := range []netip.Addr{lab.IPv4a, lab.IPv6n, lab.IPv6c} {
		for _, h := range l.Hosts {
			if err := h.AddAddress(lab.Link, netip.PrefixFrom(ip, ip.BitLen())); err != nil {
				t.Fatal(err)
			}
		}
		p, err := l.Probe(ip)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []*lab.Host{host1, host2, host1} {
			moved := time.Now()
			if err := l.Assign(ip, h); err != nil {
				t.Fatal(err)
			}
			if err := l.Wait(ctx, "answers by "+h.Name, func() bool {
				_, ok := p.ServedBy(h, moved)
				return ok
			}); err != nil {
				t.Errorf("%v: %v", ip, err)
			}
			if got := l.Holder(ip); got != h {
				t.Errorf("%v: want holder %s, got %v", ip, h.Name, got)
			}
		}
		if err := host1.Cut(); err != nil {
			t.Fatal(err)
		}
		cut := time.Now()
		if err := l.Wait(ctx, "ten lost requests", func() bool {
			lost := 0
			for _, s := range slices.Backward(p.Samples()) {
				if s.By != "" || !s.Sent.After(cut) {
					break
				}
				lost++
			}
			return lost >= 10
		}); err != nil {
			t.Errorf("%v behind the cut: %v", ip, err)
		}
		mended := time.Now()
		if err := host1.Mend(); err != nil {
			t.Fatal(err)
		}
		if err := l.Wait(ctx, "answers after mending", func() bool {
			_, ok := p.ServedBy(host1, mended)
			return ok
		}); err != nil {
			t.Errorf("%v: %v", ip, err)
		}
	}
	if has, _ := host1.Has(lab.IPv6n); !has {
		t.Error("want the address that was added to be known as bound")
	}
}
