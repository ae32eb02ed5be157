package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is what each package may import of this module. The graph is a star:
// leaves see the nouns in vrrp, internal/app alone sees many. A new edge needs
// its reason here. Four packages are nouns or tools of every package, so that an edge to
// them needs no reason: internal/journal to say with, internal/metrics to count with,
// internal/section to read a section of the configuration, vrrp to name states and
// addresses.
var allowed = map[string]string{
	// the command line, and the log with which the process begins and ends; compat: the flags
	// of other programs, for the help and for completion
	"berth":      "compat internal/app internal/logs",
	"berth/vrrp": "", // the nouns; everything may import it
	// the nouns of the addresses that are added at run time, for the API, its client and all
	// that have such addresses
	"berth/ips":            "vrrp",
	"berth/keepalivedconf": "vrrp",
	// files: a configuration and its secrets are read with a bound; rundir: the default of
	// lock-file-template
	"berth/config": "vrrp internal/files internal/journal internal/section internal/rundir",
	// what other programs' configurations mean in berth's
	"berth/compat": "config internal/journal internal/section",
	// files: the lock of the one reader
	"berth/fifo":     "vrrp internal/files internal/journal",
	"berth/instance": "vrrp internal/journal", // knows neither clouds nor locks
	// files: the lock file, and whether another user can have made it
	"berth/guard": "internal/files internal/journal",
	// boot: a clock that goes on during a suspension; condition: what a candidate needs; names:
	// the addresses of the endpoints; certs: TLS. The work of an owner arrives as a function
	"berth/election":  "vrrp internal/boot internal/certs internal/condition internal/journal internal/metrics internal/names internal/section",
	"berth/refresher": "vrrp internal/metrics internal/journal", // a provider's errors tell their class by behaviour
	// boot: a record of another boot names no process; files: the record and its owner; pidfd:
	// the predecessor is signalled, never a recycled pid
	"berth/notify": "vrrp internal/boot internal/files internal/journal internal/pidfd",
	// condition: an interface that is up; files: the record of what is bound. It decides
	// nothing about the owner of an address
	"berth/netif": "internal/condition internal/files internal/journal internal/metrics",
	// condition: what a candidate needs; certs: TLS material; program, run: how a program
	// runs, and checks beside each other
	"berth/health": "internal/certs internal/condition internal/journal internal/metrics internal/program internal/run",
	// boot: a clock that goes on during a suspension; condition: what an owner needs; files,
	// record: the counters of signed datagrams; run: its parts
	"berth/heartbeat": "vrrp internal/boot internal/condition internal/files internal/journal internal/metrics internal/record internal/run",
	"berth/selftest":  "", // probes arrive as functions
	// boot, files, rundir: the stored ids, which a new boot ends, and their lock; files: a
	// ca-file; names: the addresses of the API's host
	"berth/providers": "vrrp internal/boot internal/files internal/metrics internal/names internal/section internal/journal internal/rundir",
	// a cloud knows what the seam gives it, and no other cloud
	"berth/providers/cloudscale": "providers internal/section internal/journal",
	"berth/providers/exoscale":   "providers internal/section internal/journal",
	"berth/providers/hetzner":    "providers internal/section",
	"berth/providers/exec":       "providers internal/journal internal/program internal/section", // program: how a program of the user's own runs
	"berth/providers/webhook":    "providers internal/section",
	"berth/providers/none":       "providers internal/section",
	"berth/providers/fake":       "providers providers/none vrrp internal/journal internal/section", // beside its printing it is none
	// the one list of clouds
	"berth/providers/catalog":  "providers providers/cloudscale providers/exec providers/exoscale providers/fake providers/hetzner providers/none providers/webhook",
	"berth/internal/boot":      "", // the id of this boot, for all that store what a boot ends, and its clock
	"berth/internal/files":     "", // how files are read and replaced, for all that do
	"berth/internal/section":   "", // how a section is read, the same for berth's own and the providers'
	"berth/internal/run":       "", // tasks arrive as functions
	"berth/internal/rundir":    "", // the names of files, for all that write them
	"berth/internal/pidfd":     "", // processes by handle
	"berth/internal/condition": "", // a noun to wait for
	"berth/internal/program":   "", // how programs of the user's own run, for all that start some
	"berth/internal/metrics":   "", // a noun to count with, as a library would be
	// files of a TLS client, and their problems
	"berth/internal/certs": "internal/files internal/section",
	// metrics: a consumer counts events. A noun to say with, as a library would be
	"berth/internal/journal": "internal/metrics",
	// files: log-file must be this user's own; metrics: the lines that were dropped. It stands
	// below the journal and cannot use it
	"berth/internal/logs":   "internal/files internal/metrics",
	"berth/internal/record": "internal/files internal/journal", // files: the record is replaced whole
	// files: the textfile is replaced whole
	"berth/internal/serve": "internal/files internal/journal internal/metrics",
	// how names become addresses, for all that connect; files, rundir: the last good answers
	"berth/internal/names": "internal/files internal/journal internal/rundir",
	// its processes, its FIFO and what it answers; files, rundir: the stored version
	"berth/internal/keepalived": "vrrp keepalivedconf internal/files internal/journal internal/pidfd internal/rundir",
	"berth/internal/presence":   "vrrp internal/journal", // kernel and processes arrive as functions
	// what keepalived, its file and its network show, against what its events have told
	"berth/internal/reconcile": "vrrp keepalivedconf internal/journal internal/keepalived internal/metrics internal/presence",
	// puts on record what the election has, in the form that status reads; files, rundir: how
	// and where
	"berth/internal/seat": "election internal/files internal/journal internal/rundir internal/status",
	// what the loops of a process share: the account and the rhythm
	// providers: what is moved; refresher: how attempts are spaced; status: what acts here
	"berth/internal/associate": "vrrp providers refresher internal/journal internal/status",
	"berth/internal/pointing":  "vrrp providers refresher internal/journal",
	// guards, loops, addresses and their presence arrive as values and functions; reload: the
	// cause of a holding that begins anew
	"berth/internal/holding": "vrrp guard refresher internal/journal internal/reload",
	// any source; guard: the last word of the source; reload: the cause of a holding that
	// begins anew; run: its parts
	"berth/internal/service": "vrrp guard instance internal/journal internal/reload internal/run",
	// the election as a guard; status: what the election says of a MASTER; run, seat: what runs
	// beside the election, and puts it on record
	"berth/internal/fence":  "vrrp election guard internal/journal internal/run internal/seat internal/status",
	"berth/internal/reload": "internal/journal", // generations arrive as values
	// what it serves: ips, pool, internal/cluster, internal/status; election: the errors of a
	// hand-over; certs, serve: TLS and the one HTTP server; run: its parts; section: what is
	// wrong with a file of the client
	"berth/api": "election ips pool internal/certs internal/cluster internal/journal internal/metrics internal/run internal/section internal/serve internal/status",
	// election: the keys of the pool and their campaigns; owner: what the owner of one address
	// does, with the loops of a provider (refresher); condition: what a member needs; files: the
	// last list; run: its parts; status: what it tells; ips: what can be an address. etcd and the
	// interface arrive as values; record: how the list is stored
	"berth/pool": "election ips refresher vrrp internal/condition internal/files internal/journal internal/metrics internal/owner internal/record internal/run internal/status",
	// election: the keys of added addresses and their campaigns; owner: what the owner of one
	// does, with the loops of a provider (refresher); health: their checks, condition: what the
	// host needs; files, record: the last list; run: its parts; status: what it tells; ips: the
	// nouns. etcd and the interface arrive as values
	"berth/internal/added": "election health ips refresher vrrp internal/condition internal/files internal/journal internal/metrics internal/owner internal/record internal/run internal/status",
	// what an owner does, by the grant of the election, with the loops of a holding; condition:
	// what it needs; run: its parts; status: what it tells. Interfaces arrive as values
	"berth/internal/owner": "election guard refresher vrrp internal/condition internal/holding internal/journal internal/run internal/status",
	// what Patroni says, as a decider of owners (owner, and election for what a campaign is)
	// and as a condition; boot: a clock that goes on during a suspension; certs: TLS
	"berth/internal/patroni": "election vrrp internal/boot internal/certs internal/condition internal/journal internal/metrics internal/owner",
	// who sends heartbeats (heartbeat), by names and by the groups of a provider; run: its parts
	"berth/internal/roster": "heartbeat providers internal/condition internal/files internal/journal internal/record internal/run",
	// a condition, whatever it is for
	"berth/internal/witness": "internal/condition internal/journal internal/metrics",
	// what this host does not own at the provider, and as a guard what it does; run: its parts
	"berth/internal/yield": "guard providers internal/journal internal/run",
	// files, rundir: a file for each instance
	"berth/internal/status": "vrrp internal/files internal/journal internal/metrics internal/rundir",
	// which addresses keepalived has: from its file, and from what its processes (pidfd) have
	// open; files, rundir: the last good reading
	"berth/internal/reading":  "vrrp keepalivedconf internal/files internal/journal internal/pidfd internal/rundir",
	"berth/internal/cloudsim": "internal/journal", // it shares nothing with the providers that it tests
	// what the members tell in etcd (election, and pool for its assignment), beside what this
	// host knows of itself (status). It decides nothing
	"berth/internal/cluster": "election pool vrrp internal/status",
	// the addresses of keepalived.conf beside their holders at the provider
	"berth/internal/overview": "vrrp keepalivedconf providers internal/keepalived", // as which version the configuration was read
	// what a check of the self-test takes
	"berth/internal/probe":   "vrrp config election keepalivedconf providers selftest internal/overview internal/reading fifo internal/keepalived",
	"berth/internal/systemd": "internal/journal",
	"berth/internal/upgrade": "election netif", // its causes are the one that both know
	"berth/internal/app":     "*",              // the only wiring
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
		for _, edge := range strings.Fields(may) {
			if edge != "*" && !slices.Contains(imports, "berth/"+edge) {
				t.Errorf("%s does not import %s, which the table allows; remove it from there", pkg, edge)
			}
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
