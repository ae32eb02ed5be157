package faults

import (
	"time"

	"golang.org/x/sys/unix"
)

// Figures of the pool.
const (
	atOnce  = 100 * time.Millisecond // what etcd says has its effect on every host
	startUp = time.Second            // of a program, until it serves
	// passedOn is handOver for an address of the pool, which takes two transactions of etcd,
	// one after the other: the former owner deletes its key, the next one puts its own. That
	// of an election stands in the queue already.
	passedOn = 2 * handOver
)

// poolFaults are the faults of a lab with a pool.
func poolFaults() []Fault {
	all := []Fault{
		{Name: "pool-kill9", CI: true, Lasts: longer, Inject: kill9, Limits: Limits{NoOwner: kernel}},
		{Name: "pool-kill9-restart", Lasts: shorter, Stays: true, Inject: restart(unix.SIGKILL)},
		{Name: "pool-upgrade", Lasts: shorter, Stays: true, Inject: restart(unix.SIGUSR2)},
		{Name: "pool-freeze", Lasts: longer, Inject: freeze, Limits: Limits{NoOwner: kernel, TwoOwners: thawed}},
		{Name: "pool-clean-stop", Lasts: shorter, Inject: cleanStop, Limits: Limits{NoOwner: passedOn}},
		{Name: "pool-host-death", Lasts: longer, Inject: hostDeath, Limits: Limits{Median: 5 * time.Second, NoOwner: hostGone}},
		{Name: "pool-partition-with-client", Owner: true, Deaf: true, Lasts: longest, Inject: partitionWithClient, Limits: Limits{NoOwner: kernel, Unseen: longest, Reunited: reunion}},
		{Name: "pool-partition-etcd", Lasts: longer, Inject: partitionEtcd, Limits: Limits{NoOwner: kernel}},
		// The host that is back gets its share while its port of the switch is about to forward.
		{Name: "pool-link-down", Lasts: longer, Inject: linkDown, Limits: Limits{NoOwner: linkLost, Reunited: linkBack}},
		{Name: "pool-drain", CI: true, Lasts: shorter, Inject: drain, Limits: Limits{NoOwner: passedOn, Left: atOnce}},
		{Name: "pool-retract-add", Lasts: shorter, Inject: retract, Limits: Limits{NoOwner: passedOn, Dropped: atOnce}},
		{Name: "pool-start-together", Alone: true, CI: true, Lasts: shorter, Inject: startTogether, Limits: Limits{NoOwner: startUp}},

		{Name: "pool-health-fail", Health: true, Lasts: unwell, Inject: answers(failing), Limits: Limits{NoOwner: passedOn, Left: givenUp}},
		{Name: "pool-health-hang", Health: true, Lasts: unwell, Inject: answers(hanging), Limits: Limits{NoOwner: passedOn, Left: givenUp}},
		{Name: "pool-health-flap-below", Health: true, Lasts: longer, Stays: true, Inject: answers(seldom...)},
		{Name: "pool-health-flap", Health: true, Lasts: longer, Inject: answers(often...), Limits: Limits{NoOwner: passedOn, Moves: flaps * 2 * (PoolSize/3 + 1)}},

		{Name: "pool-etcd-leader-killed", Etcd: true, Lasts: 4 * time.Second, Inject: etcdLeaderKilled, Limits: Limits{NoOwner: leaseLost}},
		{Name: "pool-etcd-leader-hung", Etcd: true, Lasts: longer, Inject: etcdLeaderHung, Limits: Limits{NoOwner: leaseLost}},
		{Name: "pool-etcd-majority-lost", Etcd: true, Lasts: longer, Inject: etcdNoQuorum, Limits: Limits{NoOwner: beyond, BeyondLease: true}},
		{Name: "pool-etcd-stopped", Etcd: true, Lasts: longer, Inject: etcdStopped, Limits: Limits{NoOwner: beyond, BeyondLease: true}},
		{Name: "pool-etcd-frozen", Etcd: true, Lasts: longer, Inject: etcdFrozen, Limits: Limits{NoOwner: beyond, BeyondLease: true}},
		{Name: "pool-etcd-killed", Etcd: true, Lasts: longer, Inject: etcdKilled, Limits: Limits{NoOwner: beyond, BeyondLease: true}},
		{Name: "pool-etcd-killed-keep", Etcd: true, OnEtcdLoss: "keep", Lasts: longer, Stays: true, Inject: etcdKilled},
		{Name: "pool-lease-revoked", Etcd: true, Lasts: longer, Inject: leaseRevoked, Limits: Limits{NoOwner: leaseLost}},
		{Name: "pool-key-deleted", Etcd: true, Lasts: longer, Inject: keyDeleted, Limits: Limits{NoOwner: leaseLost}},
	}
	for i := range all {
		all[i].Pool, all[i].Limits.Each = true, true
	}
	return all
}

// drain takes the victim out of the pool.
func drain(r *Run) error {
	key := drainedDir + r.Victim.Name()
	r.heal(func() error { return r.remove(r.Ctx, key) })
	r.bar(r.Victim)
	return r.put(r.Ctx, key)
}

// retract removes four addresses from the pool, some of each host.
func retract(r *Run) error {
	some := r.record.history.Addresses[:4]
	r.heal(func() error { return r.List(r.Ctx, some...) })
	return r.Retract(r.Ctx, some...)
}

// startTogether starts berth on all hosts at the same instant, in an etcd that has no
// key; the addresses are listed after that. The time before is not judged.
func startTogether(r *Run) error {
	for _, h := range r.Hosts {
		if err := h.Signal(r.Ctx, unix.SIGTERM); err != nil {
			return err
		}
	}
	all := r.record.history.Addresses
	r.Since = r.record.act(Act{What: "delete all keys", Retracted: all})
	if err := r.Etcd.Call(r.Ctx, "kv/deleterange", map[string][]byte{"key": []byte(prefix), "range_end": following(prefix)}, nil); err != nil {
		return err
	}
	for _, h := range r.Hosts {
		if err := h.Start(); err != nil {
			return err
		}
	}
	return r.List(r.Ctx, all...)
}
