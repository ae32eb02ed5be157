package selftest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Socket reports whether heartbeats can be received at an address and port. bind tries to
// listen there; running returns the pid of a berth of this host that sends heartbeats, 0
// if none is known.
func Socket(listen string, bind func() error, running func() int) Check {
	return Check{"heartbeats", func(context.Context) []Finding {
		err := bind()
		pid := 0
		if errors.Is(err, unix.EADDRINUSE) {
			pid = running()
		}
		switch {
		case err == nil:
			return one(OK, "UDP port is free: "+listen, "")
		case pid != 0:
			return one(OK, fmt.Sprintf("berth runs with pid %d and receives at %s", pid, listen), "")
		case errors.Is(err, unix.EADDRINUSE):
			return one(Fail, err.Error(), "find the program: ss -lunp; stop it, or write another heartbeat.listen on all hosts")
		}
		return one(Fail, err.Error(), "write :12345 as heartbeat.listen, or an address that this host has")
	}}
}

// Peer is another host that sends heartbeats.
type Peer struct {
	Name      string
	Addresses []string // empty if Err says why there is none
	Err       error
}

// Peers reports whether the peers are known. find returns an error if no peer can be told
// at all.
func Peers(find func(ctx context.Context) ([]Peer, error)) Check {
	return Check{"peers", func(ctx context.Context) []Finding {
		peers, err := find(ctx)
		if err != nil {
			return one(Fail, err.Error(), "correct heartbeat.security-group, or what the error names")
		}
		var all []Finding
		for _, p := range peers {
			switch {
			case p.Err != nil:
				all = append(all, Finding{Level: Fail, Seen: p.Name + ": " + p.Err.Error(), Cure: "write its address in heartbeat.peers, or mend the name: getent ahosts " + p.Name})
			case len(p.Addresses) == 1 && p.Addresses[0] == p.Name:
				all = append(all, Finding{Level: OK, Seen: p.Name})
			default:
				all = append(all, Finding{Level: OK, Seen: p.Name + ": " + strings.Join(p.Addresses, ", ")})
			}
		}
		if len(all) == 0 {
			return one(Warn, "there is no other host, so that none takes over", "add a host to the security group")
		}
		return all
	}}
}

// Witness reports whether the witness of heartbeats is reached.
func Witness(address string, reach func(ctx context.Context) error) Check {
	return Check{"witness", func(ctx context.Context) []Finding {
		if err := reach(ctx); err != nil {
			return one(Fail, address+": "+err.Error(), "choose a witness that accepts TCP connections from all hosts; without it no host owns an address")
		}
		return one(OK, address+" accepts connections", "")
	}}
}
