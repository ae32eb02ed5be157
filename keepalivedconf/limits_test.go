package keepalivedconf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/keepalivedconf"
)

// write creates files in a new directory and returns the path of the first.
func write(t *testing.T, namesAndTexts ...string) string {
	t.Helper()
	dir := t.TempDir()
	for n := 0; n < len(namesAndTexts); n += 2 {
		path := filepath.Join(dir, namesAndTexts[n])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(namesAndTexts[n+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, namesAndTexts[0])
}

// messages returns all messages of a configuration, one per line.
func messages(c *keepalivedconf.Config) string {
	var b strings.Builder
	for _, m := range c.Refusals {
		fmt.Fprintf(&b, "%s:%d: refused: %s\n", filepath.Base(m.File), m.Line, m.Message)
	}
	for _, m := range c.Warnings {
		fmt.Fprintf(&b, "%s:%d: %s\n", filepath.Base(m.File), m.Line, m.Message)
	}
	return b.String()
}

func TestPathologicalInputEndsInAMessage(t *testing.T) {
	const instance = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n"
	tests := []struct {
		name  string
		files []string
		// prepare makes files in the directory that are not plain ones.
		prepare func(t *testing.T, dir string)
		want    string
		refused bool
	}{
		{
			name:  "file that includes itself",
			files: []string{"k.conf", instance + "include k.conf\n"},
			want:  "files are included more than 100 deep",
		},
		{
			name:    "file that includes itself twice",
			files:   []string{"k.conf", instance + "include k.conf\ninclude k.conf\n"},
			want:    "macros and includes add more than",
			refused: true,
		},
		{
			name:    "definition that names itself",
			files:   []string{"k.conf", "$A=x ${A}\n$A\n" + instance},
			want:    "the line is longer than 1023 letters once $A is replaced",
			refused: false,
		},
		{
			name:    "definition that is itself",
			files:   []string{"k.conf", "$A=${B}\n$B=${A}\n$A\n" + instance},
			want:    "is replaced without end",
			refused: true,
		},
		{
			name:    "definitions that double one another",
			files:   []string{"k.conf", doublingDefinitions(60) + instance},
			want:    "is replaced without end",
			refused: true,
		},
		{
			name:    "sequence with too many values",
			files:   []string{"k.conf", instance + "~SEQ(i,1,9000000000000000000) x\n"},
			want:    "macros and includes add more than",
			refused: true,
		},
		{
			name:    "sequence that overflows",
			files:   []string{"k.conf", "~SEQ(i,9223372036854775806,1,9223372036854775807) x\n" + instance},
			want:    "x is unknown and ignored",
			refused: false,
		},
		{
			name:    "nested sequences",
			files:   []string{"k.conf", instance + "~SEQ(i,1,10000) ~SEQ(j,1,10000) x\n"},
			want:    "macros and includes add more than",
			refused: true,
		},
		{
			name:    "definition of several lines that replays itself",
			files:   []string{"k.conf", "$A=x \\\n$A\n$A\n" + instance},
			want:    "macros and includes add more than",
			refused: true,
		},
		{
			name:    "definition of several lines that nests itself",
			files:   []string{"k.conf", "$A=x \\\n$A \\\ny\n$A\n" + instance},
			want:    "definitions of several lines use one another more than 1000 deep",
			refused: true,
		},
		{
			name:  "definition of many lines",
			files: []string{"k.conf", "$A=x \\\n" + strings.Repeat("y \\\n", 500_000) + "\n" + instance + "}\n"},
			want:  "this } closes nothing",
		},
		{
			name:  "brace alternatives that double one another",
			files: []string{"k.conf", "include " + strings.Repeat("{a,b}", 60) + "\n" + instance},
			want:  "no such file",
		},
		{
			name:  "include of a FIFO",
			files: []string{"k.conf", "include pipe\n" + instance},
			prepare: func(t *testing.T, dir string) {
				if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: "include pipe: not a regular file",
		},
		{
			name:  "include of a directory",
			files: []string{"k.conf", "include sub\n" + instance, "sub/x", "y\n"},
			want:  "include sub/: not a regular file",
		},
		{
			name:  "include of an executable file",
			files: []string{"k.conf", "include x\n" + instance, "x", "y\n"},
			prepare: func(t *testing.T, dir string) {
				if err := os.Chmod(filepath.Join(dir, "x"), 0o755); err != nil {
					t.Fatal(err)
				}
			},
			want: "include x: it is executable, which keepalived does not accept (chmod a-x it): the file is skipped",
		},
		{
			name:  "include of a device",
			files: []string{"k.conf", "include /dev/zero\n" + instance},
			want:  "include /dev/zero: not a regular file",
		},
		{
			name:  "include of a file of 100 MB",
			files: []string{"k.conf", "include big\n" + instance, "big", ""},
			prepare: func(t *testing.T, dir string) {
				if err := os.Truncate(filepath.Join(dir, "big"), 100<<20); err != nil {
					t.Fatal(err)
				}
			},
			want: "include big: the files of this configuration exceed 64 MiB together",
		},
		{
			name:  "include of a dangling link",
			files: []string{"k.conf", "include link\n" + instance},
			prepare: func(t *testing.T, dir string) {
				if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
					t.Fatal(err)
				}
			},
			want: "include link: no such file or directory",
		},
		{
			name:    "main file that is executable",
			files:   []string{"k.conf", instance},
			prepare: func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, "k.conf"), 0o700) },
			want:    "refused: the file is executable",
			refused: true,
		},
		{
			name:  "a million closing braces",
			files: []string{"k.conf", strings.Repeat(strings.Repeat("}", 1000)+"\n", 1000) + instance},
			want:  "this } closes nothing",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.files...)
			if tt.prepare != nil {
				tt.prepare(t, filepath.Dir(path))
			}
			c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{Version: "2.2.7", ConfigID: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(messages(c), tt.want) {
				t.Errorf("want a message with %q, got:\n%s", tt.want, messages(c))
			}
			if c.Refused != tt.refused {
				t.Errorf("Refused: want %v, got %v:\n%s", tt.refused, c.Refused, messages(c))
			}
			if _, ok := c.Instance("A"); !ok && !tt.refused {
				t.Error("instance A is missing")
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// doublingDefinitions returns definitions whose last one stands for two to
// the power of count empty texts.
func doublingDefinitions(count int) string {
	var b strings.Builder
	b.WriteString("$D0=\n")
	for n := range count {
		fmt.Fprintf(&b, "$D%d=${D%d}${D%d}\n", n+1, n, n)
	}
	fmt.Fprintf(&b, "$D%d\n", count)
	return b.String()
}

func TestMainFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path, want string
	}{
		{"missing", filepath.Join(dir, "nope"), "file does not exist"},
		{"no match", filepath.Join(dir, "nope*"), "file does not exist"},
		{"directory", dir, "not a regular file"},
		{"FIFO", filepath.Join(dir, "pipe"), "not a regular file"},
		{"device", "/dev/null", "not a regular file"},
		{"empty path", "", "file does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := keepalivedconf.ParseFile(tt.path, keepalivedconf.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseFile(%q): want an error with %q, got %v, %v", tt.path, tt.want, c, err)
			}
		})
	}
}

func TestMainFileIsAPattern(t *testing.T) {
	path := write(t,
		"1.conf", "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\n",
		"2.conf", "virtual_ipaddress {\n192.0.2.1\n}\n}\n")
	c, err := keepalivedconf.ParseFile(filepath.Join(filepath.Dir(path), "*.conf"), keepalivedconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i, ok := c.Instance("A")
	if !ok || len(i.Addresses) != 1 || c.Refused {
		t.Errorf("want instance A with one address from both files, got %s", describe(c))
	}
	if want := "the pattern names 2 files"; !strings.Contains(messages(c), want) {
		t.Errorf("want a message with %q, got:\n%s", want, messages(c))
	}
}
