package main

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"berth/internal/app"
	"berth/internal/testnet"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The manual page names every command, flag and environment variable.
func TestManualPageNamesEverything(t *testing.T) {
	text, err := os.ReadFile("dist/berth.8")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	word := func(macro, name string) bool {
		return regexp.MustCompile(`(?m)^\.(It )?.*\b` + macro + ` [^\n]*` + regexp.QuoteMeta(name) + `\b`).MatchString(page)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "completion" || c.Name() == "help" {
			return // commands of cobra, which explains them
		}
		if c.HasParent() && !word("Cm", c.Name()) {
			t.Errorf("berth.8 does not name the command %q", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != "version" && !word("Fl", "-"+f.Name) {
				t.Errorf("berth.8 does not name the flag --%s of %q", f.Name, c.CommandPath())
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(command(&app.Options{Stdout: io.Discard, Stderr: io.Discard}))

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range regexp.MustCompile(`\b[A-Z]+(_[A-Z]+)+\b`).FindAllString(string(readme), -1) {
		if strings.HasPrefix(v, "MASTER_") {
			continue // states of keepalived
		}
		if !strings.Contains(page, v) {
			t.Errorf("README.md names the variable %s, berth.8 does not", v)
		}
	}
}

// groff, which shows the page on Debian, warns of nothing in it.
func TestManualPageIsWellFormed(t *testing.T) {
	if _, err := exec.LookPath("groff"); err != nil {
		if os.Getenv(testnet.RequireEnv) == "1" {
			t.Fatal("groff is not installed: apt-get install groff-base")
		}
		t.Skip("groff is not installed")
	}
	out, err := exec.Command("groff", "-mdoc", "-Tutf8", "-ww", "-z", "dist/berth.8").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("groff: %v\n%s", err, out)
	}
}
