package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/files"
)

// Stars are what a Secret prints as.
const Stars = "*****"

// Secret is a text that never prints: not through fmt, zap, YAML or JSON.
type Secret string

// String returns stars.
func (Secret) String() string { return Stars }

// GoString returns stars, for %#v.
func (Secret) GoString() string { return Stars }

// MarshalText returns stars, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(Stars), nil }

// Reveal returns the text itself. Call it only beside the call that needs it.
func (s Secret) Reveal() string { return string(s) }

// SecretSource is the environment in which secrets are looked up.
type SecretSource struct {
	Getenv func(string) string
	// InlineReadable is called with the key of an inline secret that everybody
	// on the machine can read. May be nil.
	InlineReadable func(key string)
	OthersCanRead  bool // the configuration file's mode
}

// maxSecret bounds a secret file; tokens have some hundred bytes at most.
const maxSecret = 64 << 10

// Resolve finds the secret named key (such as "token"): the inline value, else
// the file named by its twin key-file, else $CREDENTIALS_DIRECTORY/key, else
// the vendor's environment variables in their order. It returns an empty
// Secret if there is none. A file that others than its owner and group can
// read is refused with the command that mends it.
func (s SecretSource) Resolve(key string, inline Secret, file string, vendorEnv ...string) (Secret, error) {
	if inline != "" && file != "" {
		return "", fmt.Errorf("%s and %s-file are both given; keep one", key, key)
	}
	if inline != "" {
		if s.OthersCanRead && s.InlineReadable != nil {
			s.InlineReadable(key)
		}
		return inline, nil
	}
	if file != "" {
		return readSecret(key+"-file", file)
	}
	if dir := s.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		secret, err := readSecret("credential", filepath.Join(dir, key))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return secret, err
		}
	}
	for _, name := range vendorEnv {
		if v := s.Getenv(name); v != "" {
			return Secret(v), nil
		}
	}
	return "", nil
}

func readSecret(what, path string) (Secret, error) {
	text, st, err := files.ReadInfo(path, maxSecret)
	switch {
	case errors.Is(err, files.ErrTooLarge):
		return "", fmt.Errorf("%s %s is larger than %d bytes; this is no secret", what, path, maxSecret)
	case err != nil:
		return "", fmt.Errorf("read %s: %w", what, err)
	case st.Mode().Perm()&0o004 != 0:
		return "", fmt.Errorf("%s %s can be read by everybody; run: chmod o= %s", what, path, path)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s %s is empty", what, path)
	}
	return Secret(secret), nil
}
