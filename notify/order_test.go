package notify

import "testing"

func TestOrderOfScripts(t *testing.T) {
	limit := func() int { return 32768 }
	for _, row := range []struct {
		name string
		s, t Script
		s2t  bool // s is after t
		t2s  bool
	}{
		{name: "later tick", s: Script{PID: 5, Start: 11}, t: Script{PID: 9, Start: 10}, s2t: true},
		{name: "same tick, higher pid", s: Script{PID: 9, Start: 10}, t: Script{PID: 5, Start: 10}, s2t: true},
		{name: "same tick, the pids began anew in between", s: Script{PID: 301, Start: 10}, t: Script{PID: 32767, Start: 10}, s2t: true},
		{name: "the same process", s: Script{PID: 5, Start: 10}, t: Script{PID: 5, Start: 10}},
		{name: "nothing on record", s: Script{PID: 5, Start: 10}, s2t: true},
	} {
		if got := row.s.after(row.t, limit); got != row.s2t {
			t.Errorf("%s: after = %v, want %v", row.name, got, row.s2t)
		}
		if got := row.t.after(row.s, limit); got != row.t2s {
			t.Errorf("%s, the other way around: after = %v, want %v", row.name, got, row.t2s)
		}
	}
}

func TestEventsOfAServiceHaveNoOrder(t *testing.T) {
	early, late := Record{Script: Script{Start: 1}}, Record{Script: Script{Start: 2}}
	service := Record{Service: true, Script: Script{Start: 3}}
	for _, row := range []struct {
		name string
		r, s Record
		want bool
	}{
		{"script after script", late, early, true},
		{"script before script", early, late, false},
		{"service after script", service, early, false},
		{"script after service", late, service, false},
		{"script of another boot", Record{Boot: "b", Script: Script{Start: 2}}, early, false},
	} {
		if got := row.r.after(row.s, pidLimit); got != row.want {
			t.Errorf("%s: after = %v, want %v", row.name, got, row.want)
		}
	}
}
