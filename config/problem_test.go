package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"berth/internal/section"
)

func TestProblemsOfPartsAreOnTheLineOfTheirKey(t *testing.T) {
	const text = `provider: cloudscale

etcd:
  <<: {ca-file: /ca}
  username: u
  password-file:
    /p
cloudscale:
  token: x
`
	for _, row := range []struct {
		name, file, key string
		err             error
		want            string
	}{
		{"key", text, "etcd", &section.Problem{Key: "cloudscale.token", Text: "is bad"}, "berth.yml:9: cloudscale.token: is bad"},
		{"key whose value stands below it", text, "etcd", &section.Problem{Key: "etcd.password-file", Text: "is bad"}, "berth.yml:7: etcd.password-file: is bad"},
		{"merged key", text, "etcd", &section.Problem{Key: "etcd.ca-file", Text: "is bad"}, "berth.yml:4: etcd.ca-file: is bad"},
		{"key that the file does not have is at its section", text, "etcd", &section.Problem{Key: "etcd.cert-file", Text: "is bad"}, "berth.yml:3: etcd.cert-file: is bad"},
		{"key without a section is at the first line", text, "etcd", &section.Problem{Key: "log-file", Text: "is bad"}, "berth.yml:1: log-file: is bad"},
		{"key of a provider without a section is where its name is", "# comment\nlog-file: /l\nprovider: cloudscale\n", "cloudscale", &section.Problem{Key: "cloudscale.token", Text: "is missing"}, "berth.yml:3: cloudscale.token: is missing"},
		{"line that is known already", text, "etcd", &section.Problem{Line: 2, Key: "cloudscale.token", Text: "is bad"}, "berth.yml:2: cloudscale.token: is bad"},
		{"wrapped", text, "etcd", fmt.Errorf("cloudscale.token: %w", &section.Problem{Key: "cloudscale.token", Text: "is bad"}), "berth.yml:9: cloudscale.token: is bad"},
		{"joined", text, "etcd", errors.Join(&section.Problem{Key: "etcd", Text: "a"}, &section.Problem{Key: "cloudscale", Text: "b"}), "berth.yml:3: etcd: a\nberth.yml:8: cloudscale: b"},
		{"any other error", text, "cloudscale", fs.ErrNotExist, "berth.yml:8: file does not exist"},
		{"empty file", "", "log-file", fs.ErrNotExist, "berth.yml: file does not exist"},
	} {
		c, err := parse(row.file)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Located(row.key, row.err); got.Error() != row.want {
			t.Errorf("%s: want %q, got %q", row.name, row.want, got)
		}
		if got := c.Located(row.key, nil); got != nil {
			t.Errorf("%s: want nothing of nothing, got %q", row.name, got)
		}
	}
}
