package faults

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/lab"
)

// patroniWait bounds the waits for Patroni, whose members find a new leader after a
// whole ttl.
const patroniWait = lab.PatroniTTL + waitLimit

// addPatroni makes the host a member of the Patroni cluster; nothing runs yet.
func (h *Host) addPatroni() (err error) {
	var etcd []netip.AddrPort
	for i := range 3 {
		etcd = append(etcd, netip.AddrPortFrom(etcdAddress(i), 2379))
	}
	h.Patroni, err = lab.NewPatroni(h.Node, h.etcdAddress(), etcd, h.lab.Record)
	return err
}

// StartPatroni starts Patroni on all hosts and waits until the first one leads and the
// others replicate.
func (l *Lab) StartPatroni(ctx context.Context) error {
	if err := l.Hosts[0].Patroni.Start(); err != nil {
		return err
	}
	if err := l.role(ctx, l.Hosts[0], "leader"); err != nil {
		return err
	}
	for _, h := range l.Hosts[1:] {
		if err := h.Patroni.Start(); err != nil {
			return err
		}
	}
	return l.replicated(ctx, l.Hosts[0])
}

// replicated waits until all hosts but the leader replicate.
func (l *Lab) replicated(ctx context.Context, leader *Host) error {
	for _, h := range l.Hosts {
		if h != leader {
			if err := l.role(ctx, h, "replica"); err != nil {
				return err
			}
		}
	}
	return nil
}

// role waits until a host's Patroni says that it has a role.
func (l *Lab) role(ctx context.Context, h *Host, role string) error {
	ctx, cancel := context.WithTimeout(ctx, patroniWait)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond) // Patroni is asked; it does not tell
	defer again.Stop()
	for h.Patroni.Status(ctx, role) != http.StatusOK {
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("waited for Patroni on %s to say that it is the %s: %w", h.Name(), role, context.Cause(ctx))
		}
	}
	return nil
}

// Figures of Patroni.
const (
	// believed is how long an answer of Patroni is good for, with the kernel's delay.
	believed = 3500 * time.Millisecond
	// succession is the time in which another member leads: the ttl, and the promotion of
	// its PostgreSQL.
	succession = lab.PatroniTTL + 5*time.Second
	// switched is the time that Patroni takes to hand the lead over: PostgreSQL is stopped
	// in order here and promoted there.
	switched = 6 * time.Second
	// recovered is the time that Patroni takes after an outage of etcd until a PostgreSQL
	// that it had demoted is the primary again.
	recovered = 10 * time.Second
)

// patroniFaults are the faults of hosts that follow Patroni.
func patroniFaults() []Fault {
	all := []Fault{
		{Name: "patroni-kill9", Lasts: succession, Inject: func(r *Run) error {
			r.heal(r.Victim.Patroni.Start)
			r.bar(r.Victim)
			return r.Victim.Patroni.Kill()
		}, Limits: Limits{NoOwner: succession, Left: believed}},
		{Name: "patroni-frozen", Lasts: succession, Inject: func(r *Run) error {
			r.heal(r.Victim.Patroni.Thaw)
			r.bar(r.Victim)
			return r.Victim.Patroni.Freeze()
		}, Limits: Limits{NoOwner: succession, Left: believed}},
		// Patroni leads on, so no other host may have the address.
		{Name: "patroni-berth-frozen", Lasts: longer, Inject: func(r *Run) error {
			r.bar(r.Victim)
			return freeze(r)
		}, Limits: Limits{NoOwner: longer, Left: believed}},
		{Name: "patroni-berth-kill9", Lasts: longer, Inject: func(r *Run) error {
			r.bar(r.Victim)
			return kill9(r)
		}, Limits: Limits{NoOwner: longer, Left: believed}},
		{Name: "patroni-berth-kill9-restart", Lasts: shorter, Stays: true, Inject: restart(unix.SIGKILL)},
		{Name: "patroni-etcd-frozen", Lasts: longest, Inject: etcdFrozen, Limits: Limits{NoOwner: longest + recovered}},
		{Name: "patroni-switchover", Lasts: longer, Inject: func(r *Run) error {
			return r.Victim.Patroni.Switchover(r.Ctx, r.Idle.Patroni)
		}, Limits: Limits{NoOwner: switched}},
	}
	for i := range all {
		all[i].Patroni, all[i].Alone = true, true
	}
	return all
}
