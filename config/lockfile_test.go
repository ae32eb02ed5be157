package config_test

import (
	"fmt"
	"testing"

	"berth/config"
)

func TestLockFileEscapesTheName(t *testing.T) {
	c, err := parse("lock-file-template: /l/%s.lock\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"VI_1":     "/l/VI_1.lock",
		"-odd":     "/l/-odd.lock",
		"a b":      "/l/a%20b.lock",
		"../../x":  "/l/..%2F..%2Fx.lock",
		"..":       "/l/%2E%2E.lock",
		"%s":       "/l/%25s.lock",
		"\xff\x00": "/l/%FF%00.lock",
	} {
		if got := c.LockFile(name); got != want {
			t.Errorf("lock of %q is %s, want %s", name, got, want)
		}
	}
}

func TestDefaultLockIsInADirectoryOfBerthsOwn(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "/run/berth/lock/VI_1.lock true /var/lock/berth-VI_1.lock",
		"run-directory: /r\n":       "/r/lock/VI_1.lock true /var/lock/berth-VI_1.lock",
		"run-directory: /a%s%d/b\n": "/a%s%d/b/lock/VI_1.lock true /var/lock/berth-VI_1.lock",
		"lock-file-template: /run/berth/lock/%s.lock\n": "/run/berth/lock/VI_1.lock true /var/lock/berth-VI_1.lock",
		"lock-file-template: /l/b-%s.x\n":               "/l/b-VI_1.x false ",
		"lock-file-template: /var/lock/%s\n":            "/var/lock/VI_1 false ",
	} {
		c, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(c.LockFile("VI_1"), " ", c.OwnLockDirectory, " ", c.FormerLockFile("VI_1")); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	o := options
	o.LockFileTemplate = config.FloatyLockFileTemplate
	c, err := config.Parse("", "floaty.yml", o)
	if err != nil || c.LockFile("VI_1") != "/var/lock/floaty-VI_1.lock" || c.OwnLockDirectory || c.FormerLockFile("VI_1") != "" {
		t.Errorf("called as floaty: %+v, %v", c, err)
	}
}
