package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is what each package may import of this module. The graph is a star:
// leaves see the nouns in vrrp, internal/app alone sees many. A new edge needs
// its reason here.
var allowed = map[string]string{
	"berth":                      "internal/app internal/logs",
	"berth/vrrp":                 "", // the nouns; everything may import it
	"berth/config":               "vrrp internal/files internal/journal internal/section internal/rundir",
	"berth/keepalivedconf":       "vrrp",
	"berth/fifo":                 "vrrp internal/files internal/journal", // the lock of the one reader
	"berth/instance":             "vrrp internal/journal",                // knows neither clouds nor locks
	"berth/guard":                "internal/files internal/journal",
	"berth/election":             "vrrp internal/condition internal/files internal/journal internal/metrics internal/names internal/section", // what an owner does is a function given to it; a mistake names its key
	"berth/refresher":            "vrrp internal/metrics internal/journal",                                                                   // a provider's errors tell their class by behaviour
	"berth/notify":               "vrrp internal/boot internal/files internal/journal internal/pidfd",                                        // signals the predecessor, never a recycled pid
	"berth/netif":                "internal/condition internal/files internal/journal internal/metrics",                                      // addresses of this host; decides nothing about who has them
	"berth/selftest":             "",                                                                                                         // probes arrive as functions
	"berth/providers":            "vrrp internal/boot internal/files internal/metrics internal/names internal/section internal/journal internal/rundir",
	"berth/providers/cloudscale": "providers internal/section internal/journal",
	"berth/providers/exoscale":   "providers internal/section internal/journal",
	"berth/providers/hetzner":    "providers internal/section",
	"berth/providers/exec":       "providers internal/journal internal/section",
	"berth/providers/webhook":    "providers internal/section",
	"berth/providers/none":       "providers internal/section",
	"berth/providers/fake":       "providers providers/none vrrp internal/journal internal/section", // beside its printing it is none
	// the one list of clouds
	"berth/providers/catalog":   "providers providers/cloudscale providers/exec providers/exoscale providers/fake providers/hetzner providers/none providers/webhook",
	"berth/internal/boot":       "", // the id of this boot, for all that store what a boot ends
	"berth/internal/files":      "", // how files are read and replaced, for all that do
	"berth/internal/section":    "", // how a section is read, the same for berth's own and the providers'
	"berth/internal/logs":       "internal/files internal/metrics",
	"berth/internal/run":        "", // tasks arrive as functions
	"berth/internal/serve":      "internal/files internal/journal internal/metrics",
	"berth/internal/metrics":    "",                                                // a noun to count with, as a library would be
	"berth/internal/journal":    "internal/metrics",                                // a noun to say with, as a library would be
	"berth/internal/condition":  "",                                                // a noun to wait for
	"berth/internal/names":      "internal/files internal/journal internal/rundir", // how names become addresses, for all that connect
	"berth/internal/pidfd":      "",
	"berth/internal/keepalived": "vrrp internal/files internal/journal internal/pidfd internal/rundir", // its processes, its FIFO and what it answers
	"berth/internal/presence":   "vrrp internal/journal",                                               // kernel and processes arrive as functions
	// what keepalived, its file and its network show, against what its events have told
	"berth/internal/reconcile": "vrrp keepalivedconf internal/journal internal/keepalived internal/metrics internal/presence",
	"berth/internal/seat":      "election internal/files internal/journal internal/rundir internal/status", // puts on record what the election has, in the form that status reads
	// guards, loops, addresses and their presence arrive as values and functions
	"berth/internal/pointing": "vrrp providers refresher internal/journal",                                       // what the loops of a process share
	"berth/internal/holding":  "vrrp guard refresher internal/journal internal/reload",                           // a holding that begins anew has the cause of reload
	"berth/internal/service":  "vrrp guard instance internal/journal internal/reload internal/run",               // any source
	"berth/internal/fence":    "vrrp election guard internal/journal internal/run internal/seat internal/status", // the election as a guard
	"berth/internal/reload":   "internal/journal",                                                                // generations arrive as values
	// what an owner does, by the grant of the election; interfaces and loops arrive as values
	"berth/internal/owner":  "election guard refresher vrrp internal/condition internal/holding internal/journal internal/run internal/status",
	"berth/internal/status": "vrrp internal/files internal/journal internal/metrics internal/rundir",
	// which addresses keepalived has: from its file, and from what its processes have open
	"berth/internal/reading":  "vrrp keepalivedconf internal/files internal/journal internal/pidfd internal/rundir",
	"berth/internal/cloudsim": "internal/journal",
	"berth/internal/overview": "vrrp keepalivedconf providers",
	"berth/internal/probe":    "vrrp election keepalivedconf providers selftest internal/overview internal/reading fifo internal/keepalived", // what a check of the self-test takes
	"berth/internal/rundir":   "",                                                                                                            // the names of files, for all that write them
	"berth/internal/systemd":  "internal/journal",
	"berth/internal/upgrade":  "election netif", // its causes are the one that both know
	"berth/internal/app":      "*",              // the only wiring
}

// testOnly may be imported by tests and by each other, never by the product.
var testOnly = []string{"berth/internal/etcdtest", "berth/internal/testnet", "berth/providers/providertest", "berth/test/"}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		pkg, imports := f[0], f[1:]
		if slices.ContainsFunc(testOnly, func(p string) bool { return strings.HasPrefix(pkg, p) }) {
			continue
		}
		may, known := allowed[pkg]
		if !known {
			t.Errorf("package %s is not in the table; add it with what it may import", pkg)
			continue
		}
		for _, im := range imports {
			if !strings.HasPrefix(im, "berth/") {
				continue
			}
			if slices.ContainsFunc(testOnly, func(p string) bool { return strings.HasPrefix(im, p) }) {
				t.Errorf("%s imports test support %s", pkg, im)
			}
			if may != "*" && !slices.Contains(strings.Fields(may), strings.TrimPrefix(im, "berth/")) {
				t.Errorf("%s imports %s, which the table does not allow", pkg, im)
			}
		}
	}
}
