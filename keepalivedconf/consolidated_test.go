package keepalivedconf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/keepalivedconf"

	"github.com/google/go-cmp/cmp"
)

const two = `vrrp_instance A {
interface eth0
virtual_router_id 1
virtual_ipaddress {
192.0.2.1/32
192.0.2.2/32
}
}
vrrp_instance B {
interface eth0
virtual_router_id 2
virtual_ipaddress {
192.0.2.3/32
}
}
`

// Each row is an unfinished file and the list that reports it.
func TestAnUnfinishedFileIsToldByItsPlace(t *testing.T) {
	for _, row := range []struct {
		name, text string
		list       string // of the result
		line       int
		says       string
	}{
		{name: "a whole file", text: two},
		{name: "ends between instances", text: two[:strings.Index(two, "vrrp_instance B")]},
		{"ends inside the addresses", two[:strings.Index(two, "192.0.2.2")], "unclosed", 4, "virtual_ipaddress is not closed"},
		{"ends inside an instance", two[:strings.Index(two, "virtual_router_id 2")], "unclosed", 10, "lacks 1 closing }"},
		{"ends inside a block that is skipped", strings.Replace(two, "vrrp_instance B", "vrrp_instance A", 1)[:len(two)-4], "unclosed", 9, "never closed"},
		{"include of a missing file", "include gone.conf\n" + two, "failed", 1, "gone.conf: no such file"},
		{"include of an executable file", "include run.sh\n" + two, "failed", 1, "it is executable"},
		{"wildcard without a match", two + "include gone/*.conf\n", "failed", 16, "gone/*.conf"},
		{"strict include of a missing file", "includea gone.conf\n" + two, "failed", 1, "gone.conf: no such file"},
		{"template in braces", strings.Replace(two, "192.0.2.2/32", "{{ vip }}", 1), "skipped", 6, "{ is skipped"},
		{"definition that is not set", strings.Replace(two, "192.0.2.2/32", "${VIP}", 1), "skipped", 6, "a definition was not replaced"},
		{"placeholder", strings.Replace(two, "192.0.2.2/32", "@VIP@", 1), "skipped", 6, "a template was to fill"},
		{"placeholder with a length", strings.Replace(two, "192.0.2.2/32", "@VIP@/32 dev eth0", 1), "skipped", 6, "a template was to fill"},
		{name: "condition", text: strings.Replace(two, "192.0.2.2/32", "@host 192.0.2.2/32", 1)},
		{"text for an address", strings.Replace(two, "192.0.2.2/32", "address-of-web", 1), "skipped", 6, "not an address"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "keepalived.conf")
			for name, text := range map[string]string{"keepalived.conf": row.text, "run.sh": ""} {
				mode := os.FileMode(0o644)
				if name == "run.sh" {
					mode = 0o755
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			if strings.HasPrefix(row.text, "include") {
				row.text = strings.Replace(row.text, " ", " "+dir+"/", 1)
				if err := os.WriteFile(path, []byte(row.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{ConfigID: "other"})
			if err != nil {
				t.Fatal(err)
			}
			for name, list := range map[string][]keepalivedconf.Message{"unclosed": c.Unclosed, "skipped": c.Skipped, "failed": c.FailedIncludes} {
				switch {
				case name != row.list && row.list != "skipped" && len(list) > 0:
					t.Errorf("%s: %v, want none", name, list)
				case name == row.list && (len(list) == 0 || list[0].File != path || list[0].Line != row.line || !strings.Contains(list[0].Message, row.says)):
					t.Errorf("%s: %v, want line %d and %q", name, list, row.line, row.says)
				}
			}
		})
	}
}

// The text of a running keepalived gives the same result as its files.
func TestConsolidatedTextReadsAsItsFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"keepalived.conf": "# comment\nglobal_defs {\n  vrrp_version 3 # more\n}\n$IP=192.0.2.9\ninclude sub/*.conf\n" + two + "vrrp_instance C {\n  interface eth0\n  virtual_router_id 3\n  virtual_ipaddress { $IP }\n}\n",
		"sub/d.conf":      "vrrp_instance D {\n  interface eth0\n  virtual_router_id 4\n  virtual_ipaddress { 192.0.2.4 }\n  bogus\n}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "keepalived.conf")
	files, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := "# " + path + "\n\nglobal_defs {\nvrrp_version 3\n}\n$IP=192.0.2.9\n\n# sub/d.conf\nvrrp_instance D {\ninterface eth0\nvirtual_router_id 4\nvirtual_ipaddress { 192.0.2.4 }\nbogus\n}\n!\n#! Config files missing 'x'.\n" +
		two + "vrrp_instance C {\ninterface eth0\nvirtual_router_id 3\nvirtual_ipaddress { $IP }\n}\n!\n"
	if name, ok := keepalivedconf.ConsolidatedPath([]byte(text)); !ok || name != path {
		t.Errorf("the text is of %q, want %q", name, path)
	}
	c, err := keepalivedconf.ParseConsolidated([]byte(text), keepalivedconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Sum != files.Sum {
		t.Error("the text does not count as that of the files")
	}
	if diff := cmp.Diff(seenIn(files), seenIn(c)); diff != "" {
		t.Errorf("instances (-files +text):\n%s", diff)
	}
	var said string
	for _, m := range c.Warnings {
		said += strings.TrimSuffix(m.File, "\n") + ": " + m.Message + "\n"
		if strings.Contains(m.Message, "bogus") && (m.File != "sub/d.conf" || m.Line != 5) {
			t.Errorf("bogus is said to be at %s:%d", m.File, m.Line)
		}
	}
	if !strings.Contains(said, "bogus") {
		t.Errorf("no warning about the unknown word, but:\n%s", said)
	}
	changed, err := keepalivedconf.ParseConsolidated([]byte(strings.Replace(text, "192.0.2.4", "192.0.2.5", 1)), keepalivedconf.Options{})
	if err != nil || changed.Sum == files.Sum {
		t.Errorf("another text counts as that of the files (%v)", err)
	}
	for cut := range len(text) {
		if _, err := keepalivedconf.ParseConsolidated([]byte(text[:cut]), keepalivedconf.Options{}); err == nil {
			t.Errorf("want an error of a text that is not whole, of %q", text[:cut])
		}
	}
}

func FuzzParseConsolidated(f *testing.F) {
	f.Add([]byte("# a\n" + two + "!\n"))
	f.Add([]byte("# a\n# b/c\nvrrp_instance A {\n!\n}\n!\n"))
	f.Add([]byte("# a\n#! note\n!\n!\n"))
	f.Add([]byte("# a\n!\n!\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := keepalivedconf.ParseConsolidated(text, keepalivedconf.Options{ConfigID: "x"})
		if (c == nil) == (err == nil) {
			t.Errorf("got %v and %v", c, err)
		}
	})
}
