package faults

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Fault is something that goes wrong in the lab, by name.
type Fault struct {
	Name string
	// OnEtcdLoss is the policy that the lab must have, if not release.
	OnEtcdLoss string
	// Patroni says that the hosts must follow Patroni.
	Patroni bool
	// Clock says that berth must come from BuildWithClock.
	Clock bool
	// Crowd is how many instances the lab must have beside Instance, on two hosts, of
	// which one owns all.
	Crowd int
	// Named says that the lab must know etcd by name.
	Named bool
	// Pool says that the lab must have a pool instead of the instance.
	Pool bool
	// Added says that the lab must have addresses that were added at run time instead of the
	// instance.
	Added bool
	// Health says that the lab must have health checks.
	Health bool
	// CI says that the fault is in the selection for every change.
	CI bool
	// Inject begins the fault and tells the run how to heal it.
	Inject func(*Run) error
	// Lasts is how long the fault lasts.
	Lasts time.Duration
	// Owner says that only the owner can have the fault.
	Owner bool
	// Etcd says that etcd fails and not a host: a fault of each kind can happen at
	// the same time.
	Etcd bool
	// Alone says that the fault needs a run of its own.
	Alone bool
	// Deaf says that the client hears only the victim while the fault lasts.
	Deaf bool
	// Stays says that every address stays with its owner.
	Stays  bool
	Limits Limits
}

// Limits are the figures that a fault may reach: those of the table in
// docs/fencing.md.
type Limits struct {
	TwoOwners       time.Duration
	Median, NoOwner time.Duration // without owner: median of all runs, and longest
	// Each says that NoOwner is for each time without owner, not for all together: an
	// address may move at the fault, and again after the heal.
	Each bool
	// BeyondLease adds to NoOwner the time that the fault lasted longer than a
	// lease.
	BeyondLease bool
	// Unseen is added to NoOwner for the outage of the client: the owner has the
	// address but cannot be reached, or cannot be found at once.
	Unseen time.Duration
	// Reunited is how long after the heal the LAN may take to carry everything again. It
	// is added to the time that the client may be without service after the heal.
	Reunited time.Duration
	// Shared says that an address may have several owners from the fault on, until
	// OneAgain after the heal at most.
	Shared   bool
	OneAgain time.Duration
	// Left is how long a host that may not own an address any more may still own one,
	// Dropped how long an address may that is not in the pool any more.
	Left, Dropped time.Duration
	// Moves is how often addresses may change their owners, all together; 0 for any
	// number.
	Moves int
}

// Without is the time without owner that Limits.NoOwner is for.
func (f Fault) Without(got Figures) time.Duration {
	if f.Limits.Each {
		return got.NoOwnerMax
	}
	return got.NoOwner
}

// Exceeded returns the figures of one run that are more than the fault allows.
func (f Fault) Exceeded(got Figures) (problems []string) {
	limit := f.Limits.NoOwner
	if f.Limits.BeyondLease {
		limit += max(0, got.Down-Lease)
	}
	two, again := got.TwoOwnersMax, time.Duration(0)
	if f.Limits.Shared {
		two, again = 0, got.OneAgain
	}
	for _, c := range []struct {
		what       string
		got, limit time.Duration
	}{
		{"two owners", two, f.Limits.TwoOwners},
		{"two owners after the heal", again, f.Limits.OneAgain},
		{"no owner", f.Without(got), limit},
		{"client without service", got.Outage, limit + f.Limits.Unseen + f.Limits.Reunited + served},
		{"client without service after the heal", got.AfterHeal, f.Limits.Reunited + served},
		{"owned by a host that may not own it", got.Left, f.Limits.Left},
		{"owned when it was not in the pool", got.Dropped, f.Limits.Dropped},
	} {
		if c.got > c.limit {
			problems = append(problems, fmt.Sprintf("%s for %v, allowed %v", c.what, c.got, c.limit))
		}
	}
	if f.Stays && got.Moves > 0 {
		problems = append(problems, fmt.Sprintf("owners changed %d times (of the first address: %s), want each to stay", got.Moves, strings.Join(got.Owners, ", then ")))
	}
	if f.Limits.Moves > 0 && got.Moves > f.Limits.Moves {
		problems = append(problems, fmt.Sprintf("owners changed %d times, allowed %d", got.Moves, f.Limits.Moves))
	}
	return problems
}

// Figures that several faults share: see the table.
const (
	calm         = 300 * time.Millisecond  // before a fault
	renewal      = Lease / 5               // from one to the next
	after        = 1500 * time.Millisecond // a heal: the announcements of the first second, and further changes of owner
	served       = 100 * time.Millisecond  // by the owner, at the client
	kernel       = 2600 * time.Millisecond // the kernel takes the address, and the lease ends
	leaseLost    = Lease + time.Second     // etcd lost the lease itself
	historyLost  = Lease + 4*time.Second   // etcd's data were replaced: the members find a leader first
	byAgreement  = 10 * time.Millisecond   // in the median
	handOver     = 50 * time.Millisecond   // by agreement
	linkBack     = 400 * time.Millisecond  // until the switch forwards what the host sends again
	linkLost     = 200 * time.Millisecond  // the interface can serve no address
	thawed       = 20 * time.Millisecond   // until a process that was frozen has run
	crowd        = 200                     // instances, with five addresses each
	crowded      = time.Second             // for all of them, on two cores
	hostGone     = 5600 * time.Millisecond
	prolonged    = 3 * time.Second         // all leases, by a new leader of etcd
	beyond       = 2500 * time.Millisecond // after an outage of etcd
	longer       = Lease + 3*time.Second   // than the lease, with a take-over
	shorter      = 2 * time.Second         // than the lease
	longest      = longer + 6*time.Second  // than the announcements after a take-over
	restartDelay = 100 * time.Millisecond  // of the unit
)

// All returns the faults in the order of the table.
func All() []Fault {
	all := []Fault{
		{Name: "kill9", CI: true, Lasts: longer, Inject: kill9, Limits: Limits{NoOwner: kernel}},
		{Name: "kill9-restart", CI: true, Lasts: shorter, Stays: true, Inject: restart(unix.SIGKILL)},
		{Name: "upgrade", CI: true, Lasts: shorter, Stays: true, Inject: restart(unix.SIGUSR2)},
		{Name: "sigstop-sigcont", CI: true, Lasts: longer, Inject: freeze, Limits: Limits{NoOwner: kernel, TwoOwners: thawed}},
		{Name: "clean-stop", CI: true, Lasts: shorter, Inject: cleanStop, Limits: Limits{Median: byAgreement, NoOwner: handOver}},
		{Name: "handover-200x5", Crowd: crowd, Alone: true, CI: true, Lasts: shorter, Inject: cleanStop, Limits: Limits{NoOwner: crowded}},
		{Name: "handover-200x5-kill9", Crowd: crowd, Alone: true, Lasts: longer, Inject: kill9, Limits: Limits{NoOwner: kernel + crowded}},
		{Name: "takeover", Owner: true, Lasts: shorter, Inject: func(r *Run) error {
			return r.takeover()
		}, Limits: Limits{NoOwner: handOver}},

		{Name: "host-death", Lasts: longer, Inject: hostDeath, Limits: Limits{Median: 5 * time.Second, NoOwner: hostGone}},
		{Name: "partition-all", Lasts: longer, Inject: func(r *Run) error {
			r.unplug("service", r.Victim.servicePort())
			r.unplug("etcd", r.Victim.etcdPort())
			return errors.Join(r.Switch.Unplug(r.Victim.servicePort()), r.Switch.Unplug(r.Victim.etcdPort()))
		}, Limits: Limits{Median: 5 * time.Second, NoOwner: hostGone, Unseen: Lease}},
		// The client stays with the former owner, and knows its hardware address.
		{Name: "partition-with-client", CI: true, Owner: true, Deaf: true, Lasts: longest, Inject: partitionWithClient, Limits: Limits{NoOwner: kernel, Unseen: longest, Reunited: reunion}},
		{Name: "partition-etcd", CI: true, Lasts: longer, Inject: partitionEtcd, Limits: Limits{NoOwner: kernel}},
		{Name: "partition-asymmetric-answers", Lasts: longer, Inject: func(r *Run) error {
			return r.mute(func(i int) (mute, unmute func() error) {
				n, to := r.EtcdNodes[i], r.Victim.etcdAddress()
				return func() error { return n.Mute(ServiceLink, to) }, func() error { return n.Unmute(ServiceLink, to) }
			})
		}, Limits: Limits{NoOwner: leaseLost}},
		{Name: "partition-asymmetric-requests", Lasts: longer, Inject: func(r *Run) error {
			return r.mute(func(i int) (mute, unmute func() error) {
				n, to := r.Victim.Node, etcdAddress(i)
				return func() error { return n.Mute(EtcdLink, to) }, func() error { return n.Unmute(EtcdLink, to) }
			})
		}, Limits: Limits{NoOwner: kernel}},

		{Name: "etcd-leader-killed", Etcd: true, Lasts: 4 * time.Second, Inject: etcdLeaderKilled, Limits: Limits{NoOwner: leaseLost}},
		{Name: "etcd-leader-hung", Etcd: true, CI: true, Lasts: longer, Inject: etcdLeaderHung, Limits: Limits{NoOwner: leaseLost}},
		{Name: "etcd-leader-slow", Etcd: true, Lasts: longer, Inject: etcdLeaderSlow, Limits: Limits{NoOwner: leaseLost}},
		{Name: "etcd-leader-cut-off", Etcd: true, Lasts: longer, Inject: etcdLeaderCutOff, Limits: Limits{NoOwner: leaseLost}},
		{Name: "etcd-majority-lost", Etcd: true, Lasts: longer, Inject: etcdNoQuorum, Limits: Limits{NoOwner: beyond, BeyondLease: true}},
		{Name: "etcd-majority-lost-keep", Etcd: true, OnEtcdLoss: "keep", Lasts: longer, Stays: true, Inject: etcdNoQuorum},
		{Name: "etcd-all-lost", Etcd: true, Lasts: longer, Inject: etcdKilled, Limits: Limits{NoOwner: beyond, BeyondLease: true}},
		{Name: "etcd-all-lost-keep", Etcd: true, OnEtcdLoss: "keep", CI: true, Lasts: longer, Stays: true, Inject: etcdKilled},

		{Name: "resolver-mute", Named: true, Etcd: true, Lasts: longer, Stays: true, Inject: resolverMute},
		{Name: "lease-revoked", Etcd: true, Lasts: longer, Inject: leaseRevoked, Limits: Limits{NoOwner: leaseLost}},
		{Name: "key-deleted", Etcd: true, Lasts: longer, Inject: keyDeleted, Limits: Limits{NoOwner: leaseLost}},

		{Name: "etcd-restored", Etcd: true, Alone: true, Lasts: historyLost, Inject: etcdRestored, Limits: Limits{NoOwner: historyLost}},
		{Name: "etcd-restored-newcomer", Etcd: true, Alone: true, Lasts: historyLost, Inject: etcdRestoredNewcomer, Limits: Limits{NoOwner: historyLost}},
		{Name: "etcd-wiped", Etcd: true, Alone: true, Lasts: historyLost, Inject: etcdWiped, Limits: Limits{NoOwner: historyLost}},
		{Name: "doubled-member", Alone: true, Lasts: Lease + 4*time.Second, Stays: true, Inject: doubledMember},

		{Name: "address-deleted", Owner: true, CI: true, Lasts: shorter, Stays: true, Inject: func(r *Run) error {
			return errors.Join(r.Victim.Node.RemoveAddress(ServiceLink, whole(Address4)), r.Victim.Node.RemoveAddress(ServiceLink, whole(Address6)))
		}, Limits: Limits{NoOwner: 20 * time.Millisecond}},
		{Name: "address-added", Owner: true, CI: true, Lasts: shorter, Stays: true, Inject: func(r *Run) error {
			return errors.Join(r.Idle.Node.AddAddress(ServiceLink, whole(Address4)), r.Idle.Node.AddAddress(ServiceLink, whole(Address6)))
		}, Limits: Limits{TwoOwners: 50 * time.Millisecond}},
		{Name: "left-over", Alone: true, Lasts: shorter, Stays: true, Inject: leftOver, Limits: Limits{TwoOwners: 50 * time.Millisecond}},

		{Name: "link-down", CI: true, Lasts: longer, Inject: linkDown, Limits: Limits{Median: 50 * time.Millisecond, NoOwner: linkLost}},
		// While it is up, as Linux allows since 6.3; before, the link has to be down for it.
		{Name: "interface-renamed", Alone: true, CI: true, Lasts: longer, Stays: true, Inject: func(r *Run) error {
			r.heal(func() error { return r.Victim.Do(r.Ctx, "ip link set "+ServiceLink+"-new name "+ServiceLink) })
			return r.Victim.Do(r.Ctx, "ip link set "+ServiceLink+" name "+ServiceLink+"-new")
		}},
		{Name: "carrier-lost", Lasts: longer, Inject: func(r *Run) error {
			r.heal(func() error { return r.Switch.Up(r.Victim.servicePort()) })
			return r.Switch.Down(r.Victim.servicePort())
		}, Limits: Limits{Median: 50 * time.Millisecond, NoOwner: linkLost}},

		{Name: "clock-owner-ahead", Clock: true, Lasts: longer, Stays: true, Inject: func(r *Run) error { return r.setClock(r.Victim, time.Hour) }},
		{Name: "clock-owner-behind", Clock: true, Lasts: longer, Stays: true, Inject: func(r *Run) error { return r.setClock(r.Victim, -time.Hour) }},
		{Name: "clock-other-ahead", Clock: true, Lasts: longer, Stays: true, Inject: func(r *Run) error { return r.setClock(r.Idle, time.Hour) }},
		{Name: "clock-other-behind", Clock: true, Lasts: longer, Stays: true, Inject: func(r *Run) error { return r.setClock(r.Idle, -time.Hour) }},
	}
	for _, pair := range []struct {
		name   string
		faults [2]func(*Run) error
		limits Limits
	}{
		{"kill9+etcd-leader-killed", [2]func(*Run) error{kill9, etcdLeaderKilled}, Limits{NoOwner: kernel + leaseLost}},
		{"kill9+next-killed", [2]func(*Run) error{kill9, func(r *Run) error {
			r.heal(r.Idle.Start)
			return r.Idle.Signal(r.Ctx, unix.SIGKILL)
		}}, Limits{NoOwner: kernel}},
		{"host-death+etcd-leader-hung", [2]func(*Run) error{hostDeath, etcdLeaderHung}, Limits{NoOwner: hostGone + prolonged + leaseLost}},
		{"partition-etcd+etcd-leader-slow", [2]func(*Run) error{partitionEtcd, etcdLeaderSlow}, Limits{NoOwner: kernel + leaseLost}},
		{"partition-etcd+kill9", [2]func(*Run) error{partitionEtcd, kill9}, Limits{NoOwner: kernel}},
		// The owner does not see what becomes of its key, and has its lease still.
		{"partition-etcd+key-deleted", [2]func(*Run) error{partitionEtcd, keyDeletedLater}, Limits{NoOwner: kernel + leaseLost}},
		// The owner may have watched its key by that leader.
		{"etcd-leader-cut-off+key-deleted", [2]func(*Run) error{etcdLeaderCutOff, keyDeletedLater}, Limits{NoOwner: 2 * leaseLost}},
		{"etcd-leader-hung+key-deleted", [2]func(*Run) error{etcdLeaderHung, keyDeletedLater}, Limits{NoOwner: 2 * leaseLost}},
		{"link-down+etcd-leader-killed", [2]func(*Run) error{linkDown, etcdLeaderKilled}, Limits{NoOwner: leaseLost}},
	} {
		all = append(all, Fault{Name: pair.name, Alone: true, Lasts: longer, Limits: pair.limits, Inject: func(r *Run) error {
			return errors.Join(pair.faults[0](r), pair.faults[1](r))
		}})
	}
	all = append(all, healthFaults()...)
	all = append(all, claimFaults()...)
	all = append(all, addedFaults()...)
	all = append(all, poolFaults()...)
	return append(all, patroniFaults()...)
}

// Options returns those of a lab for the fault.
func (f Fault) Options() Options {
	o := Options{OnEtcdLoss: f.OnEtcdLoss, Clock: f.Clock, Crowd: f.Crowd, Named: f.Named, Added: f.Added, Health: f.Health, Patroni: f.Patroni}
	if f.Crowd > 0 {
		o.Hosts = 2
	}
	if f.Pool {
		o.Pool = PoolSize
	}
	return o
}

// Applies returns why a lab with these options cannot have the fault, nil if it
// can.
func (f Fault) Applies(o Options) error {
	if f.Crowd != o.Crowd {
		return fmt.Errorf("needs %d instances", 1+f.Crowd)
	}
	switch {
	case f.Pool && o.Pool == 0:
		return errors.New("needs a pool")
	case !f.Pool && o.Pool > 0:
		return errors.New("needs the instance")
	}
	if f.Added != o.Added {
		return errors.New("needs addresses that were added, or the instance")
	}
	if f.Patroni != o.Patroni {
		return errors.New("needs hosts that follow Patroni, or that do not")
	}
	if f.Health && !o.Health {
		return errors.New("needs health checks")
	}
	if f.Clock && !o.Clock {
		return errors.New("needs a berth whose clock can be set wrong")
	}
	if f.Named && !o.Named {
		return errors.New("needs etcd by name")
	}
	if f.OnEtcdLoss != "" && f.OnEtcdLoss != cmp.Or(o.OnEtcdLoss, "release") {
		return fmt.Errorf("needs on-etcd-loss: %s", f.OnEtcdLoss)
	}
	return nil
}
