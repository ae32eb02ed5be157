package e2e_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/internal/testnet"
	"berth/test/lab"

	"gopkg.in/yaml.v3"
)

// exoipPath is where exoip's documentation has the program.
const exoipPath = "/usr/local/bin/exoip"

// exoipHold is for how long a berth exoip with the default options only listens.
const exoipHold = 3*time.Second + 100*time.Millisecond

// exoipField is a lab with an account at Exoscale, in which berth has the place of exoip.
type exoipField struct {
	*field
	shells int
}

func newExoipField(t *testing.T) *exoipField {
	t.Helper()
	f := &exoipField{field: newFieldWith(t, lab.Options{Binary: berth, Exoscale: true})}
	for _, h := range f.Hosts {
		f.must(h.Do(func() error { return os.Symlink(lab.BerthPath, exoipPath) }))
	}
	return f
}

// sh runs lines on a host as they stand, and returns when the shell has ended. Programs that
// it has started in the background go on, with the log of the process that is returned.
func (f *exoipField) sh(h *lab.Host, lines string) *testnet.Process {
	f.t.Helper()
	f.shells++
	p, err := h.Start(fmt.Sprint("shell ", f.shells), "/bin/bash", "-eu", "-o", "pipefail", "-c", lines)
	f.must(err)
	f.until("the end of: "+lines, func() bool { return !p.Exited().IsZero() })
	if p.ExitCode() != 0 {
		f.t.Fatalf("%s: %s\nexit status %d: %s", h.Name, lines, p.ExitCode(), p.Log)
	}
	return p
}

// at waits until exactly these hosts have the elastic IP at the provider.
func (f *exoipField) at(hosts ...*lab.Host) {
	f.t.Helper()
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	f.until(fmt.Sprintf("the elastic IP to be at %q alone", names), func() bool { return slices.Equal(f.Attached(lab.ElasticIP), hosts) })
}

// neverAway fails the test if the elastic IP has been at no instance since it was at one first.
func (f *exoipField) neverAway() {
	f.t.Helper()
	for i, m := range f.Moves() {
		if i > 0 && len(m.Servers) == 0 {
			f.t.Errorf("want the elastic IP to be at an instance at all times, and it was at none at %s", m.Time.Format("05.000"))
		}
	}
}

// processes returns the processes of a host that are called exoip.
func (f *exoipField) processes(h *lab.Host) (all []testnet.Task) {
	f.t.Helper()
	tasks, err := h.Tasks()
	f.must(err)
	return slices.DeleteFunc(tasks, func(t testnet.Task) bool { return t.Name != "exoip" })
}

// ended waits until no process of a host is called exoip.
func (f *exoipField) ended(h *lab.Host) {
	f.t.Helper()
	f.until("exoip of "+h.Name+" to end", func() bool { return len(f.processes(h)) == 0 })
}

// cloudInit returns the file of exoip's documentation with the values of the lab in the
// lines that say "change me": ifupdown takes a comment behind a value for a part of it.
func (f *exoipField) cloudInit() (files map[string]string, commands []string) {
	f.t.Helper()
	text, err := os.ReadFile("testdata/exoip-cloud-init.yml")
	f.must(err)
	values := map[string]string{"address": lab.ElasticIP.String(), "exoscale-peer-group": lab.Group, "exoscale-api-key": lab.ExoscaleKey, "exoscale-api-secret": lab.Token}
	changed := regexp.MustCompile(`(?m)^( +)(\S+) \S+ +# change me$`).ReplaceAllStringFunc(string(text), func(line string) string {
		key := strings.Fields(line)[0]
		if values[key] == "" {
			f.t.Fatalf("%q is to be changed, and the test does not know how", line)
		}
		return line[:strings.Index(line, key)] + key + " " + values[key]
	})
	var doc struct {
		Packages []string
		Files    []struct{ Path, Content string } `yaml:"write_files"`
		Run      []string                         `yaml:"runcmd"`
	}
	f.must(yaml.Unmarshal([]byte(changed), &doc))
	files = map[string]string{}
	for _, file := range doc.Files {
		files[file.Path] = file.Content
	}
	return files, doc.Run
}

// stanza gives a host the files of ifupdown in exoip's documentation.
func (f *exoipField) stanza(h *lab.Host) {
	f.t.Helper()
	files, _ := f.cloudInit()
	for path, content := range files {
		f.must(h.WriteFile(path, content, 0o644))
	}
}

// The stanza of exoip's documentation on two hosts, by the real ifup and ifdown, which end
// exoip by the real killall. Both hosts have the same priority. SIGHUP executes the program
// anew under its name and moves nothing.
func TestExoipInAStanzaOfIfupdown(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "ifup", "ifdown", "killall", "pidof")
	f := newExoipField(t)
	probes := f.client(lab.ElasticIP)
	begin := time.Now()
	for _, h := range f.Hosts {
		f.stanza(h)
		f.sh(h, "ifup lo:1")
	}
	f.at(f.host1)
	if waited := time.Since(begin); waited < exoipHold {
		t.Errorf("want the hold-off of %v to pass before the first claim, got %v", exoipHold, waited)
	}
	f.served(f.host1, begin, probes...)

	before := f.processes(f.host1)
	if len(before) != 1 {
		t.Fatalf("want one process that is called exoip, got %+v", before)
	}
	moves := len(f.Moves())
	again := time.Now()
	f.sh(f.host1, "killall -HUP exoip")
	f.until("berth to begin anew", func() bool { return f.began(f.host1, again) })
	f.sh(f.host1, fmt.Sprintf("test $(pidof exoip) = %d && test $(cat /proc/%[1]d/comm) = exoip", before[0].LocalPID))
	f.pass(exoipHold+time.Second, probes[0])
	if got := len(f.Moves()); got != moves {
		t.Errorf("want no move after SIGHUP, got %d", got-moves)
	}

	down := time.Now()
	f.sh(f.host1, "ifdown lo:1")
	f.served(f.host2, down, probes...)
	f.at(f.host2)
	f.ended(f.host1)
	f.neverAway()

	// The peer that has resigned counts as living until it was silent for long enough.
	f.pass(exoipHold, probes[0])
	f.sh(f.host2, "ifdown lo:1")
	f.ended(f.host2)
	f.at()
}

// began reports whether a berth exoip on a host has begun since a moment.
func (f *exoipField) began(h *lab.Host, since time.Time) bool {
	for _, log := range f.Logs() {
		if strings.HasPrefix(log.Name, h.Name+" ") {
			if _, ok := log.Find(since, contains("watch-joined")); ok {
				return true
			}
		}
	}
	return false
}

// The file for cloud-init of exoip's documentation: its files are written and its commands
// run, in their order. Only the commands that fetch exoip, and its signature, have
// stand-ins, and sudo, because root runs them.
func TestExoipByCloudInit(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "ifup", "ifdown", "killall")
	f := newExoipField(t)
	peer := f.listen(f.host2.Node)
	files, commands := f.cloudInit()
	for path, content := range files {
		f.must(f.host1.WriteFile(path, content, 0o644))
	}
	for name, text := range map[string]string{
		"wget": `case $1 in */0.3.2/exoip) cp ` + lab.BerthPath + ` exoip; chmod 644 exoip ;; */0.3.2/exoip.asc) touch exoip.asc ;; *) exit 1 ;; esac`,
		"gpg":  `test -n "$1"`,
		"sudo": `exec "$@"`,
	} {
		f.must(f.host1.WriteFile("/usr/bin/"+name, "#!/bin/sh\n"+text+"\n", 0o755))
	}
	f.must(f.host1.Do(func() error { return os.Remove(exoipPath) }))
	f.sh(f.host1, "cd /tmp\n"+strings.Join(commands, "\n"))
	f.at(f.host1)
	heard := peer.all()
	if len(heard) == 0 {
		t.Fatal("want heartbeats at the other instance of the group, got none")
	}
	// Version, priority twice, 198.51.100.50. Until the peers of a group that had to be read
	// first were heard, the priority is 255; from then on it is 10.
	const unable, want = "0201" + "ffff" + "c6336432", "0201" + "0a0a" + "c6336432"
	able := false
	for _, d := range heard {
		got := hex.EncodeToString(d.text)
		if len(d.text) != 24 || d.from.Addr() != f.host1.Addr4 || got[:16] != want && (able || got[:16] != unable) {
			t.Errorf("want 24 bytes from %v that begin with %s, got %s from %v", f.host1.Addr4, want, got, d.from)
		}
		able = able || len(d.text) == 24 && got[:16] == want
	}
	if !able {
		t.Errorf("want heartbeats of priority 10 from the owner, got %d of 255 alone", len(heard))
	}
	// The first one can be older than the answer of the metadata service.
	id := strings.ReplaceAll(f.host1.UUID, "-", "")
	if got := hex.EncodeToString(heard[len(heard)-1].text[8:]); got != id {
		t.Errorf("want the id %s of the instance at the end of the last one, got %s", id, got)
	}
	if comm := f.processes(f.host1); len(comm) != 1 {
		t.Errorf("want one process that is called exoip, got %+v", comm)
	}
	f.sh(f.host1, "ifdown lo:1")
	f.at() // the other instance has not sent a heartbeat
}

// credentials are the flags of the account.
func (f *exoipField) credentials() string {
	return fmt.Sprintf("-xi %v -xk %s -xs %s", lab.ElasticIP, lab.ExoscaleKey, lab.Token)
}

// -A and -D move the elastic IP once and exit, again and again with the same effect, and so
// does the file that --print-config prints.
func TestExoipOnce(t *testing.T) {
	t.Parallel()
	f := newExoipField(t)
	// Without the metadata service the zone is that of the variable.
	f.Sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: http.StatusNotFound, Path: "/latest/meta-data/availability-zone"}})
	f.sh(f.host1, "! exoip -A "+f.credentials()+" 2>/tmp/said; grep -q 'Otherwise set zone (berth exoip: IF_EXOSCALE_ZONE)' /tmp/said")
	f.sh(f.host1, "IF_EXOSCALE_ZONE="+lab.Zone+" exoip -A "+f.credentials())
	f.heal()
	f.at(f.host1)
	for range 2 {
		f.sh(f.host1, "exoip -A "+f.credentials())
		f.at(f.host1)
	}
	// The other host takes it over.
	f.sh(f.host2, "exoip -A -i "+f.host2.UUID+" "+f.credentials())
	f.at(f.host2)
	// A host lets nothing go that another has.
	f.sh(f.host1, "exoip -D "+f.credentials())
	f.at(f.host2)
	for range 2 {
		f.sh(f.host2, "exoip -D "+f.credentials())
		f.at()
	}
	f.sh(f.host1, "exoip -A --print-config "+f.credentials()+" >/etc/berth.yml; umask 077; printf %s "+lab.ExoscaleKey+" >/run/key; printf %s "+lab.Token+" >/run/secret\n"+
		`sed -i 's,key-file: "",key-file: /run/key,; s,secret-file: "",secret-file: /run/secret,' /etc/berth.yml`+"\nberth associate /etc/berth.yml; rm /run/secret")
	f.at(f.host1)
	f.sh(f.host1, "! exoip -D -i e1c0ffee-0000-4000-8000-0000000000ab "+f.credentials()+" 2>/tmp/said; grep -q 'not that of its NIC' /tmp/said")
}
