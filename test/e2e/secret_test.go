package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/test/lab"
)

// Every command runs with --verbose beside an API that works, that repeats the token in
// its errors, and that is down. newField searches the output and the files left
// behind, here and in all other tests.
func TestNothingPrintsTheToken(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(100))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)

	commands := []string{
		"--test " + lab.BerthConf,
		"--json-log --test " + lab.BerthConf,
		"show " + lab.BerthConf,
		"show --output json " + lab.BerthConf,
		"status",
		"--dry-run " + lab.BerthConf + " INSTANCE VI_4 BACKUP 100",
		"--test /etc/broken.yml",
	}
	f.must(f.host1.WriteFile("/etc/broken.yml", "provider: cloudscale\ncloudscale: {token: "+lab.Token+", endpoint: [}\n", 0o600))
	for _, api := range []struct {
		name   string
		faults cloudsim.Faults
	}{
		{"well", nil},
		{"repeating the token", cloudsim.Faults{{Kind: cloudsim.Status, Status: http.StatusForbidden, Form: cloudsim.FormEcho}}},
		{"redirecting", cloudsim.Faults{{Kind: cloudsim.Redirect, Location: "http://10.77.0.1/" + lab.Token}}},
		{"garbage", cloudsim.Faults{{Kind: cloudsim.Garbage}}},
		{"away", nil},
	} {
		if api.name == "away" {
			f.must(f.API.Down())
		}
		f.Sim.SetFaults(api.faults)
		f.pass(600*time.Millisecond, client[0]) // the service meets it too
		for _, command := range commands {
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			p, err := f.host1.Start("berth "+command, lab.BerthPath, append([]string{"--verbose"}, strings.Fields(command)...)...)
			f.must(err)
			select {
			case <-p.Said():
			case <-ctx.Done():
				t.Errorf("want berth %s to end while the API is %s, got nothing in %v", command, api.name, waitLimit)
			}
			cancel()
		}
	}
	// The search means something only if there was something to read.
	said := 0
	for _, log := range f.Logs() {
		said += len(log.Lines())
	}
	if said < 100 {
		t.Errorf("want much output to search, got %d lines", said)
	}
}

// The self-test finds everything in order on a host in service, and changes
// nothing.
func TestSelfTestOnAHostInService(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(100))
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), f.client(lab.IPv4a, lab.IPv4b)...)
	before := time.Now()
	out, err := f.host1.Run(f.context(), lab.BerthPath, "--test", lab.BerthConf)
	if err != nil {
		t.Errorf("want the self-test to pass, got %v: %s", err, out)
	}
	for _, want := range []string{lab.IPv4a.String(), lab.IPv4b.String(), "VI_4", f.host1.UUID} {
		if !strings.Contains(out, want) {
			t.Errorf("want the table to name %s, got:\n%s", want, out)
		}
	}
	for _, r := range f.Requests(f.host1, before) {
		if r.Write {
			t.Errorf("want no write by the self-test, got %s %s", r.Method, r.Path)
		}
	}
}
