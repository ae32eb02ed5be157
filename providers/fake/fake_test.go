package fake_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"berth/providers"
	"berth/providers/fake"
	"berth/vrrp"
)

// lines is a writer that records the bytes of each call of Write.
type lines struct {
	got []string
	err error
}

func (l *lines) Write(p []byte) (int, error) {
	l.got = append(l.got, string(p))
	return len(p), l.err
}

func permit(context.Context) error { return nil }

func ip(text string) vrrp.FloatingIP { return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(text)} }

func TestEveryRefreshIsOneLineAsConfigured(t *testing.T) {
	var out lines
	p := fake.NewPrinter(&out, nil)
	target := p.Target(ip("192.0.2.10/24"), permit)
	for i, first := range []bool{true, false} {
		previous, changed, err := target.Ensure(t.Context(), first)
		if previous != "" || changed != first || err != nil {
			t.Errorf("refresh %d: want changed %v, got %q, %v, %v", i+1, first, previous, changed, err)
		}
	}
	if _, _, err := p.Target(ip("2001:db8::10/128"), permit).Ensure(t.Context(), true); err != nil {
		t.Error(err)
	}
	want := []string{"REFRESH 192.0.2.10/24\n", "REFRESH 192.0.2.10/24\n", "REFRESH 2001:db8::10/128\n"}
	if d := cmp.Diff(want, out.got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
}

func TestLinesOfManyTargetsDoNotMix(t *testing.T) {
	var out lines // unlocked on purpose: the race detector watches
	p := fake.NewPrinter(&out, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { p.Target(ip("192.0.2.10/24"), permit).Ensure(t.Context(), true) })
	}
	wg.Wait()
	if len(out.got) != 20 {
		t.Errorf("want 20 lines, got %d", len(out.got))
	}
}

func TestNothingIsPrintedWithoutAPermit(t *testing.T) {
	fenced := errors.New("fenced")
	var out lines
	_, changed, err := fake.NewPrinter(&out, nil).Target(ip("192.0.2.10/24"), func(context.Context) error { return fenced }).Ensure(t.Context(), true)
	if err != fenced || changed || len(out.got) != 0 {
		t.Errorf("want the permit's error and no line, got %v, %v", err, out.got)
	}
}

func TestReaderThatIsGone(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		wantErr string
	}{
		{"closed pipe is not an error", io.ErrClosedPipe, ""},
		{"full disk is an error", errors.New("disk full"), "print refresh of 192.0.2.10/24: disk full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := fake.NewPrinter(&lines{err: tt.err}, nil).Target(ip("192.0.2.10/24"), permit).Ensure(t.Context(), true)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.wantErr {
				t.Errorf("want %q, got %q", tt.wantErr, text)
			}
		})
	}
}

func TestFakeAccountHasEverythingAlready(t *testing.T) {
	p, err := fake.Entry.New(providers.Deps{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr("192.0.2.10")
	got, err := p.Observe(t.Context(), []netip.Addr{a})
	if err != nil || got[a].Kind != providers.Mine {
		t.Errorf("want mine, got %+v, %v", got, err)
	}
}

func TestFakeHasNoKeys(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("token: x"), &doc); err != nil {
		t.Fatal(err)
	}
	if err := fake.Entry.Check(&doc); err == nil || !strings.Contains(err.Error(), `unknown key "token"`) {
		t.Errorf("want an unknown key, got %v", err)
	}
}
