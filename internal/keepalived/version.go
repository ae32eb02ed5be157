package keepalived

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/rundir"
	"berth/keepalivedconf"

	"go.uber.org/zap"
)

// Basis says why a version is the one that counts.
type Basis string

// The bases, the first that applies counts.
const (
	Configured Basis = "configured" // keepalived-version says so
	Running    Basis = "running"    // the keepalived that runs is not the installed one
	Installed  Basis = "installed"
	Assumed    Basis = "assumed" // no keepalived was found, or none that tells its version
)

// Version is the version as which keepalived's configuration is read, and why.
type Version struct {
	Version string `json:"version"` // such as "2.2.7"; as berth was told
	ReadAs  string `json:"read_as"` // Version, or the nearest one that berth knows
	Basis   Basis  `json:"basis"`
	// Program is the executable that told Version, empty where none did; of a running
	// keepalived as that sees it. PID is that of the running one, 0 for the others.
	Program string `json:"program,omitempty"`
	PID     int    `json:"pid,omitempty"`
	// Warnings say what is assumed, and the cure behind the last semicolon. In JSON they
	// are a list also where there are none.
	Warnings []string `json:"warnings"`

	err error // of asking the program that is installed
}

// String says for people what is read as which version, and why.
func (v Version) String() string {
	read := "keepalived.conf is read as keepalived " + v.ReadAs + " reads it: "
	of := ""
	if v.Version != v.ReadAs {
		of = " of version " + v.Version
	}
	switch v.Basis {
	case Configured:
		return read + "keepalived-version is " + v.Version
	case Running:
		return read + fmt.Sprintf("it runs%s as process %d (%s)", of, v.PID, v.Program)
	case Installed:
		return read + fmt.Sprintf("it is installed%s as %s", of, v.Program)
	}
	return read + "no keepalived tells its version, and this is the newest that berth knows"
}

// VersionOptions say where a version is looked for.
type VersionOptions struct {
	Configured   string // keepalived-version, empty: not configured
	RunDirectory string // where the answer of the installed one is kept, empty: nowhere
	// Process, which may be nil, returns the parent process of the keepalived that runs.
	Process func() (pid int, ok bool)
	Journal *journal.Journal // which may be nil
}

// Versions finds out as which version keepalived's configuration is to be read. Its
// methods may be called by several goroutines at once.
type Versions struct {
	options VersionOptions

	mu    sync.Mutex
	told  Version // last; guarded by mu
	asked answer  // of the program that is installed; guarded by mu
}

// answer is what a program's file has said, or why it has not.
type answer struct {
	key     string // of the file
	version string
	err     error
}

// NewVersions returns what finds the version. Nothing is looked for before a method asks.
func NewVersions(o VersionOptions) *Versions {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	return &Versions{options: o}
}

// ReadAs returns the version whose rules count now, and tells the journal when that is
// another than before. It is cheap enough for every second: a program that is the same
// is not asked again.
func (s *Versions) ReadAs() string {
	v := s.find()
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.Version != s.told.Version || v.Basis != s.told.Basis {
		s.told = v
		s.tell(v)
	}
	return v.ReadAs
}

func (s *Versions) tell(v Version) {
	fields := []zap.Field{zap.String("version", v.Version), zap.String("read_as", v.ReadAs), zap.String("basis", string(v.Basis))}
	if v.Program != "" {
		fields = append(fields, zap.String("program", v.Program))
	}
	j := s.options.Journal
	switch {
	case v.err != nil:
		j.Tell(versionUnknown, append(fields, zap.Error(v.err))...)
	case v.ReadAs != v.Version:
		j.Tell(versionBeyond, fields...)
	case v.Basis == Assumed:
		j.Tell(versionAssumed, fields...)
	case v.Basis == Running:
		j.Tell(versionRunning, append(fields, zap.Int("pid", v.PID))...)
	default:
		j.Debug("version as which keepalived's configuration is read", fields...)
	}
}

// Report returns the version whose rules count now, with all that there is to warn of. A
// keepalived-version that no keepalived of this host has is such a thing.
func (s *Versions) Report() Version {
	v := s.find()
	if v.Basis == Configured {
		o := s.options
		o.Configured = ""
		if is := NewVersions(o).find(); is.Basis != Assumed && is.Version != v.Version {
			v.Warnings = append(v.Warnings, fmt.Sprintf("keepalived-version is %s, but %s is keepalived %s; remove keepalived-version", v.Version, is.Program, is.Version))
		}
	}
	return v
}

func (s *Versions) find() Version {
	v := s.basis()
	v.ReadAs = v.Version
	switch is := parts(v.Version); {
	case slices.Compare(is, parts(keepalivedconf.Newest)) > 0:
		v.ReadAs = keepalivedconf.Newest
		v.Warnings = append(v.Warnings, fmt.Sprintf("keepalived %s is newer than %s, the newest that berth knows; update berth", v.Version, v.ReadAs))
	case slices.Compare(is, parts(keepalivedconf.Oldest)) < 0:
		v.ReadAs = keepalivedconf.Oldest
		v.Warnings = append(v.Warnings, fmt.Sprintf("keepalived %s is older than %s, the oldest that berth knows; update keepalived", v.Version, v.ReadAs))
	}
	return v
}

func (s *Versions) basis() Version {
	if s.options.Configured != "" {
		return Version{Version: s.options.Configured, Basis: Configured, Warnings: []string{}}
	}
	v := Version{Version: keepalivedconf.Newest, Basis: Assumed, Warnings: []string{}}
	program, version, err := s.installed()
	switch {
	case err != nil:
		v.err = err
		v.Warnings = append(v.Warnings, err.Error()+"; set keepalived-version")
	case program != "":
		v.Version, v.Basis, v.Program = version, Installed, program
	}
	pid, ok := 0, false
	if s.options.Process != nil {
		pid, ok = s.options.Process()
	}
	if !ok {
		if v.Basis == Assumed && err == nil {
			v.Warnings = append(v.Warnings, "no keepalived was found, neither installed nor running; set keepalived-version")
		}
		return v
	}
	return v.running(pid, program)
}

// running returns the version of the keepalived that runs, if that is not the installed
// one, of which program is the path.
func (v Version) running(pid int, program string) Version {
	exe := "/proc/" + strconv.Itoa(pid) + "/exe"
	if same(exe, program) {
		return v
	}
	path, err := os.Readlink(exe)
	version := ""
	if err == nil {
		version, err = versionIn(exe)
	}
	if err != nil {
		v.Warnings = append(v.Warnings, fmt.Sprintf("cannot tell which version of keepalived runs as process %d: %v; run berth as root, or set keepalived-version", pid, err))
		return v
	}
	file, replaced := strings.CutSuffix(path, " (deleted)")
	switch {
	case v.Basis != Installed:
		v.Warnings = append(v.Warnings, fmt.Sprintf("keepalived runs as %s of process %d and is not installed here: its reading counts while it runs; set keepalived-version", file, pid))
	case version == v.Version:
	case replaced || file == v.Program:
		v.Warnings = append(v.Warnings, fmt.Sprintf("process %d is still keepalived %s, and %s is %s: the reading changes when keepalived is restarted; restart keepalived", pid, version, v.Program, v.Version))
	default:
		v.Warnings = append(v.Warnings, fmt.Sprintf("keepalived %s runs as %s of process %d, and %s is %s: the reading of the one that runs counts; set keepalived-version, or correct keepalived-pid-file if that process is not the one that is meant", version, file, pid, v.Program, v.Version))
	}
	v.Version, v.Basis, v.Program, v.PID, v.err = version, Running, file, pid, nil
	return v
}

// same reports whether a process runs the very file.
func same(exe, program string) bool {
	a, err := os.Stat(exe)
	if err != nil {
		return false
	}
	b, err := os.Stat(program)
	return err == nil && os.SameFile(a, b)
}

// parts returns the numbers of a version. One that is left out counts as 0.
func parts(version string) []int {
	numbers := make([]int, 3)
	for i, text := range strings.SplitN(version, ".", 3) {
		numbers[i], _ = strconv.Atoi(text)
	}
	return numbers
}

// said is how keepalived names its version, in its answer and in its executable.
var said = regexp.MustCompile(`Keepalived v(\d{1,4}\.\d{1,4}\.\d{1,4})`)

// maxExecutable bounds what is read of an executable, in bytes; keepalived's has about
// one million.
const maxExecutable = 64 << 20

// versionIn returns the version that keepalived's executable names. It is not run: it may
// belong to a container.
func versionIn(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return versionOf(io.LimitReader(f, maxExecutable))
}

var errNoVersion = errors.New("its executable names no version")

func versionOf(r io.Reader) (string, error) {
	const longest = 64 // bytes of the text, and of what is kept of the block before
	block := make([]byte, 1<<16)
	kept := 0
	for {
		n, err := io.ReadFull(r, block[kept:])
		text := block[:kept+n]
		if m := said.FindSubmatchIndex(text); m != nil && (m[1] < len(text) || err != nil) {
			return string(text[m[2]:m[3]]), nil
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return "", errNoVersion
		case err != nil:
			return "", err
		}
		kept = copy(block, text[len(text)-longest:])
	}
}

// versionTimeout bounds `keepalived --version`.
const versionTimeout = time.Second

// maxVersionFile bounds the file that caches the version, in bytes.
const maxVersionFile = 8 << 10

// installed returns the keepalived that is installed on this machine, and its version;
// nothing if there is none. As asking takes longer than a claim, the answer is kept, and
// cached in the run directory, if that is given, for as long as the program's file stays
// the same.
func (s *Versions) installed() (program, version string, err error) {
	program, err = exec.LookPath("keepalived")
	if err != nil {
		program = "/usr/sbin/keepalived" // not on the PATH of every script
	}
	st, err := os.Stat(program)
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("ask keepalived for its version: %w", err)
	}
	if abs, err := filepath.Abs(program); err == nil {
		program = abs
	}
	key := fmt.Sprintf("%s %d %d ", program, st.Size(), st.ModTime().UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.key != key {
		s.asked = answer{key: key}
		s.asked.version, s.asked.err = askVersion(program, key, s.options.RunDirectory)
	}
	return program, s.asked.version, s.asked.err
}

func askVersion(program, key, runDirectory string) (string, error) {
	cache := rundir.Dir(runDirectory).KeepalivedVersion()
	if text, err := files.ReadOwn(cache, maxVersionFile); err == nil {
		version, ours := strings.CutPrefix(string(text), key)
		if version, whole := strings.CutSuffix(version, "\n"); ours && whole {
			return version, nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // berth's may hold secrets
	cmd.WaitDelay = versionTimeout                  // a wrapper's child may keep the output open
	out, err := cmd.CombinedOutput()
	m := said.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("ask keepalived for its version: unexpected answer of %s --version: %w", program, errors.Join(err, ctx.Err()))
	}
	version := string(m[1])
	// Without the cache, or when others may have written it, the next start asks again.
	if runDirectory != "" && os.MkdirAll(runDirectory, 0o755) == nil {
		_ = files.Replace(cache, []byte(key+version+"\n"), 0o644)
	}
	return version, nil
}
