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
	"berth/internal/journal"
	"berth/internal/rundir"

	"go.uber.org/zap"
)

// identityMax is more bytes than an identity has.
const identityMax = 256

// errNoIdentity says that a file does not contain an identity.
var errNoIdentity = errors.New("not an identity: 32 hexadecimal digits")

// Identity returns the identity of a run directory, which the first berth there draws
// at random: with it members are told apart that have one name by mistake. An identity
// that cannot be written is one for this process alone, and that is told.
func Identity(runDirectory string, j *journal.Journal) string {
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
		j.Tell(identityUnwritable, zap.Error(fmt.Errorf("write %s: %w", path, err)))
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
