package app

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"berth/api"
	"berth/config"
	"berth/guard"
	"berth/heartbeat"
	"berth/internal/condition"
	"berth/internal/holding"
	"berth/internal/journal"
	"berth/internal/names"
	"berth/internal/pointing"
	"berth/internal/probe"
	"berth/internal/roster"
	"berth/internal/rundir"
	"berth/internal/status"
	"berth/internal/witness"
	"berth/internal/yield"
	"berth/ips"
	"berth/providers"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// newNode builds what sends and takes heartbeats. It opens no socket.
func newNode(cfg *config.Config, key []byte, getenv func(string) string, able condition.Condition, m *heartbeat.Metrics, j *journal.Journal) *heartbeat.Node {
	h := cfg.Heartbeat
	o := heartbeat.Options{Listen: h.Listen, Interval: h.Interval, DeadRatio: h.DeadRatio, Priority: h.Priority,
		Key: key, Rollover: h.KeyRollover, Able: able, Metrics: m, Journal: j}
	for _, ips := range managed(cfg) {
		o.Addresses = append(o.Addresses, ips[0].Addr().Unmap())
	}
	if key != nil {
		o.Counters = rundir.StateDir(cfg.StateDirectoryIn(getenv)).Counters(config.EscapeName(h.Listen))
	}
	return heartbeat.New(o)
}

// newWitness builds the condition that a host is reached, nil where none is configured.
func (o *Options) newWitness(cfg *config.Config, m *witness.Metrics, j *journal.Journal) *witness.Witness {
	h := cfg.Heartbeat
	if h.Witness == "" {
		return nil
	}
	dialer := &names.Dialer{Names: o.names.At(cfg.RunDirectory, j), Timeout: h.Interval, Dial: (&net.Dialer{}).DialContext}
	return witness.New(witness.Options{Address: h.Witness, Interval: h.Interval, Failures: h.DeadRatio, Dial: dialer.DialContext, Metrics: m, Journal: j})
}

// newRoster builds what finds the peers.
func (w *watchMode) newRoster() *roster.Roster {
	h := w.cfg.Heartbeat
	listen := listenAddress(h.Listen)
	o := roster.Options{Port: listen.Port(), Listen: listen.Addr(), Names: w.options.names.At(w.cfg.RunDirectory, w.journal), Node: w.node,
		Tell: w.cloud.SetPeers, Known: w.known, HoldOff: w.node.HoldOff(), Timeout: w.cfg.RefreshTimeout, Journal: w.journal}
	for _, p := range h.Peers {
		o.Hosts = append(o.Hosts, roster.Host(p))
	}
	if h.SecurityGroup != "" {
		o.Memory = rundir.Dir(w.cfg.RunDirectory).Peers(config.EscapeName(h.SecurityGroup))
		o.Group = func(ctx context.Context) ([]providers.Member, error) { return w.cloud.Group(ctx, h.SecurityGroup) }
	}
	if w.cfg.Pointing(w.options.DryRun) == config.Call {
		o.Self = w.cloud.Self
	}
	return roster.New(o)
}

// listenAddress returns the address and port of heartbeat.listen, which the configuration
// has checked.
func listenAddress(listen string) netip.AddrPort {
	host, port, _ := net.SplitHostPort(listen)
	a, _ := netip.ParseAddrPort(net.JoinHostPort(cmp.Or(host, netip.IPv6Unspecified().String()), port))
	return a
}

// newYields builds what gives addresses up after this host was MASTER, nil where a
// provider moves them as a whole.
func (w *watchMode) newYields() *yield.Set {
	if !w.cloud.Shares() || !w.cloud.Releases() {
		return nil
	}
	o := yield.Options{Provider: w.cloud, Outranked: w.node.Outranked, Interval: w.cfg.Heartbeat.Interval, Longest: w.cfg.RefreshInterval,
		Timeout: w.cfg.RefreshTimeout, Journal: w.journal}
	for _, ips := range w.addresses {
		o.Addresses = append(o.Addresses, ips[0].Addr().Unmap())
	}
	return yield.New(o)
}

// holding returns what addresses are held by of which this host is MASTER.
func (w *watchMode) holding() *holding.Holding {
	var guards []guard.Guard
	if w.yields != nil {
		guards = append(guards, w.yields)
	}
	guards = append(append(guards, w.fencing.guards(w.status)...), w.service.LastWord())
	return &holding.Holding{
		Lock:      w.lock(recordAfter, w.register),
		Guard:     guard.Chain(guards...),
		Addresses: func(instance string) ([]vrrp.FloatingIP, error) { return w.addresses[instance], nil },
		Changed:   func() <-chan struct{} { return nil },
		Loops: holding.Loops{
			New: func(instance string, ip vrrp.FloatingIP, check func(context.Context) error) *refresher.Loop {
				return w.cloud.Loop(instance, ip, check, w.journal.With(zap.String("instance", instance)))
			},
			Report: func(instance string, r []refresher.Report) { w.status.Addresses(instance, addresses(r)) },
		},
		Retry:   w.cloud.Policy(),
		Status:  w.status,
		Journal: w.journal,
	}
}

// adopt finds out which addresses are here already, so that an owner that was started
// again writes nothing.
func (w *watchMode) adopt(ctx context.Context) error {
	var addrs []netip.Addr
	for _, ips := range w.addresses {
		addrs = append(addrs, ips[0].Addr())
	}
	if err := w.cloud.Adopt(ctx, addrs); err != nil && !errors.Is(err, pointing.ErrNoAccount) && ctx.Err() == nil {
		w.journal.Debug("cannot find out which addresses are here", zap.Error(err)) // the loops tell
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// peersEvery is how often the status is told when peers were heard.
const peersEvery = 2 * time.Second

// tellPeers puts the peers on the board until ctx ends.
func (w *watchMode) tellPeers(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	defer w.node.Watch(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})()
	tick := time.NewTicker(peersEvery)
	defer tick.Stop()
	for {
		about := map[string][]status.Peer{}
		for _, p := range w.node.Peers() {
			if p.Self {
				continue
			}
			is := status.Peer{Peer: p.Name, Address: p.Addr.String(), Alive: p.Alive, Heard: p.Heard}
			if !p.Heard.IsZero() {
				is.Priority, is.ID = p.Priority, p.ID.String()
			}
			about[p.Address.String()] = append(about[p.Address.String()], is)
		}
		for name := range w.addresses {
			w.status.Peers(name, about[name])
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-tick.C:
		}
	}
}

// prioritize changes the priority, as exoip does at the same signals.
func (w *watchMode) prioritize(by int) {
	w.journal.Tell(priorityChanged, zap.Int("priority", w.node.Prioritize(by)))
}

// replaceable returns an error while a successor with the configuration next could not
// take over.
func (w *watchMode) replaceable(next *config.Config) error {
	if w.fencing.member != nil {
		if err := sameSeat(w.cfg, next); err != nil {
			return err
		}
	}
	if next.Heartbeat.Listen != w.cfg.Heartbeat.Listen {
		return probe.Bindable(next.Heartbeat.Listen)
	}
	return nil
}

// apiOptions returns the options of the management API.
func (w *watchMode) apiOptions() api.Options {
	o := w.api
	o.Cluster, o.Status, o.Metrics, o.Meters = w.cluster.view, w.status.Snapshot, w.exporter, w.meters.api
	o.Instances = ranked(w.addresses)
	o.Ready = func() (bool, string) {
		for _, in := range w.status.Snapshot() {
			if in.State == vrrp.Unknown {
				return false, in.Reason
			}
		}
		return true, ""
	}
	return o
}

// ranked are instances that the API cannot hand over, because their priorities decide.
type ranked map[string][]vrrp.FloatingIP

// Failover is that of api.Instances.
func (r ranked) Failover(_ context.Context, instance string) error {
	if r[instance] == nil {
		return ips.ErrUnknown
	}
	return &ips.ConflictError{Text: ranking}
}

// ranking says how a person moves addresses whose owner heartbeats decide.
const ranking = "heartbeats decide which host is MASTER, the one with the lowest priority: " +
	"to move the addresses, send SIGUSR2 to the berth of the owner until another has a lower number, or stop it"

func sortedNames(addresses map[string][]vrrp.FloatingIP) []string {
	return slices.Sorted(maps.Keys(addresses))
}

// tellBegin tells what this process takes part in.
func (w *watchMode) tellBegin() {
	h := w.cfg.Heartbeat
	fields := []zap.Field{zap.Strings("addresses", sortedNames(w.addresses)), zap.String("listen", h.Listen), zap.Int("priority", h.Priority),
		zap.Duration("interval", h.Interval), zap.Duration("dead-after", h.DeadTime()), zap.Bool("signed", h.KeyFile != "")}
	if h.Witness != "" {
		fields = append(fields, zap.String("witness", h.Witness))
	}
	for _, why := range w.cfg.Immovable() {
		w.journal.Tell(addressFixed, zap.String("reason", why))
	}
	w.journal.Tell(watchJoined, fields...)
}
