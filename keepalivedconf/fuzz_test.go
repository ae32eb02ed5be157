package keepalivedconf_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/keepalivedconf"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzParseFile checks that no text makes the reader panic, hang or return
// more than the text has, and that the instances it read, written in plain form,
// read the same again.
func FuzzParseFile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(text) < 4000 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "/") && strings.Contains(string(text), "include") {
			t.Skip("would read files of this machine")
		}
		path := filepath.Join(t.TempDir(), "keepalived.conf")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for _, version := range describedVersions {
			c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{ConfigID: "oracle-host", Version: version})
			if err != nil {
				t.Fatalf("a file that exists has no configuration: %v", err)
			}
			checkLimits(t, c)
			checkPrinted(t, c)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("reading %d bytes took %v", len(text), took)
		}
	})
}

// TestMistakesInTheCorpusDoNoHarm makes typical mistakes in files of the corpus: a
// line or a word lost, or in the wrong place.
func TestMistakesInTheCorpusDoNoHarm(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	var corpus [][]string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) < 4000 && !strings.Contains(string(text), "include") {
			corpus = append(corpus, strings.Split(string(text), "\n"))
		}
	}
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	for seed := range uint64(10000) {
		r := rand.New(rand.NewPCG(seed, 0))
		lines := slices.Concat(corpus[r.IntN(len(corpus))], corpus[r.IntN(len(corpus))])
		for range 1 + r.IntN(12) {
			at, other := r.IntN(len(lines)), corpus[r.IntN(len(corpus))]
			words := strings.Fields(lines[at])
			switch foreign := other[r.IntN(len(other))]; {
			case r.IntN(2) == 0:
				lines = slices.Insert(lines, at, foreign)
			case len(words) > 0:
				n := r.IntN(len(words))
				lines[at] = strings.Join(slices.Delete(words, n, n+1), " ")
			}
		}
		text := strings.Join(lines, "\n")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("%v, reading:\n%s", p, text)
				}
			}()
			c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{ConfigID: "oracle-host", Version: "2.2.7"})
			if err != nil {
				t.Fatal(err)
			}
			checkLimits(t, c)
		}()
	}
}

// checkLimits checks the limits of every result.
func checkLimits(t *testing.T, c *keepalivedconf.Config) {
	t.Helper()
	if len(c.Warnings) > 501 || len(c.Refusals) > 501 {
		t.Errorf("%d warnings and %d refusals are more than a person reads", len(c.Warnings), len(c.Refusals))
	}
	if c.Refused != (len(c.Refusals) > 0) {
		t.Errorf("Refused is %v with %d refusals", c.Refused, len(c.Refusals))
	}
	names := map[string]bool{}
	for _, i := range c.Instances {
		if names[i.Name] {
			t.Errorf("instance %q exists twice", i.Name)
		}
		names[i.Name] = true
		if len(i.Addresses) > 255 {
			t.Errorf("instance %q advertises %d addresses", i.Name, len(i.Addresses))
		}
		for _, ip := range i.Managed() {
			if !ip.Prefix.IsValid() {
				t.Errorf("instance %q has the invalid address %v", i.Name, ip)
			}
		}
	}
	for _, m := range append(c.Warnings, c.Refusals...) {
		if strings.ContainsAny(m.Message, "\n\x00\x1b") || m.Message == "" {
			t.Errorf("message %q is not a line of text", m.Message)
		}
	}
}

// checkPrinted writes a configuration that keepalived would run in plain form
// and reads it again.
func checkPrinted(t *testing.T, c *keepalivedconf.Config) {
	t.Helper()
	if c.Refused {
		return
	}
	var b strings.Builder
	b.WriteString("global_defs {\n  dynamic_interfaces\n}\n")
	for _, i := range c.Instances {
		// Some names cannot be written back: a name with a definition or an end of
		// line in it, and a name that fills the line. Only some versions read an instance
		// without an interface.
		if strings.ContainsAny(i.Name, "$\r\n\x00") || len(i.Name) > 900 || len(i.Interface) > 900 || i.Interface == "" {
			return
		}
		fmt.Fprintf(&b, "vrrp_instance \"%s\" {\n  interface \"%s\"\n  virtual_router_id %d\n  version %d\n", i.Name, i.Interface, i.VRID, i.Version)
		if i.Family == keepalivedconf.IPv6 && i.Version == 3 {
			b.WriteString("  native_ipv6\n")
		}
		for list, addresses := range map[string][]string{"virtual_ipaddress": lines(i.Addresses), "virtual_ipaddress_excluded": lines(i.Excluded)} {
			fmt.Fprintf(&b, "  %s {\n%s  }\n", list, strings.Join(addresses, ""))
		}
		b.WriteString("}\n")
	}
	path := filepath.Join(t.TempDir(), "printed.conf")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{ConfigID: "oracle-host", Version: "2.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	same := []cmp.Option{
		cmp.Transformer("plain", plain),
		cmpopts.EquateEmpty(),
		cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
	}
	if diff := cmp.Diff(c.Instances, again.Instances, same...); diff != "" {
		t.Errorf("instances read (-) and read again after printing (+):\n%s\nprinted:\n%s", diff, b.String())
	}
}

// plain reduces an instance to what checkPrinted writes.
func plain(i keepalivedconf.Instance) []string {
	out := []string{i.Name, i.Interface, fmt.Sprint(i.VRID, i.Family, i.Version)}
	out = append(out, lines(i.Addresses)...)
	out = append(out, "excluded")
	return append(out, lines(i.Excluded)...)
}

// lines returns addresses as keepalived.conf has them.
func lines(addresses []vrrp.FloatingIP) []string {
	out := make([]string, len(addresses))
	for n, ip := range addresses {
		out[n] = "    " + ip.String()
		if ip.Device != "" {
			out[n] += ` dev "` + ip.Device + `"`
		}
		out[n] += "\n"
	}
	return out
}
