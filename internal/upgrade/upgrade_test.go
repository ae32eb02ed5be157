package upgrade_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/election"
	"berth/internal/upgrade"
	"berth/netif"
)

func TestBothCausesLeaveEverythingAsItIs(t *testing.T) {
	for _, cause := range []error{upgrade.ErrSuccessor, upgrade.ErrAnew} {
		if !errors.Is(cause, election.ErrLeave) || !errors.Is(cause, netif.ErrLeave) {
			t.Errorf("%q does not leave everything as it is", cause)
		}
	}
	if errors.Is(upgrade.ErrSuccessor, upgrade.ErrAnew) {
		t.Error("a process that ends for its successor must not begin anew")
	}
}

func TestTheNewBinaryChecksTheConfiguration(t *testing.T) {
	program := filepath.Join(t.TempDir(), "berth")
	const script = "#!/bin/sh\n[ \"$*\" = 'config check good.yml' ] && exit 0\necho \"$3:1: provider: misspelt\" >&2\nexit 2\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := upgrade.Check(t.Context(), program, "config", "check", "good.yml"); err != nil {
		t.Errorf("got %v", err)
	}
	err := upgrade.Check(t.Context(), program, "config", "check", "bad.yml")
	if err == nil || !strings.Contains(err.Error(), program+" config check bad.yml: exit status 2") || !strings.Contains(err.Error(), "bad.yml:1: provider: misspelt") {
		t.Errorf("want what was run and what it said, got %v", err)
	}
	if err := upgrade.Check(t.Context(), program+".gone", "config", "check", "good.yml"); err == nil {
		t.Error("want an error where no binary is installed")
	}
}
