package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/config"
	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"gopkg.in/yaml.v3"
)

func TestLoadReportsWhetherEveryUserCanReadTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.yml")
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.WriteFile(path, []byte("provider: none\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, options)
		if err != nil || c.OthersCanRead != want {
			t.Errorf("mode %v: others can read %v, %v; want %v", mode, c.OthersCanRead, err, want)
		}
	}
	if _, err := config.Load(filepath.Join(t.TempDir(), "none"), options); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestLoadRefusesAFileThatIsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.yml")
	if err := os.WriteFile(path, []byte("# "+strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(path, options)
	if want := path + ": larger than 1048576 bytes; this is not a configuration of berth"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := config.Secret("hunter2")
	j, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{}).EncodeEntry(zapcore.Entry{}, []zap.Field{zap.Any("s", s), zap.Stringer("t", s), zap.Reflect("r", struct{ S config.Secret }{s})})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%s %v %q %#v %+v", s, s, s, s, struct{ S config.Secret }{s}), string(j), string(y), z.String()} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, config.Stars) {
			t.Errorf("printed %s", text)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal does not")
	}
}

func TestSecretSources(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", " from-file\n", 0o640)
	open := file("open", "from-file", 0o644)
	empty := file("empty", "\n", 0o600)
	file("token", "from-credentials", 0o400)
	loose := t.TempDir()
	file("loose", "from-credentials", 0o444)
	if err := os.Rename(filepath.Join(dir, "loose"), filepath.Join(loose, "token")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name         string
		inline, file string
		env          map[string]string
		othersRead   bool
		want, err    string
		warned       bool
	}{
		{name: "inline", inline: "x", env: map[string]string{"V": "v"}, want: "x"},
		{name: "inline in a file that every user can read", inline: "x", othersRead: true, want: "x", warned: true},
		{name: "file, trimmed", file: good, want: "from-file"},
		{name: "both", inline: "x", file: good, err: "cloud.token-file: found beside cloud.token; write one of the two"},
		{name: "file that every user can read", file: open, err: "cloud.token-file: every user can read " + open + "; run: chmod o= " + open},
		{name: "empty file", file: empty, err: "cloud.token-file: " + empty + " is empty"},
		{name: "missing file", file: dir + "/none", err: "cloud.token-file: open " + dir + "/none: no such file or directory"},
		{name: "directory", file: dir, err: "cloud.token-file: read " + dir + ": not a regular file"},
		{name: "systemd credential", env: map[string]string{"CREDENTIALS_DIRECTORY": dir, "V": "v"}, want: "from-credentials"},
		{name: "no such credential, then the vendor's variable", env: map[string]string{"CREDENTIALS_DIRECTORY": "/none", "V": "v"}, want: "v"},
		{name: "credential that every user can read", env: map[string]string{"CREDENTIALS_DIRECTORY": loose}, err: "cloud.token: systemd credential: every user can read " + loose + "/token; run: chmod o= " + loose + "/token"},
		{name: "none", err: "cloud.token: missing; write token or token-file, or set the environment variable V"},
	} {
		t.Run(row.name, func(t *testing.T) {
			core, said := observer.New(zap.InfoLevel)
			s := config.SecretSource{
				Section: "cloud",
				Getenv:  func(k string) string { return row.env[k] },
				Config:  &config.Config{Path: "berth.yml", OthersCanRead: row.othersRead},
				Journal: journal.New(zap.New(core)),
			}
			got, err := s.Resolve("token", config.Secret(row.inline), row.file, "V")
			text := ""
			if err != nil {
				text = err.Error()
			}
			warned := said.FilterField(zap.String("code", "secret-readable")).FilterField(zap.String("key", "cloud.token")).Len() == 1
			if got.Reveal() != row.want || text != row.err || warned != row.warned {
				t.Errorf("got %q, warned %v, error %q; want %q, %v, %q", got.Reveal(), warned, text, row.want, row.warned, row.err)
			}
		})
	}
}

// A secret that a program was given in its arguments stands before those of its environment,
// and behind those of the text.
func TestSecretBesideTheText(t *testing.T) {
	c, err := config.Parse("", "exoip", config.Options{Secrets: map[string]config.Secret{"cloud.token": "given"}})
	if err != nil {
		t.Fatal(err)
	}
	s := config.SecretSource{Section: "cloud", Getenv: func(string) string { return "from-variable" }, Config: c}
	for inline, want := range map[config.Secret]string{"": "given", "written": "written"} {
		if got, err := s.Resolve("token", inline, "", "V"); err != nil || got.Reveal() != want {
			t.Errorf("want %q, got %q, %v", want, got.Reveal(), err)
		}
	}
	if got, err := s.Resolve("other", "", "", "V"); err != nil || got.Reveal() != "from-variable" {
		t.Errorf("want that of the variable, got %q, %v", got.Reveal(), err)
	}
}
