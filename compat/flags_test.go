package compat_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/compat"
	"berth/internal/journal"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// testFlags are one of each kind.
var testFlags = []compat.Flag{
	{Name: "W", Usage: "watch"},
	{Name: "P", Variables: []string{"IF_PRIORITY"}, Value: "NUMBER", Usage: "priority", Default: "10"},
	{Name: "l", Variables: []string{"IF_BIND_ADDRESS", "IF_BIND_TO"}, Value: "ADDRESS", Usage: "address to listen on"},
	{Name: "p", Variables: []string{"IF_PEERS"}, Value: "PEER", Usage: "peers", Repeated: true},
	{Name: "xs", Variables: []string{"IF_SECRET"}, Value: "SECRET", Usage: "secret of the API", Secret: true},
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		args string
		env  map[string]string
		want map[string][]string // beside the default of -P
	}{
		{"nothing", "", nil, nil},
		{"one dash and two", "-W --P 20 -l=:1", nil, map[string][]string{"-W": {"true"}, "-P": {"20"}, "-l": {":1"}}},
		{"a switch that is off", "-W=false", nil, map[string][]string{"-W": {"false"}}},
		{"the last of two", "-P 20 -P 30", nil, map[string][]string{"-P": {"30"}}},
		{"a variable", "", map[string]string{"IF_PRIORITY": "7"}, map[string][]string{"-P": {"7"}}},
		{"a flag stands before a variable", "-P 20", map[string]string{"IF_PRIORITY": "7"}, map[string][]string{"-P": {"20"}}},
		{"the first variable stands before the second", "", map[string]string{"IF_BIND_TO": ":2", "IF_BIND_ADDRESS": ":1"}, map[string][]string{"-l": {":1"}}},
		{"the second variable", "", map[string]string{"IF_BIND_TO": ":2", "IF_BIND_ADDRESS": ""}, map[string][]string{"-l": {":2"}}},
		{"repeated", "-p a -p b,c", map[string]string{"IF_PEERS": "d"}, map[string][]string{"-p": {"a", "b,c"}}},
		{"repeated in a variable", "", map[string]string{"IF_PEERS": "d,e"}, map[string][]string{"-p": {"d,e"}}},
		{"an empty value is a value", "-l=", map[string]string{"IF_BIND_TO": ":2"}, map[string][]string{"-l": {""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := map[string][]string{"-P": {"10"}}
			for k, v := range tt.want {
				want[k] = v
			}
			got, mistakes, _, err := compat.CommandLine(strings.Fields(tt.args), testFlags, func(name string) string { return tt.env[name] })
			if err != nil || len(mistakes) > 0 {
				t.Fatal(err, mistakes)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A mistake is said with its place and the cure, and without anything that may be a secret.
func TestMistakesInACommandLine(t *testing.T) {
	for _, tt := range []struct {
		args []string
		env  string // of IF_SECRET
		want string
	}{
		{[]string{"-W", "-priority", "20"}, "", "command line: -priority: unknown flag; write one of -W, -P, -l, -p, -xs, -print-config, -verbose, -v, -json-log, -dry-run, -version"},
		{[]string{"-xsS3CRET99"}, "", "command line: flags: unknown flag; write one of "},
		{[]string{"-xsletters"}, "", "command line: flags: unknown flag; write one of "},
		{[]string{"---"}, "", "command line: flags: unknown flag; write one of "},
		{[]string{"-W", "-P"}, "", "command line: -P: missing; write -P and its value"},
		{[]string{"-W", "S3CRET99", "-P"}, "", "command line: arguments: found 2 behind the flags; write flags alone, and a value with spaces in quotes"},
		{[]string{"-W=S3CRET"}, "", `command line: -W: found "S3CRET"; write -W alone, or true or false behind =`}, // no secret, by its flag
		{[]string{"-l", "a\nb"}, "", "command line: -l: found a text with control characters; write a text without them"},
		{nil, "S3CRET\x01", "environment: IF_SECRET: found a text with control characters; write a text without them"},
	} {
		_, mistakes, _, err := compat.CommandLine(tt.args, testFlags, func(name string) string { return map[string]string{"IF_SECRET": tt.env}[name] })
		got := fmt.Sprint(err)
		if err == nil {
			got = strings.Join(mistakes, "\n")
		}
		if !strings.HasPrefix(got, tt.want) || strings.Contains(got, "S3CRET99") {
			t.Errorf("%q: want %s\ngot %s", tt.args, tt.want, got)
		}
	}
}

func TestCommandLineAsksForSomethingElse(t *testing.T) {
	none := func(string) string { return "" }
	for arg, want := range map[string]error{"-h": flag.ErrHelp, "--help": flag.ErrHelp, "-version": compat.ErrVersion} {
		if _, _, _, err := compat.CommandLine([]string{"-W", arg}, testFlags, none); !errors.Is(err, want) {
			t.Errorf("%s: want %v, got %v", arg, want, err)
		}
	}
	_, _, tr, err := compat.CommandLine([]string{"-print-config", "-verbose", "-json-log", "-dry-run"}, testFlags, none)
	if err != nil || !tr.Print || !tr.Verbose || !tr.JSONLog || !tr.DryRun {
		t.Errorf("want all of it to be told, got %+v, %v", tr, err)
	}
	if _, _, tr, err := compat.CommandLine([]string{"-v"}, testFlags, none); err != nil || !tr.Verbose {
		t.Errorf("want -v to be told, got %+v, %v", tr, err)
	}
	if _, _, tr, err := compat.CommandLine([]string{"-W"}, testFlags, none); err != nil || tr.Print || tr.Verbose || tr.JSONLog || tr.DryRun {
		t.Errorf("want nothing of it, got %+v, %v", tr, err)
	}
}

// Secrets that others can read are told of once, by their names alone.
func TestSecretsInACommandLineAreToldOnce(t *testing.T) {
	core, seen := observer.New(zap.DebugLevel)
	flags := append([]compat.Flag{{Name: "xk", Value: "KEY", Secret: true}}, testFlags...)
	_, _, tr, err := compat.CommandLine([]string{"-xk", "EXOkey"}, flags, func(name string) string { return map[string]string{"IF_SECRET": "S3CRET"}[name] })
	if err != nil {
		t.Fatal(err)
	}
	tr.Tell(journal.New(zap.New(core)))
	if seen.Len() != 1 {
		t.Fatalf("want one line, got %v", seen.All())
	}
	fields := fmt.Sprint(seen.All()[0].ContextMap())
	if !strings.Contains(fields, "[-xk IF_SECRET]") || !strings.Contains(fields, "key-file") || strings.Contains(fields, "EXOkey") || strings.Contains(fields, "S3CRET") {
		t.Errorf("got %s", fields)
	}
}

func TestDescribeFlags(t *testing.T) {
	help := compat.Describe(append([]compat.Flag{{Name: "verbose", Usage: "its own"}}, testFlags...))
	for _, want := range []string{
		"  -P NUMBER (IF_PRIORITY)\n        priority (default \"10\")\n",
		"  -l ADDRESS (IF_BIND_ADDRESS, IF_BIND_TO)\n        address to listen on\n",
		"  -verbose\n        its own\n",
		"  -print-config\n        print the configuration of berth that means the same",
	} {
		if strings.Count(help, want) != 1 {
			t.Errorf("want once %q, got\n%s", want, help)
		}
	}
	if strings.Count(help, "-verbose\n") != 1 {
		t.Errorf("want one -verbose, got\n%s", help)
	}
	if all := compat.Complete(testFlags); !slices.Contains(all, "-P\tpriority") || !slices.Contains(all, "-version\tprint the version and exit") {
		t.Errorf("got %q", all)
	}
}

// All arguments, also random ones, get an answer or one mistake, and no secret in it.
func FuzzCommandLine(f *testing.F) {
	for _, args := range []string{"-W\n-P\n20", "-xs\nsecret", "---", "-P=\n-p\na\n-p\nb", "-h", "-version=x", "a\n-b"} {
		f.Add(args, "secret")
	}
	f.Fuzz(func(t *testing.T, args, variable string) {
		values, mistakes, tr, err := compat.CommandLine(strings.Split(args, "\n"), testFlags, func(string) string { return variable })
		if err == nil && tr == nil {
			t.Fatal("want a translation or an error")
		}
		for _, secret := range values["-xs"] {
			if len(secret) > 12 && strings.Contains(strings.Join(mistakes, "\n"), secret) && !strings.Contains(strings.Join(slices.Concat(values["-W"], values["-P"], values["-l"], values["-p"]), "\n"), secret) {
				t.Fatalf("the secret is in %q", mistakes)
			}
		}
	})
}
