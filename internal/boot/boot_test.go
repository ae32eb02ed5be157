package boot_test

import (
	"regexp"
	"testing"

	"berth/internal/boot"
)

func TestIDIsThatOfTheKernelWithoutItsNewline(t *testing.T) {
	id, err := boot.ID()
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("got %q, %v; want a UUID", id, err)
	}
	if again, err := boot.ID(); again != id || err != nil {
		t.Errorf("got %q, %v; want %q again", again, err, id)
	}
}
