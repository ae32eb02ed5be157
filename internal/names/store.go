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

	"berth/internal/files"

	"go.uber.org/zap"
)

const (
	fileName = "names.json"
	maxFile  = 256 << 10 // bytes
	maxNames = 64        // kept; the one that was looked up longest ago goes
	// stale is how old the time of an entry may become before it is written anew,
	// its addresses being the same.
	stale = 24 * time.Hour
)

// store keeps answers in a file that all processes of a host share. It is a cache
// and no more: whatever is wrong with the file costs a warning, once, and never
// an error. A nil store keeps nothing.
type store struct {
	path string
	log  *zap.Logger

	mu     sync.Mutex
	warned map[string]bool
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
		s.warn("ignoring the addresses that were kept of names", err)
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
		f = file{} // nothing of it is of use
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
		s.warn("cannot keep the addresses of names for the next start", err)
	}
}

// warn says each message once. It is called with mu held.
func (s *store) warn(message string, err error) {
	if s.warned == nil {
		s.warned = map[string]bool{}
	}
	if !s.warned[message] {
		s.warned[message] = true
		s.log.Warn(message, zap.String("file", s.path), zap.Error(err))
	}
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

// parse reads the form on disk. One entry that cannot be right makes the whole
// file none of berth's.
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
			return file{}, fmt.Errorf("parse: %q is no host name", name)
		}
		if len(e.Addresses) == 0 || len(e.Addresses) > 2*maxAddresses {
			return file{}, fmt.Errorf("parse: %s has %d addresses", name, len(e.Addresses))
		}
		for _, a := range e.Addresses {
			if !usableAddress(a) || a.Zone() != "" || a.Is4In6() {
				return file{}, fmt.Errorf("parse: %q of %s is no address of a host", a, name)
			}
		}
	}
	return f, nil
}

// validName reports whether a text can be a host name in lower case; what exactly
// a resolver takes for one is its own affair.
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
