package election

import "testing"

// A program other than berth is believed to have ended when its key vanishes. Nothing that a
// berth of another version may have written is taken for one.
func TestWhichCandidateIsAnotherProgram(t *testing.T) {
	for value, want := range map[string]candidacy{
		`{"member":"lb1","since":"2026-11-29T10:00:00Z"}`:                          {Member: "lb1"},
		`{"member":"lb1","identity":"i","ttl":6,"since":"2026-11-29T10:00:00Z"}`:   {Member: "lb1", Identity: "i", TTL: 6},
		`{"since":"not yet","ttl":"6s","addresses":"192.0.2.1/32","member":"lb1"}`: {Member: "lb1"},
		`{"identity":["i"],"member":"lb1","more":{"of":"it"}}`:                     {Member: "lb1"},
		`lb1`:                {Member: "lb1", foreign: true},
		`"lb1"`:              {Member: `"lb1"`, foreign: true},
		`{"name":"lb1"}`:     {Member: `{"name":"lb1"}`, foreign: true},
		`{"member":{"a":1}}`: {Member: `{"member":{"a":1}}`, foreign: true},
		`{"member":"lb1"`:    {Member: `{"member":"lb1"`, foreign: true},
		"\x1b[2Jlb1\xff\n":   {Member: "[2Jlb1", foreign: true},
		"":                   {Member: unnamed, foreign: true},
		"null":               {Member: "null", foreign: true},
	} {
		got := readCandidacy([]byte(value))
		if got.Member != want.Member || got.foreign != want.foreign || got.Identity != want.Identity || got.TTL != want.TTL {
			t.Errorf("%q: want %+v, got %+v", value, want, got)
		}
	}
}
