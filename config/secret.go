package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/section"

	"go.uber.org/zap"
)

// Stars is the text that a Secret prints.
const Stars = "*****"

// Secret is a text that never prints: not through fmt, zap, YAML or JSON.
type Secret string

// String returns stars.
func (Secret) String() string { return Stars }

// GoString returns stars, for %#v.
func (Secret) GoString() string { return Stars }

// MarshalText returns stars, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(Stars), nil }

// Reveal returns the text itself. Use it only in the call that needs the secret.
func (s Secret) Reveal() string { return string(s) }

// SecretSource is the environment in which the secrets of one section are looked up.
type SecretSource struct {
	Section string // of the keys, such as "etcd"
	// CredentialPrefix is what the names of systemd's credentials have before the
	// key; may be empty.
	CredentialPrefix string
	Getenv           func(string) string
	Config           *Config          // the configuration that has the section
	Journal          *journal.Journal // told of a secret that every user can read; nil means none
}

// maxSecret bounds a secret file; tokens have some hundred bytes at most.
const maxSecret = 64 << 10

// Resolve finds the secret named key (such as "token"): the inline value, else
// the file named by its twin key-file, else what Options.Secrets has, else
// $CREDENTIALS_DIRECTORY/key, else
// the environment variable env. The error is a *section.Problem of the key that is
// to blame: no source has the secret, the file is empty, or users beside the owner
// and the group of the file can read it.
func (s SecretSource) Resolve(key string, inline Secret, file, env string) (Secret, error) {
	path := s.Section + "." + key
	switch {
	case inline != "" && file != "":
		return "", &section.Problem{Key: path + "-file", Text: "found beside " + path + "; write one of the two"}
	case inline != "":
		if s.Config.OthersCanRead && s.Journal != nil {
			s.Journal.Tell(secretReadable, zap.String("key", path), zap.String("file", s.Config.Path), zap.Int("line", s.Config.line(path)))
		}
		return inline, nil
	case file != "":
		secret, err := ReadSecret(file)
		if err != nil {
			return "", &section.Problem{Key: path + "-file", Text: err.Error()}
		}
		return secret, nil
	}
	if secret := s.Config.secrets[path]; secret != "" {
		return secret, nil
	}
	if dir := s.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		secret, err := ReadSecret(filepath.Join(dir, s.CredentialPrefix+key))
		if err == nil {
			return secret, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &section.Problem{Key: path, Text: "systemd credential: " + err.Error()}
		}
	}
	if v := s.Getenv(env); v != "" {
		return Secret(v), nil
	}
	return "", &section.Problem{Key: path, Text: fmt.Sprintf("missing; write %s or %s-file, or set the environment variable %s", key, key, env)}
}

// Provided reports whether the environment has a secret, as Resolve would look for it: that
// it cannot be read does not count as a no.
func (s SecretSource) Provided(key, env string) bool {
	if s.Getenv(env) != "" {
		return true
	}
	dir := s.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, s.CredentialPrefix+key))
	return !errors.Is(err, fs.ErrNotExist)
}

// ReadSecret reads a secret from a file, without the white space around it. The error says
// that the file is empty, too large, or that users beside the owner and the group of the
// file can read it.
func ReadSecret(path string) (Secret, error) {
	text, st, err := files.ReadInfo(path, maxSecret)
	switch {
	case errors.Is(err, files.ErrTooLarge):
		return "", fmt.Errorf("%s is larger than %d bytes; this is not a secret", path, maxSecret)
	case err != nil:
		return "", err
	case st.Mode().Perm()&0o004 != 0:
		return "", fmt.Errorf("every user can read %s; run: chmod o= %s", path, path)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return Secret(secret), nil
}
