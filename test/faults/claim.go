package faults

import (
	"errors"
	"time"
)

// oneAgain is how long after etcd serves again an address that several hosts have
// claimed may have several owners: each host tries to reach etcd every half second, for
// a second each time, and two of them may find each other only after that.
const oneAgain = reunion + time.Second

// claimFaults are the ways of losing etcd under the policy claim, for an instance and
// for a pool: an address has at least one owner.
func claimFaults() (all []Fault) {
	for _, pool := range []bool{false, true} {
		name := "claim-"
		if pool {
			name = "pool-claim-"
		}
		for _, f := range []Fault{
			{Name: "etcd-stopped", Inject: etcdStopped},
			{Name: "etcd-frozen", Inject: etcdFrozen},
			{Name: "etcd-killed", Inject: etcdKilled},
			{Name: "etcd-majority-lost", Inject: etcdNoQuorum},
			{Name: "partition-etcd", Inject: partitionEtcd},
			{Name: "partition-etcd-all", Inject: partitionAllEtcd},
			// The hosts that are left know of the death by the outage of etcd only.
			{Name: "etcd-killed+kill9", Inject: both(kill9, etcdKilled)},
			{Name: "etcd-frozen+host-death", Inject: both(hostDeath, etcdFrozen)},
			{Name: "etcd-killed+health-fail", Health: true, Inject: both(etcdKilled, answers(failing)), Limits: Limits{Left: givenUp}},
			{Name: "etcd-killed+unhealthy", Health: true, Inject: unhealthyBefore(etcdKilled)},
		} {
			f.Name = name + f.Name
			f.Pool, f.OnEtcdLoss, f.Alone, f.Etcd, f.Lasts = pool, "claim", true, true, longest
			f.Limits.NoOwner, f.Limits.Each = leaseLost, true
			f.Limits.Shared, f.Limits.OneAgain, f.Limits.Reunited = true, oneAgain, oneAgain
			all = append(all, f)
		}
	}
	return all
}

func both(first, second func(*Run) error) func(*Run) error {
	return func(r *Run) error { return errors.Join(first(r), second(r)) }
}

// unhealthyBefore makes the check of a host fail, and when it owns nothing any more
// another fault.
func unhealthyBefore(then func(*Run) error) func(*Run) error {
	return func(r *Run) error {
		r.heal(func() error {
			r.Idle.service.set(well)
			return nil
		})
		r.Idle.service.set(failing)
		if err := r.Until(r.Ctx, "the unhealthy host to own nothing", func() bool { return len(r.owned(r.Idle)) == 0 }); err != nil {
			return err
		}
		if err := r.Pass(givenUp); err != nil { // an idle host owns nothing from the start
			return err
		}
		r.bar(r.Idle)
		return then(r)
	}
}
