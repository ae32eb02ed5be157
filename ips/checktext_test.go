package ips_test

import (
	"errors"
	"testing"

	"berth/ips"
)

func TestTextsOfHealthChecks(t *testing.T) {
	for _, tt := range []struct {
		text string
		want ips.Check // the zero check: refused
	}{
		{"TCP:127.0.0.1:80", ips.Check{Type: ips.TCP, Host: "127.0.0.1", Port: 80}},
		{"tcp:db.example.org:5432", ips.Check{Type: ips.TCP, Host: "db.example.org", Port: 5432}},
		{"TCP:[::1]:80", ips.Check{Type: ips.TCP, Host: "::1", Port: 80}},
		{text: ""}, {text: "TCP"}, {text: "TCP:80"}, {text: "TCP:::1:80"}, {text: "TCP:127.0.0.1:http"}, {text: "TCP:127.0.0.1:0"},
		{text: "TCP:127.0.0.1:-1"}, {text: "TCP:127.0.0.1:65536"}, {text: "TCP::80"}, {text: "HTTP:127.0.0.1:80"},
	} {
		got, err := ips.ParseCheck(tt.text)
		if _, invalid := errors.AsType[*ips.InvalidError](err); got != tt.want && err == nil || invalid != (tt.want == ips.Check{}) {
			t.Errorf("%q: want %v, got %v, %v", tt.text, tt.want, got, err)
		}
	}
}

func FuzzParseCheck(f *testing.F) {
	for _, text := range []string{"TCP:127.0.0.1:80", "tcp:[::1]:80", "TCP:a:1", "::", "TCP:[::1%eth0]:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ips.ParseCheck(text)
		if err != nil {
			return
		}
		if again, err := ips.ParseCheck(c.String()); err != nil || again != c {
			t.Errorf("%q: %v as a text is %v, %v", text, c, again, err)
		}
	})
}
