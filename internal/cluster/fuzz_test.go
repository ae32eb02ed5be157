package cluster_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/election"
	"berth/internal/cluster"
)

// Any user of etcd may have written anything below members/ and into a queue.
func FuzzMembers(f *testing.F) {
	good, err := json.Marshal(cluster.Told{Version: "1.2.3", Mode: "elect", State: cluster.Able, Since: time.Now(),
		Health:    []cluster.HealthView{{Check: "tcp", Reason: "refused"}},
		Instances: []cluster.ToldInstance{{Instance: "api", State: "MASTER", Addresses: []string{"192.0.2.1/32"}}},
		Moves:     []cluster.Move{{Instance: "api", State: "MASTER", From: "node1", Token: 3}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good), "node1", "192.0.2.1/32")
	f.Add(`{"reason":"\u001b[2J\u202e\u0007\r","since":"9999-12-31T23:59:59-23:00","more":-1}`, "\x1b]0;x\x07", "::ffff:1.2.3.4/96")
	f.Add(`{"moves":[{"at":"0001-01-01T00:00:00+23:00","state":"MASTER","reason":"<script>"}],"instances":[{},{"state":"FAULT","instance":"pool"}]}`, "", "fe80::1%eth0")
	f.Add(`[[[[[`, "\xff\xfe", "-")
	f.Fuzz(func(t *testing.T, value, name, address string) {
		keys := election.ClusterKeys{Members: map[string]election.MemberKey{name: {Value: []byte(value), Left: time.Second}},
			Instances: map[string][]election.Candidate{name: {{Member: name, Addresses: []string{address}}}}}
		v := cluster.ViewOf(keys, cluster.Reading{Prefix: "/berth/", PoolPrefix: "/berth/pool/", This: "node2"})
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 1<<20 {
			t.Errorf("%d bytes", len(text))
		}
		var table strings.Builder
		if err := v.Table(io.Writer(&table)); err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(table.String()) {
			t.Errorf("not UTF-8: %q", table.String())
		}
		for _, r := range table.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("%q reaches the terminal", r)
			}
		}
		var again cluster.View
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		for _, m := range v.Moves {
			if m.State != "MASTER" && m.State != "BACKUP" && m.State != "FAULT" {
				t.Errorf("a move to %q", m.State)
			}
		}
	})
}
