package netif

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Run watches the interface, renews lifetimes and announces until ctx ends, and
// returns its cause. It returns before, with an error, if the interface cannot be
// watched any more: the removal of an address would not be noticed then, so that all
// calls of Bind have to end.
func (i *Interface) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { cancel(i.watch(ctx)) })
	for {
		timer := time.NewTimer(time.Until(i.reconcile()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		case <-i.wake:
			timer.Stop()
		}
	}
}

const (
	// watchPause is the time before a watch begins that follows two failures. The
	// addresses are read from the kernel meanwhile.
	watchPause = 100 * time.Millisecond
	// watchFailing is how long watches may fail one after the other, and watchWorks how
	// long one that works lasts at least.
	watchFailing = 5 * time.Second
	watchWorks   = time.Second
)

// watch takes events, and begins anew when that fails.
func (i *Interface) watch(ctx context.Context) error {
	var since time.Time // of the first of several failures
	for {
		begun := time.Now()
		works := time.AfterFunc(watchWorks, func() { i.watching.Clear() })
		err := i.kernel.watch(ctx, i.handle)
		works.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		i.handle(event{kind: missed})
		i.watching.Fail(unwatched, err)
		now := time.Now()
		if since.IsZero() || now.Sub(begun) >= watchWorks {
			since = now
			continue
		}
		if now.Sub(since) >= watchFailing {
			return fmt.Errorf("watch interface %s: %w", i.o.Name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
		}
	}
}

// queueLimit bounds the events that wait while the kernel is asked for something else.
// Beyond it, all is read from the kernel instead.
const queueLimit = 100000

// handle queues an event for the next call of reconcile, and has it called. It does not
// wait.
func (i *Interface) handle(e event) {
	switch e.kind {
	case linkChanged:
		i.retainLink(e.link)
	case added, deleted:
		if _, managed := i.allManaged()[e.address.prefix.Addr()]; !managed {
			return
		}
		e.address.seen = time.Now()
	case claimed:
		if _, managed := i.allManaged()[e.claimed]; !managed {
			return
		}
	case notReceived:
		i.receiving[e.protocol].Fail(unreceived, e.err, zap.String("protocol", protocols[e.protocol]))
		return
	case received:
		i.receiving[e.protocol].Clear(zap.String("protocol", protocols[e.protocol]))
		return
	}
	i.queue.Lock()
	if len(i.queue.events) >= queueLimit {
		i.queue.events = []event{{kind: missed}}
	}
	i.queue.events = append(i.queue.events, e)
	i.queue.Unlock()
	i.wakeUp()
}

var protocols = map[uint16]string{etherARP: "ARP", etherIPv6: "neighbour discovery"}

// takeEvents takes the events since the last call, and reports whether one of them is
// not the consequence of what this process did. An event may be older than what was
// done since, so that the present state is read from the kernel.
func (i *Interface) takeEvents(now time.Time) (news bool) {
	i.queue.Lock()
	events := i.queue.events
	i.queue.events = nil
	i.queue.Unlock()
	for _, e := range events {
		a := e.address.prefix.Addr()
		b := i.bindings[a]
		switch e.kind {
		case linkChanged:
			news = true
			if !e.link.up { // it may be up again by now
				i.expectAbsence()
			}
		case missed:
			news = true
		case claimed:
			news = i.noteClaim(e.claimed, e.mac) || news
		case added:
			news = news || e.address.on != i.link.index || b == nil || !b.bound || !b.fits(e.address)
		case deleted:
			news = news || e.address.on != i.link.index || b != nil || len(i.present[a]) > 0
			if e.expired && b != nil && now.Sub(b.expiredEarly) >= defenceGap {
				b.absenceExpected, b.expiredEarly = true, now
			}
		}
	}
	return news
}

// noteClaim notes that another host claims an address that is bound here, and reports
// whether that is news.
func (i *Interface) noteClaim(a netip.Addr, mac net.HardwareAddr) bool {
	b := i.bindings[a]
	if b == nil || b.claimant != nil || bytes.Equal(mac, i.link.mac) {
		return false
	}
	b.claimant = mac
	return true
}
