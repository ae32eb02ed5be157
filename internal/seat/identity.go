package seat

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/files"
	"berth/internal/rundir"

	"go.uber.org/zap"
)

// identityMax is more bytes than an identity has.
const identityMax = 256

// errNoIdentity says that a file has something else.
var errNoIdentity = errors.New("not an identity: 32 hexadecimal digits")

// Identity returns the identity of a run directory, which the first berth there makes
// by chance: with it members are told apart that have one name by mistake. Where it
// cannot be kept it is one for this process alone, and that is said.
func Identity(runDirectory string, log *zap.Logger) string {
	path := rundir.Dir(runDirectory).Identity()
	id, err := readIdentity(path, files.ReadOwn)
	if err == nil {
		return id
	}
	var random [16]byte
	rand.Read(random[:]) // never fails
	id = hex.EncodeToString(random[:])
	if errors.Is(err, errNoIdentity) {
		err = files.Replace(path, []byte(id+"\n"), 0o644)
	} else if errors.Is(err, fs.ErrNotExist) {
		if err = create(path, id); errors.Is(err, fs.ErrExist) { // by another process meanwhile
			var theirs string
			if theirs, err = readIdentity(path, files.ReadOwn); err == nil {
				return theirs
			}
		}
	}
	if err != nil {
		log.Warn("cannot keep the identity of this host in the run directory; this process has one of its own, so that two berths of this host can be taken for two hosts of one name",
			zap.Error(fmt.Errorf("keep %s: %w", path, err)))
	}
	return id
}

// ReadIdentity returns the identity of a run directory, empty if none can be read.
func ReadIdentity(runDirectory string) string {
	id, _ := readIdentity(rundir.Dir(runDirectory).Identity(), files.Read)
	return id
}

func readIdentity(path string, read func(string, int64) ([]byte, error)) (string, error) {
	text, err := read(path, identityMax)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(text))
	if b, err := hex.DecodeString(id); err != nil || len(b) != 16 {
		return "", errNoIdentity
	}
	return id, nil
}

// create makes the file unless it is there.
func create(path, id string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return files.Create(path, []byte(id+"\n"), 0o644)
}
