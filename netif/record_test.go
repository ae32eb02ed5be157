package netif

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/journal"
)

func TestTheRecordHasWhatIsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bound")
	inBubble(t, func(o *Options) { o.Record = path }, func(t *testing.T, b *bubble) {
		end := bind(t, b.i, v4)
		text, err := os.ReadFile(path)
		must(t, err)
		wantEqual(t, `{"protocol":190,"addresses":["192.0.2.254/32"]}`+"\n", string(text))
		end(errDemoted)
		text, err = os.ReadFile(path)
		must(t, err)
		wantEqual(t, `{"protocol":190,"addresses":[]}`+"\n", string(text))
	})
	must(t, os.WriteFile(path, []byte(`{"interface":"eth0","protocol":190,"addresses":["192.0.2.254/32"]}`), 0o600))
	for _, tt := range []struct {
		name string
		a    address
		want bool
	}{
		{"marked", address{prefix: v4, valid: time.Second, proto: protocol}, true},
		{"on a kernel without marks", address{prefix: v4, valid: time.Second}, true},
		{"of another program", address{prefix: v4, valid: time.Second, proto: 3}, false},
		{"permanent", address{prefix: v4, valid: forever, proto: protocol}, false},
		{"not recorded", address{prefix: v6, valid: time.Second, proto: protocol}, false},
		{"on any interface", address{on: 9, prefix: v4, valid: time.Second, proto: protocol}, true},
	} {
		if got := openRecord(path, journal.New(nil)).abandoned(tt.a); got != tt.want {
			t.Errorf("%s: want abandoned %v, got %v", tt.name, tt.want, got)
		}
	}
}
