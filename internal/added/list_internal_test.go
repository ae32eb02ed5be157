package added

import (
	"testing"

	"berth/election"
)

func FuzzParse(f *testing.F) {
	for name, value := range map[string]string{
		"10.0.0.1":    `{"ip":"10.0.0.1/24","checks":[{"type":"TCP","host":"h","port":80}],"healthcheck_interval":5,"keepalive_interval":1,"added":"2026-01-02T03:04:05Z"}`,
		"2001:db8::1": "",
		"10.0.0.2":    `{"ip":"10.0.0.1"}`,
		"10.0.0.3":    `[]`,
		"web":         `null`,
		"10.0.0.9/24": `{"ip":1}`,
	} {
		f.Add(name, []byte(value))
	}
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		e, _, err := parse(name, election.AddedValue{Value: value, Revision: 7})
		if err != nil {
			return
		}
		if e.ip.Addr().String() != name || e.revision != 7 || len(e.checks) > 16 {
			t.Errorf("%q, %q: got %+v", name, value, e)
		}
		again, odd, err := parse(name, election.AddedValue{Value: e.encode(), Revision: 7})
		if err != nil || odd != nil || !again.same(e) || !again.added.Equal(e.added) {
			t.Errorf("%q: %+v as a text is %+v, %v, %v", value, e, again, odd, err)
		}
	})
}
