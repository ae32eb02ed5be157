package added

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"berth/health"
	"berth/internal/status"
)

// probe is a health check as it runs: one run serves all addresses that have the check.
type probe struct {
	host     string
	port     int
	interval int // in seconds, 0 for the default
}

// The defaults of a health check, and the bounds of its timeout.
const (
	checkInterval = 2 * time.Second
	checkRise     = 2
	checkFall     = 3
	leastTimeout  = time.Second
	mostTimeout   = 5 * time.Second
)

func (p probe) target() string { return net.JoinHostPort(p.host, strconv.Itoa(p.port)) }

// name is unique among the probes, and differs from the names that checks of the
// configuration have by default.
func (p probe) name() string {
	if p.interval == 0 {
		return "IP check TCP " + p.target()
	}
	return fmt.Sprintf("IP check TCP %s every %ds", p.target(), p.interval)
}

// times returns when a probe runs, and for how long at the most: for half the interval, at
// least a second and at most five.
func (p probe) times() (interval, timeout time.Duration) {
	if p.interval == 0 {
		return checkInterval, leastTimeout
	}
	interval = time.Duration(p.interval) * time.Second
	return interval, min(max(interval/2, leastTimeout), mostTimeout)
}

// probes returns those of an entry, each once.
func (e entry) probes() (all []probe) {
	for _, c := range e.checks {
		if p := (probe{c.Host, c.Port, e.healthcheck}); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// checker is a probe that runs.
type checker struct {
	*health.Checker
	users map[netip.Addr]int // how often each address needs it
	end   context.CancelCauseFunc
	news  bool         // the users have changed since the board was told
	told  health.State // what the board was told
}

// checkers are the probes of all addresses. The lock of the set guards them.
type checkers struct {
	s       *Set
	running map[probe]*checker
	presume []string // names of checks that the process before this one found healthy
}

// use has a probe run for an address.
func (c *checkers) use(ctx context.Context, a netip.Addr, p probe) {
	k := c.running[p]
	if k == nil {
		k = c.start(ctx, p)
		c.running[p] = k
	}
	k.users[a]++
	k.news = true
}

// leave ends a use.
func (c *checkers) leave(a netip.Addr, p probe) {
	k := c.running[p]
	if k.users[a]--; k.users[a] == 0 {
		delete(k.users, a)
	}
	if k.news = true; len(k.users) > 0 {
		return
	}
	k.end(errUnneeded)
	delete(c.running, p)
	c.s.Status.DropHealth(p.name())
}

func (c *checkers) start(ctx context.Context, p probe) *checker {
	interval, timeout := p.times()
	k := &checker{users: map[netip.Addr]int{}}
	k.Checker = health.New(health.Options{Name: p.name(), Check: c.s.Check(p.target()),
		Interval: interval, Timeout: timeout, Rise: checkRise, Fall: checkFall, Journal: c.s.Journal,
		Changed: func(health.State) { c.s.wakeUp() }})
	if slices.Contains(c.presume, p.name()) {
		k.Presume()
	}
	ctx, k.end = context.WithCancelCause(ctx)
	c.s.running.Go(func() { _ = k.Run(ctx) }) // it ends with ctx alone
	return k
}

// tell puts on the board what has changed of the checks and their addresses.
func (c *checkers) tell() {
	for p, k := range c.running {
		is, _ := k.Known()
		if !k.news && is == k.told {
			continue
		}
		k.news, k.told = false, is
		var addresses []string
		for a := range k.users {
			addresses = append(addresses, a.String())
		}
		c.s.Status.Health(addresses, status.Health{Check: p.name(), Healthy: is.Healthy, Reason: is.Reason, Since: is.Since})
	}
}

// verdict returns what some probes say together.
func (c *checkers) verdict(some []probe) (v verdict, reason string) {
	v = good
	for _, p := range some {
		is, known := c.running[p].Known()
		switch {
		case is.Healthy:
		case known:
			return bad, p.name() + ": " + is.Reason
		case v == good:
			v, reason = undecided, p.name()+": "+is.Reason
		}
	}
	return v, reason
}

// tests are the probes of one address. After a change, the former ones count until the
// new ones have decided: a change alone must not take the address away.
type tests struct {
	counting []probe
	next     []probe
	changing bool
}

// set makes probes those of an address.
func (t *tests) set(ctx context.Context, c *checkers, a netip.Addr, want []probe, first bool) {
	switch {
	case t.changing && slices.Equal(want, t.next), !t.changing && slices.Equal(want, t.counting):
		return
	case t.changing:
		t.leave(c, a, t.next)
	}
	for _, p := range want {
		c.use(ctx, a, p)
	}
	if t.next, t.changing = want, true; first {
		t.change(c, a)
	}
}

// verdict returns what the probes that count say, after new ones that have decided have
// taken the place of the former.
func (t *tests) verdict(c *checkers, a netip.Addr) (verdict, string) {
	if t.changing {
		if v, _ := c.verdict(t.next); v != undecided {
			t.change(c, a)
		}
	}
	return c.verdict(t.counting)
}

func (t *tests) change(c *checkers, a netip.Addr) {
	t.leave(c, a, t.counting)
	t.counting, t.next, t.changing = t.next, nil, false
}

// end ends all of them.
func (t *tests) end(c *checkers, a netip.Addr) {
	t.leave(c, a, t.counting)
	t.leave(c, a, t.next)
	*t = tests{}
}

func (t *tests) leave(c *checkers, a netip.Addr, some []probe) {
	for _, p := range some {
		c.leave(a, p)
	}
}
