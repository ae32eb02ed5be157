package providers

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/internal/boot"
	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/rundir"
)

// IDs is what a provider had to look up once: with it the first claim after a start
// depends neither on the metadata service nor on lists.
type IDs struct {
	// Server is the id of this host, "" if it was not looked up.
	Server string `json:"server,omitempty"`
	// Zone is where this host is, "" if it was not looked up.
	Zone string `json:"zone,omitempty"`
	// Objects has what the provider needs to know, such as an id, of each network
	// of the account that can float; nil if they were not looked up.
	Objects map[netip.Prefix]string `json:"objects,omitempty"`
}

// IDKey says where IDs are valid. Another boot, host, endpoint or zone means other
// ids, and the cache is then empty.
type IDKey struct {
	Provider string `json:"provider"`
	Endpoint string `json:"endpoint"`
	Zone     string `json:"zone"`
	Hostname string `json:"hostname"` // hosts in containers share a boot
	BootID   string `json:"boot_id"`  // see BootID
}

const (
	maxIDFile   = 1 << 20 // bytes
	idLockTries = 10 * time.Millisecond
	idLockWait  = 200 * time.Millisecond // a claim may be waiting behind this
)

// BootID returns the id of this boot, "" if it cannot be read.
func BootID() string {
	id, _ := boot.ID()
	return id
}

// IDCache stores IDs in a file of the run directory, shared by all processes of
// this host. It is a cache and no more: a file that cannot be read or written costs
// a warning, and never an error. It is safe for concurrent use.
type IDCache struct {
	path string // "" for none on disk
	key  IDKey

	journal *journal.Journal

	mu         sync.Mutex // guards all below
	ignored    bool       // it was told that the file is ignored
	unwritable *journal.Condition
	known      []byte // what this process last saw or put in the file
}

// NewIDCache returns the cache for a key in dir; with dir "" it stores nothing. j may
// be nil.
func NewIDCache(dir string, key IDKey, j *journal.Journal) *IDCache {
	if j == nil {
		j = journal.New(nil)
	}
	c := &IDCache{key: key}
	if dir != "" {
		// The boot is not part of the name, so that files do not pile up.
		sum := sha256.Sum256([]byte(key.Endpoint + "\x00" + key.Zone + "\x00" + key.Hostname))
		c.path = rundir.Dir(dir).ProviderIDs(key.Provider, sum[:6])
	}
	c.journal = j.With(zap.String("file", c.path))
	c.unwritable = c.journal.Condition()
	return c
}

// idFile is the form on disk.
type idFile struct {
	Key IDKey `json:"key"`
	IDs IDs   `json:"ids"`
}

// Load returns what the file has for the key, or nothing.
func (c *IDCache) Load() IDs {
	if c.path == "" {
		return IDs{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ids, err := c.read()
	if err != nil {
		if !c.ignored {
			c.ignored = true
			c.journal.Tell(idsIgnored, zap.Error(err))
		}
		return IDs{}
	}
	return ids
}

// Store adds what is known to the file; an empty field leaves what is there.
func (c *IDCache) Store(ids IDs) {
	if c.path == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.store(ids); err != nil {
		c.unwritable.Fail(idsUnwritable, err)
		return
	}
	c.unwritable.Clear()
}

// read is called with mu held. No file, or one of another boot, is not an error.
func (c *IDCache) read() (IDs, error) {
	b, err := files.ReadOwn(c.path, maxIDFile)
	if errors.Is(err, fs.ErrNotExist) {
		return IDs{}, nil
	}
	if err != nil {
		return IDs{}, err
	}
	ids, err := parseIDs(b, c.key)
	if err == nil {
		c.known = b
	}
	return ids, err
}

// parseIDs reads the form on disk. A file of another boot gives nothing.
func parseIDs(b []byte, key IDKey) (IDs, error) {
	var f idFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return IDs{}, fmt.Errorf("parse: %w", err)
	}
	boot := f.Key.BootID
	f.Key.BootID = key.BootID
	if f.Key != key {
		return IDs{}, errors.New("made for another provider, endpoint, zone or host")
	}
	if boot != key.BootID {
		return IDs{}, nil
	}
	for network := range f.IDs.Objects {
		if !network.IsValid() || network != network.Masked() {
			return IDs{}, fmt.Errorf("%q is not a network", network)
		}
	}
	return f.IDs, nil
}

// store is called with mu held. The lock makes read, merge and replace one step
// among processes; the rename makes each reader see a whole file.
func (c *IDCache) store(ids IDs) error {
	if next, err := c.encode(ids); err == nil && bytes.Equal(next, c.known) {
		return nil // as at each quiet refresh
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()

	if old, err := c.read(); err == nil {
		if ids.Server == "" {
			ids.Server = old.Server
		}
		if ids.Zone == "" {
			ids.Zone = old.Zone
		}
		if ids.Objects == nil {
			ids.Objects = old.Objects
		}
	}
	next, err := c.encode(ids)
	if err != nil {
		return err
	}
	if err := files.Replace(c.path, next, 0o600); err != nil {
		return err
	}
	c.known = next
	return nil
}

// lock keeps other processes from storing; it waits a moment for those that do.
func (c *IDCache) lock() (*files.LockFile, error) {
	for end := time.Now().Add(idLockWait); ; time.Sleep(idLockTries) {
		f, err := files.Lock(c.path + ".lock")
		if err == nil || !errors.Is(err, files.ErrLocked) || time.Now().After(end) {
			return f, err
		}
	}
}

func (c *IDCache) encode(ids IDs) ([]byte, error) {
	b, err := json.MarshalIndent(idFile{Key: c.key, IDs: ids}, "", "  ")
	return append(b, '\n'), err
}
