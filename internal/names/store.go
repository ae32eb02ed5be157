package names

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/internal/files"
	"berth/internal/journal"
)

const (
	maxFile  = 256 << 10 // bytes
	maxNames = 64        // in the file; the one that was looked up longest ago goes
	// stale is how old the time of an entry may become before it is written anew
	// although its addresses are the same.
	stale = 24 * time.Hour
)

// store has answers in a file that all processes of a host share. It is a cache and
// no more: a file that cannot be read or written costs a warning, and never an error.
// A nil store stores nothing.
type store struct {
	path       string
	journal    *journal.Journal
	unwritable *journal.Condition

	mu sync.Mutex // one use of the file at a time
}

func newStore(path string, j *journal.Journal) *store {
	j = j.With(zap.String("file", path))
	return &store{path: path, journal: j, unwritable: j.Condition()}
}

// entry is what the file has of a name.
type entry struct {
	Addresses []netip.Addr `json:"addresses"`
	Time      time.Time    `json:"time"` // of the look-up
}

type file struct {
	Names map[string]entry `json:"names"`
}

// load returns what the file has.
func (s *store) load() map[string][]netip.Addr {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.read()
	if err != nil {
		s.journal.Tell(fileIgnored, zap.Error(err))
		return nil
	}
	all := map[string][]netip.Addr{}
	for name, e := range f.Names {
		all[name] = e.Addresses
	}
	return all
}

// save puts the addresses of a name into the file. Two processes that do so at the
// same time may lose one of the two entries, which comes back with the next
// look-up: the file is compared each time.
func (s *store) save(name string, addresses []netip.Addr) {
	if s == nil || !validName(name) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.read()
	if err != nil {
		f = file{} // it is replaced
	}
	now := time.Now().Round(0)
	if old, ok := f.Names[name]; ok && sameSet(old.Addresses, addresses) && now.Sub(old.Time).Abs() < stale {
		return
	}
	if f.Names == nil {
		f.Names = map[string]entry{}
	}
	f.Names[name] = entry{Addresses: addresses, Time: now}
	for len(f.Names) > maxNames {
		oldest := name
		for other, e := range f.Names {
			if e.Time.Before(f.Names[oldest].Time) {
				oldest = other
			}
		}
		delete(f.Names, oldest)
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path), 0o755)
	}
	if err == nil {
		err = files.Replace(s.path, append(text, '\n'), 0o644)
	}
	if err != nil {
		s.unwritable.Fail(fileUnwritable, err)
		return
	}
	s.unwritable.Clear()
}

func (s *store) read() (file, error) {
	text, err := files.ReadOwn(s.path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, nil
	}
	if err != nil {
		return file{}, err
	}
	return parse(text)
}

// parse reads the form on disk. One entry that cannot be right means that the file
// was not written by berth.
func parse(text []byte) (file, error) {
	var f file
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return file{}, fmt.Errorf("parse: %w", err)
	}
	if len(f.Names) > maxNames {
		return file{}, fmt.Errorf("parse: more than %d names", maxNames)
	}
	for name, e := range f.Names {
		if !validName(name) {
			return file{}, fmt.Errorf("parse: %q is not a host name", name)
		}
		if len(e.Addresses) == 0 || len(e.Addresses) > 2*maxAddresses {
			return file{}, fmt.Errorf("parse: %s has %d addresses", name, len(e.Addresses))
		}
		for _, a := range e.Addresses {
			if !usableAddress(a) || a.Zone() != "" || a.Is4In6() {
				return file{}, fmt.Errorf("parse: %q of %s is not an address of a host", a, name)
			}
		}
	}
	return f, nil
}

// validName reports whether a text can be a host name in lower case; the resolver
// decides whether it is one.
func validName(name string) bool {
	if name == "" || len(name) > 254 { // RFC 1035, section 3.1, and a dot at the end
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '/' || r == ':' || r >= 'A' && r <= 'Z'
	})
}

func sameSet(a, b []netip.Addr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Addr.Compare)
	slices.SortFunc(b, netip.Addr.Compare)
	return slices.Equal(a, b)
}
