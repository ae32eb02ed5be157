package keepalivedconf_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/keepalivedconf"
)

// describedVersions are the versions of which versionRows has the result of every row.
var describedVersions = []string{"2.0.20", "2.1.5", "2.2.4", "2.2.7", "2.2.8", "2.3.3", "2.3.4", "2.4.3"}

// in writes an instance with an interface and a virtual_router_id, and one statement in
// each line.
func in(name, id string, statements ...string) string {
	return "vrrp_instance " + name + " {\ninterface eth0\nvirtual_router_id " + id + "\n" + strings.Join(statements, "\n") + "\n}\n"
}

// vips writes a block of addresses.
func vips(lines ...string) string {
	return "virtual_ipaddress {\n" + strings.Join(lines, "\n") + "\n}"
}

// many writes so many addresses, by a format of their number.
func many(n int, format string) string {
	var lines []string
	for i := 1; i <= n; i++ {
		lines = append(lines, fmt.Sprintf(format, i))
	}
	return vips(lines...)
}

// versionRow is a file that keepalived versions read differently. Its results are those
// of keepalived itself. A result begins with the first version that has it and is a line:
// "refused", "undefined" where the process ends, reads for ever or reads memory that is not its own, or
// each instance with its addresses and, after a bar, its excluded addresses.
type versionRow struct {
	name    string
	file    string
	also    map[string]string // other files
	results []reading
	// features are the differences that the row is about.
	features []string
}

type reading struct{ since, want string }

// brief renders a configuration as one line.
func brief(c *keepalivedconf.Config) string {
	for _, m := range c.Refusals {
		if strings.Contains(m.Message, "may crash here") {
			return "undefined"
		}
	}
	if c.Refused {
		return "refused"
	}
	var all []string
	for _, i := range c.Instances {
		words := []string{i.Name}
		if i.AdvertInterval != time.Second {
			words = append(words, "every="+i.AdvertInterval.String())
		}
		for _, p := range i.Peers {
			words = append(words, "peer="+p.String())
		}
		var addresses, excluded []string
		for _, ip := range i.Addresses {
			addresses = append(addresses, ip.Prefix.String())
		}
		for _, ip := range i.Excluded {
			excluded = append(excluded, ip.Prefix.String())
		}
		all = append(all, briefAddresses(words, addresses, excluded))
	}
	for _, g := range c.Groups {
		all = append(all, "group "+g.Name)
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, "; ")
}

// write writes the files of a row into a directory and returns the path of the first.
func (row versionRow) write(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "keepalived.conf")
	files := map[string]string{"keepalived.conf": row.file}
	for name, text := range row.also {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// want returns the result of a version.
func (row versionRow) want(version string) string {
	want := ""
	for _, r := range row.results {
		if compareVersions(version, r.since) >= 0 {
			want = r.want
		}
	}
	return want
}

func compareVersions(a, b string) int {
	var x, y [3]int
	if _, err := fmt.Sscanf(a+" "+b, "%d.%d.%d %d.%d.%d", &x[0], &x[1], &x[2], &y[0], &y[1], &y[2]); err != nil {
		panic(err)
	}
	for i := range x {
		if x[i] != y[i] {
			return x[i] - y[i]
		}
	}
	return 0
}

// TestReadsAsEachVersion compares our reading of each row, as each version, with what the
// daemon of that version was seen to make of it.
func TestReadsAsEachVersion(t *testing.T) {
	for _, row := range versionRows {
		t.Run(row.name, func(t *testing.T) {
			path := row.write(t, t.TempDir())
			for _, version := range describedVersions {
				c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{ConfigID: configID, Version: version})
				if err != nil {
					t.Fatal(err)
				}
				if got, want := brief(c), row.want(version); got != want {
					t.Errorf("keepalived %s: want %s, got %s\n%s%s", version, want, got, messages(c), row.file)
				}
			}
		})
	}
}

// TestVersionRowsAreThoseOfKeepalived asks keepalived what it makes of each row.
func TestVersionRowsAreThoseOfKeepalived(t *testing.T) {
	for _, d := range needDaemons(t) {
		for _, row := range versionRows {
			t.Run(d.Version+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				path := row.write(t, t.TempDir())
				_, interfaces, err := ourAnswer(path, d.Version)
				if err != nil {
					t.Fatal(err)
				}
				want := row.want(d.Version)
				theirs, err := askKeepalived(question{Daemon: d, Path: path, Interfaces: interfaces})
				if want == "undefined" && errors.Is(err, errSilent) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got := theirs.brief()
				// A process that reads memory that is not its own can end in any way.
				if got != want && want != "undefined" {
					t.Errorf("want %s, got %s\n%s%s", want, got, row.file, theirs.Log)
				}
			})
		}
	}
}

// brief renders an answer of keepalived as brief does ours.
func (a answer) brief() string {
	switch {
	case a.Crashed:
		return "undefined"
	case !a.Accepted:
		return "refused"
	}
	var all []string
	for _, i := range a.Instances {
		words := []string{i.Name}
		if i.Interval != time.Second {
			words = append(words, "every="+i.Interval.String())
		}
		for _, p := range i.Peers {
			peer, _, _ := strings.Cut(p, "/")
			words = append(words, "peer="+peer)
		}
		all = append(all, briefAddresses(words, i.Addresses, i.Excluded))
	}
	for _, g := range a.Groups {
		all = append(all, "group "+g.Name)
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, "; ")
}

func briefAddresses(words, addresses, excluded []string) string {
	if n := len(addresses); n > 50 {
		words = append(words, fmt.Sprintf("%d addresses", n))
	} else {
		words = append(words, addresses...)
	}
	if len(excluded) > 0 {
		words = append(append(words, "|"), excluded...)
	}
	return strings.Join(words, " ")
}
