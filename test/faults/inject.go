package faults

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
)

func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func kill9(r *Run) error {
	r.heal(r.Victim.Start)
	return r.Victim.Signal(r.Ctx, unix.SIGKILL)
}

// restart ends the victim's berth by a signal and starts it again at once, as its unit
// does.
func restart(sig syscall.Signal) func(*Run) error {
	return func(r *Run) error {
		if err := r.Victim.Signal(r.Ctx, sig); err != nil {
			return err
		}
		return errors.Join(r.Pass(restartDelay), r.Victim.Start())
	}
}

func freeze(r *Run) error {
	r.heal(func() error { return r.Victim.Signal(r.Ctx, unix.SIGCONT) })
	return r.Victim.Signal(r.Ctx, unix.SIGSTOP)
}

func cleanStop(r *Run) error {
	r.heal(r.Victim.Start)
	return r.Victim.Signal(r.Ctx, unix.SIGTERM)
}

func hostDeath(r *Run) error {
	r.heal(func() error {
		if err := r.Victim.boot(); err != nil {
			return err
		}
		return r.Victim.Start()
	})
	return r.Victim.Die()
}

func (r *Run) unplug(bridge, port string) {
	r.heal(func() error { return r.Switch.Plug(bridge, port) })
}

// partitionWithClient leaves the victim and the client with each other alone.
func partitionWithClient(r *Run) error {
	r.unplug("service", r.Victim.servicePort())
	r.unplug("service", clientPort)
	r.unplug("etcd", r.Victim.etcdPort())
	return errors.Join(r.Switch.Plug("aside", r.Victim.servicePort()), r.Switch.Plug("aside", clientPort), r.Switch.Unplug(r.Victim.etcdPort()))
}

func partitionEtcd(r *Run) error {
	r.unplug("etcd", r.Victim.etcdPort())
	return r.Switch.Unplug(r.Victim.etcdPort())
}

// partitionAllEtcd cuts every host off from etcd.
func partitionAllEtcd(r *Run) error {
	var errs []error
	for _, h := range r.Hosts {
		r.unplug("etcd", h.etcdPort())
		errs = append(errs, r.Switch.Unplug(h.etcdPort()))
	}
	return errors.Join(errs...)
}

// mute mutes the way to or from each member of etcd.
func (r *Run) mute(towards func(i int) (mute, unmute func() error)) error {
	var errs []error
	for i := range r.Etcd.Members() {
		mute, unmute := towards(i)
		r.heal(unmute)
		errs = append(errs, mute())
	}
	return errors.Join(errs...)
}

func linkDown(r *Run) error {
	r.heal(func() error {
		// The kernel has taken the IPv6 address away with the link.
		return errors.Join(r.Victim.Node.Up(ServiceLink), r.Victim.Node.AddAddress(ServiceLink, r.Victim.own6()))
	})
	return r.Victim.Node.Down(ServiceLink)
}

func (r *Run) leader() (*etcdtest.Member, error) {
	if m := r.Etcd.Leader(r.Ctx); m != nil {
		return m, nil
	}
	return nil, errors.New("find etcd's leader: there is none")
}

// ready makes the heal of a fault of etcd end when etcd serves.
func (r *Run) ready(members ...*etcdtest.Member) {
	r.heal(func() error { return r.Ready(r.Ctx) })
	for _, m := range members {
		r.heal(m.Restart)
	}
}

func etcdLeaderKilled(r *Run) error {
	m, err := r.leader()
	if err != nil {
		return err
	}
	r.ready(m)
	return m.Kill()
}

func (r *Run) killEtcd(n int) error {
	m, err := r.leader()
	if err != nil {
		return err
	}
	members := []*etcdtest.Member{m}
	for _, o := range r.Etcd.Members() {
		if o != m && len(members) < n {
			members = append(members, o)
		}
	}
	r.ready(members...)
	var errs []error
	for _, m := range members {
		errs = append(errs, m.Kill())
	}
	return errors.Join(errs...)
}

// etcdNoQuorum leaves one member, which does not lead.
func etcdNoQuorum(r *Run) error { return r.killEtcd(2) }

func etcdKilled(r *Run) error { return r.killEtcd(3) }

func etcdStopped(r *Run) error {
	r.ready(r.Etcd.Members()...)
	var errs []error
	for _, m := range r.Etcd.Members() {
		errs = append(errs, m.Stop())
	}
	return errors.Join(errs...)
}

func etcdFrozen(r *Run) error {
	r.ready()
	var errs []error
	for _, m := range r.Etcd.Members() {
		r.heal(m.Resume)
		errs = append(errs, m.Pause())
	}
	return errors.Join(errs...)
}

func etcdLeaderHung(r *Run) error {
	m, err := r.leader()
	if err != nil {
		return err
	}
	r.ready()
	r.heal(m.Resume)
	return m.Pause()
}

// etcdLeaderCutOff cuts the leader off from the other members, but not from the hosts.
func etcdLeaderCutOff(r *Run) error {
	m, err := r.leader()
	if err != nil {
		return err
	}
	r.ready()
	i := slices.Index(r.Etcd.Members(), m)
	var errs []error
	for j, n := range r.EtcdNodes {
		if j == i {
			continue
		}
		for _, way := range []struct {
			from *testnet.Node
			to   netip.Addr
		}{{n, etcdAddress(i)}, {r.EtcdNodes[i], etcdAddress(j)}} {
			r.heal(func() error { return way.from.Unmute(ServiceLink, way.to) })
			errs = append(errs, way.from.Mute(ServiceLink, way.to))
		}
	}
	return errors.Join(errs...)
}

// etcdLeaderSlow lets the leader run a quarter of the time: enough to stay leader.
func etcdLeaderSlow(r *Run) error {
	m, err := r.leader()
	if err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for tick := 0; ; tick++ {
			var err error
			switch tick % 4 {
			case 0:
				err = m.Pause()
			case 3:
				err = m.Resume()
			}
			if err != nil {
				stopped <- err
				return
			}
			select {
			case <-ticker.C:
			case <-stop:
				stopped <- m.Resume()
				return
			}
		}
	}()
	r.ready()
	r.heal(func() error {
		close(stop)
		return <-stopped
	})
	return nil
}

// ofOwner calls f with the key of the owner.
func (r *Run) ofOwner(f func(Candidate) error) error {
	candidates, err := r.Candidates(r.Ctx)
	if err != nil {
		return err
	}
	if len(candidates) == 0 {
		return errors.New("find the owner's key: there is none")
	}
	return f(candidates[0])
}

func leaseRevoked(r *Run) error {
	return r.ofOwner(func(c Candidate) error {
		return r.Etcd.Call(r.Ctx, "lease/revoke", map[string]string{"ID": c.Lease}, nil)
	})
}

func keyDeleted(r *Run) error { return r.ofOwner(deleteKey(r)) }

func deleteKey(r *Run) func(Candidate) error {
	return func(c Candidate) error {
		return r.Etcd.Call(r.Ctx, "kv/deleterange", map[string][]byte{"key": c.Key}, nil)
	}
}

// keyDeletedLater deletes the owner's key when another fault has had its effect.
func keyDeletedLater(r *Run) error { return errors.Join(r.Pass(shorter), r.ofOwner(deleteKey(r))) }

// leftOver puts the addresses on a host that is not the owner before its berth
// starts. The time before that start is not judged.
func leftOver(r *Run) error {
	if err := r.Idle.Signal(r.Ctx, unix.SIGTERM); err != nil {
		return err
	}
	if err := errors.Join(r.Idle.Node.AddAddress(ServiceLink, whole(Address4)), r.Idle.Node.AddAddress(ServiceLink, whole(Address6))); err != nil {
		return err
	}
	r.Since = r.record.act(Act{What: "start of berth on " + r.Idle.Name(), Allow: handOver})
	return r.Idle.Start()
}

func (r *Run) setClock(h *Host, d time.Duration) error {
	r.heal(func() error { return h.SetClock(0) })
	return h.SetClock(d)
}
