package keepalivedconf_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var tablePath = flag.String("table", "", "file for a table of how many files keepalived and we read alike")

// versionsVariable names the directory with a keepalived of each distribution, which
// make versions has filled (test/distribution). Without it the installed keepalived
// alone is asked.
const versionsVariable = "BERTH_TEST_VERSIONS"

// daemon is a keepalived that is asked.
type daemon struct {
	Program string // path
	Tree    string // root of its own files, empty for the installed one
	Version string
	Signal  syscall.Signal // that makes it dump its data
}

// daemons asks each keepalived for its version once.
var daemons = sync.OnceValues(func() ([]daemon, error) {
	dir := os.Getenv(versionsVariable)
	if dir == "" {
		path, err := exec.LookPath("keepalived")
		if err != nil {
			return nil, fmt.Errorf("needs keepalived: %w", err)
		}
		d, err := introduce(daemon{Program: path})
		return []daemon{d}, err
	}
	programs, err := filepath.Glob(filepath.Join(dir, "*", "keepalived"))
	if err != nil || len(programs) == 0 {
		return nil, fmt.Errorf("find %s/*/keepalived: %d, %w", dir, len(programs), err)
	}
	var all []daemon
	for _, path := range programs {
		d, err := introduce(daemon{Program: path, Tree: filepath.Join(filepath.Dir(path), "tree")})
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b daemon) int { return strings.Compare(a.Version, b.Version) })
	return all, nil
})

// introduce fills in what keepalived says of itself.
func introduce(d daemon) (daemon, error) {
	said, err := askOnce(question{Daemon: d, Arguments: []string{"--version"}})
	if err != nil {
		return d, err
	}
	_, rest, _ := strings.Cut(said.Log, "Keepalived v")
	d.Version, _, _ = strings.Cut(rest, " ")
	if d.Version == "" {
		return d, fmt.Errorf("%s --version says %q", d.Program, said.Log)
	}
	said, err = askOnce(question{Daemon: d, Arguments: []string{"--signum=DATA"}})
	if err != nil {
		return d, err
	}
	number, err := strconv.Atoi(strings.TrimSpace(said.Log))
	if err != nil {
		return d, fmt.Errorf("ask %s for the number of the DATA signal: %w", d.Program, err)
	}
	d.Signal = syscall.Signal(number)
	return d, nil
}

// needDaemons skips the test where keepalived cannot run.
func needDaemons(t testing.TB) []daemon {
	t.Helper()
	var (
		missing string
		all     []daemon
	)
	if os.Geteuid() != 0 {
		missing = "needs root, to run keepalived in namespaces of its own"
	} else if _, err := exec.LookPath("ip"); err != nil {
		missing = "needs iproute2: " + err.Error()
	} else if all, err = daemons(); err != nil {
		missing = err.Error()
	}
	if missing == "" {
		return all
	}
	if os.Getenv("BERTH_TEST_REQUIRE_ROOT") == "1" || os.Getenv(versionsVariable) != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return nil
}

// result is how a comparison has ended.
type result int

const (
	agrees result = iota
	differs
	undefined  // and keepalived crashed, or was not asked
	survived   // undefined, and yet keepalived gave an answer
	impossible // on this machine
)

// tally counts results by version and kind of file.
type tally struct {
	mu   sync.Mutex
	rows map[string]map[string]map[result]int // guarded by mu
}

var compared = tally{rows: map[string]map[string]map[result]int{}}

func (t *tally) count(version, kind string, r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows[version] == nil {
		t.rows[version] = map[string]map[result]int{}
	}
	if t.rows[version][kind] == nil {
		t.rows[version][kind] = map[result]int{}
	}
	t.rows[version][kind][r]++
}

// write writes the table of make versions.
func (t *tally) write(path string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s %-13s %6s %6s %10s %10s %7s\n", "keepalived", "files", "agree", "of", "undefined", "survived", "no IPVS")
	for _, version := range slices.Sorted(maps.Keys(t.rows)) {
		kinds := t.rows[version]
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			n := kinds[kind]
			fmt.Fprintf(&b, "%-11s %-13s %6d %6d %10d %10d %7d\n", version, kind, n[agrees], n[agrees]+n[differs], n[undefined], n[survived], n[impossible])
		}
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}
