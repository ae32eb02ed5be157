package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

const (
	waitLimit = 20 * time.Second       // of each wait
	calm      = 2 * time.Second        // between two faults
	apiDown   = 5 * time.Second        // how long the API is away
	late      = 100 * time.Millisecond // for a request that was on its way
)

// addresses are the floating IPs that the client asks.
var addresses = []netip.Addr{lab.IPv4a, lab.IPv6n}

// berthConf has times short enough to watch.
const berthConf = `refresh-interval: 2s
refresh-timeout: 2s
back-off: {initial-interval: 200ms, multiplier: 1.5, max-interval: 1s}
`

// A step is one fault and its effects.
type step struct {
	Title    string
	Begin    time.Time
	End      time.Time
	From, To string        // the hosts in charge before and after
	Outage   time.Duration // the longest of the client's
}

type demo struct {
	*lab.Lab
	out     io.Writer
	begin   time.Time
	owner   *lab.Host
	other   *lab.Host
	running map[*lab.Host]*testnet.Process // keepalived
	client  []*lab.Probe
	steps   []step
	down    []span // when the API was away

	mu      sync.Mutex
	pending []item // to tell
}

// span is a stretch of time.
type span struct{ From, To time.Time }

func newDemo(l *lab.Lab, out io.Writer) *demo {
	return &demo{Lab: l, out: out, begin: time.Now(), owner: l.Hosts[0], other: l.Hosts[1],
		running: make(map[*lab.Host]*testnet.Process)}
}

// play goes through all steps and stops at the first that goes wrong.
func (d *demo) play(ctx context.Context) error {
	fmt.Fprintf(d.out, `A miniature cloud: a client, a router, and two hosts with keepalived and berth.
The floating IPs are %v and %v. The client sends a
request to each of them every %d ms, and whichever host it reaches says its name.

`, addresses[0], addresses[1], lab.Interval.Milliseconds())

	for _, ip := range addresses {
		p, err := d.Probe(ip)
		if err != nil {
			return err
		}
		d.client = append(d.client, p)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		d.narrate(ctx)
	}()
	err := d.faults(ctx)
	cancel(nil)
	<-told
	return err
}

func (d *demo) faults(ctx context.Context) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	for _, s := range []struct {
		title string
		moves bool // the other host takes over
		fault func(context.Context) error
		mend  func(context.Context) error
	}{
		{"keepalived is stopped on %s, the owner", true, d.stop, d.restart},
		{"keepalived is killed on %s, the owner (kill -9, all of it)", true, d.kill, d.restart},
		{"the cable of %s, the owner, is cut", true, d.cut, d.plug},
		{"another client of the API takes a floating IP from %s, the owner", false, d.steal, nil},
		{fmt.Sprintf("the API is away for %.0f s while %%s, the owner, stops", apiDown.Seconds()), true, d.stopWithoutAPI, d.restart},
	} {
		if err := d.step(ctx, fmt.Sprintf(s.title, d.owner.Name), s.moves, s.fault); err != nil {
			return err
		}
		if s.mend != nil {
			if err := s.mend(ctx); err != nil {
				return err
			}
		}
	}
	return d.searchToken()
}

// start brings up both hosts and waits for the first service.
func (d *demo) start(ctx context.Context) error {
	for _, h := range d.Hosts {
		// Equal hosts: the one in charge stays in charge when the other returns.
		instance := lab.Instance{Name: "VI_1", ID: 51, Priority: 100, Lines: "    nopreempt\n",
			Addresses: addresses[:1], Excluded: addresses[1:]}
		if err := errors.Join(h.ConfigureBerth(berthConf), h.ConfigureKeepalived(lab.FIFO, instance)); err != nil {
			return err
		}
		if _, err := h.StartService(ctx, "--json-log"); err != nil {
			return err
		}
	}
	return d.step(ctx, "keepalived is started on both hosts", false, func(ctx context.Context) error {
		var err error
		if d.running[d.owner], err = d.owner.StartKeepalived(); err != nil {
			return err
		}
		// The host whose keepalived starts first is the first owner.
		if err := d.until(ctx, "keepalived to become MASTER", func() bool {
			has, _ := d.owner.Has(addresses[0])
			return has
		}); err != nil {
			return err
		}
		d.running[d.other], err = d.other.StartKeepalived()
		return err
	})
}

// step injects one fault and waits until the right host serves the client again.
func (d *demo) step(ctx context.Context, title string, moves bool, fault func(context.Context) error) error {
	s := step{Title: title, Begin: time.Now(), From: d.owner.Name}
	d.tell(item{s.Begin, fmt.Sprintf("\n%d. %s", len(d.steps)+1, title)})
	if err := fault(ctx); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	since := time.Now()
	if moves {
		d.owner, d.other = d.other, d.owner
	}
	s.To = d.owner.Name
	err := d.until(ctx, "the client to be served by "+d.owner.Name, func() bool {
		for _, p := range d.client {
			if _, ok := p.ServedBy(d.owner, since); !ok {
				return false
			}
		}
		return true
	})
	if err == nil {
		served := time.Now()
		err = rest(ctx, calm)
		if asked := d.Requests(d.other, served.Add(late)); len(asked) > 0 {
			err = errors.Join(err, fmt.Errorf("%s is not the owner and yet called the API %d times, first by %s %s",
				d.other.Name, len(asked), asked[0].Method, asked[0].Path))
		}
	}
	s.End = time.Now()
	s.Outage = d.outage(s.Begin, s.End)
	d.steps = append(d.steps, s)
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	if s.Outage > 0 {
		d.tell(item{s.End, fmt.Sprintf("          -> the client was without service for %d ms", s.Outage.Milliseconds())})
	} else if len(d.steps) > 1 {
		d.tell(item{s.End, "          -> the client lost nothing"})
	}
	return nil
}

func (d *demo) until(ctx context.Context, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, waitLimit, fmt.Errorf("nothing in %v", waitLimit))
	defer cancel()
	return d.Wait(ctx, what, cond)
}

// rest lets time pass.
func rest(ctx context.Context, t time.Duration) error {
	select {
	case <-time.After(t):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *demo) stop(ctx context.Context) error { return d.running[d.owner].Stop(ctx) }

func (d *demo) kill(context.Context) error {
	parent, child, err := d.owner.Keepalived()
	if err != nil {
		return err
	}
	return errors.Join(
		d.owner.Signal(parent.PID, unix.SIGSTOP), // else it would start a new child
		d.owner.Signal(child.PID, unix.SIGKILL),
		d.owner.Signal(parent.PID, unix.SIGKILL),
	)
}

// restart starts keepalived again on the host that is no longer in charge.
func (d *demo) restart(ctx context.Context) (err error) {
	since := time.Now()
	if d.running[d.other], err = d.other.StartKeepalived(); err != nil {
		return err
	}
	return d.standby(ctx, since)
}

func (d *demo) cut(context.Context) error { return d.owner.Cut() }

func (d *demo) plug(ctx context.Context) error {
	since := time.Now()
	if err := d.other.Mend(); err != nil {
		return err
	}
	return d.standby(ctx, since)
}

// standby waits until the host that is not in charge is ready to be.
func (d *demo) standby(ctx context.Context, since time.Time) error {
	return d.until(ctx, d.other.Name+" to be BACKUP", func() bool {
		line, ok := d.running[d.other].Log.Find(since, func(text string) bool {
			return strings.Contains(text, "Entering BACKUP STATE")
		})
		if ok {
			d.say(line.Time, "%s: keepalived is BACKUP again", d.other.Name)
		}
		return ok
	})
}

func (d *demo) steal(context.Context) error { return d.Assign(addresses[0], d.other) }

func (d *demo) stopWithoutAPI(ctx context.Context) error {
	from := time.Now()
	if err := d.API.Down(); err != nil {
		return err
	}
	d.say(from, "the API refuses connections")
	if err := d.running[d.owner].Signal(unix.SIGTERM); err != nil {
		return err
	}
	if err := rest(ctx, apiDown); err != nil {
		return err
	}
	if err := d.API.Up(); err != nil {
		return err
	}
	d.down = append(d.down, span{from, time.Now()})
	d.say(time.Now(), "the API is back")
	return nil
}

// searchToken fails if the token is in any output.
func (d *demo) searchToken() error {
	for _, log := range d.Logs() {
		if strings.Contains(log.String(), lab.Token) {
			return fmt.Errorf("the API token is in the output of %s", log.Name)
		}
	}
	return nil
}

// outage returns the client's longest within a stretch of time.
func (d *demo) outage(from, to time.Time) (longest time.Duration) {
	for _, p := range d.client {
		for _, o := range lab.Outages(p.Samples()) {
			if o.From.After(from) && o.From.Before(to) {
				longest = max(longest, o.Duration())
			}
		}
	}
	return longest
}

func (d *demo) longest() time.Duration { return d.outage(d.begin, time.Now()) }

// takeovers counts the steps in which one host took over from the other, or
// took back what had been stolen: all but the first.
func (d *demo) takeovers() int { return len(d.steps) - 1 }

// hostOf finds a host by the UUID or the address that the provider knows.
func (d *demo) hostOf(key string) string {
	i := slices.IndexFunc(d.Hosts, func(h *lab.Host) bool {
		return h.UUID == key || strings.HasPrefix(key, h.Addr4.String()+":")
	})
	if i < 0 {
		return "no host"
	}
	return d.Hosts[i].Name
}
