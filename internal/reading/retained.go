package reading

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"berth/internal/files"
	"berth/internal/rundir"
	"berth/keepalivedconf"
)

// maxRetained bounds the file in the run directory that has the last good reading, for
// a start of berth while keepalived.conf is half written. It is in bytes.
const maxRetained = 64 << 20

// retained is what the file holds.
type retained struct {
	Path     string                 `json:"path"` // of keepalived.conf
	ConfigID string                 `json:"config_id,omitempty"`
	Config   *keepalivedconf.Config `json:"config"`
}

// load returns the last good reading of an earlier process, nil if there is none.
func (b *Book) load() *keepalivedconf.Config {
	if b.RunDirectory == "" {
		return nil
	}
	text, err := files.ReadOwn(rundir.Dir(b.RunDirectory).KeepalivedConf(), maxRetained)
	var k retained
	if err != nil || json.Unmarshal(text, &k) != nil || k.Path != b.absolute() || k.ConfigID != b.Options.ConfigID {
		return nil
	}
	return k.Config
}

// save writes the last good reading, readable by this user alone, as keepalived.conf
// may be. Parts that no decision needs are left out.
func (b *Book) save(c *keepalivedconf.Config) error {
	if b.RunDirectory == "" {
		return nil
	}
	is := *c
	is.Warnings, is.Files, is.Dirs = nil, nil, nil
	text, err := json.Marshal(retained{b.absolute(), b.Options.ConfigID, &is})
	if err != nil {
		return fmt.Errorf("save the last good reading of %s: %w", b.Path, err)
	}
	if err = os.MkdirAll(b.RunDirectory, 0o755); err == nil {
		err = files.Replace(rundir.Dir(b.RunDirectory).KeepalivedConf(), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("save the last good reading of %s: %w", b.Path, err)
	}
	return nil
}

func (b *Book) absolute() string {
	if abs, err := filepath.Abs(b.Path); err == nil {
		return abs
	}
	return b.Path
}
