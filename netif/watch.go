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
// returns its cause. It returns before, with an error, if what happens to the
// interface cannot be watched any more: an address that is held then would go without
// anybody's knowledge, so that all Holds have to end.
func (i *Interface) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { cancel(i.watch(ctx)) })
	for {
		timer := time.NewTimer(time.Until(i.review()))
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
	// watchPause is how long a watch waits that has failed twice. The addresses are
	// looked at meanwhile.
	watchPause = 100 * time.Millisecond
	// watchPatience is how long a watch may fail again and again, and watchWorks how
	// long one lasts that did not fail at once.
	watchPatience = 5 * time.Second
	watchWorks    = time.Second
)

// watch takes events, and begins anew when that fails.
func (i *Interface) watch(ctx context.Context) error {
	var since time.Time // when the first of several failures was
	for {
		begun := time.Now()
		err := i.kernel.watch(ctx, i.handle)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		i.handle(event{kind: missed})
		now := time.Now()
		if since.IsZero() || now.Sub(begun) >= watchWorks {
			since = now
			i.log.Warn("the watch of the interface has ended; beginning it anew", zap.Error(err))
			continue
		}
		if now.Sub(since) >= watchPatience {
			return fmt.Errorf("watch interface %s: %w", i.o.Name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
		}
	}
}

// newsLimit bounds the events that are kept while the kernel is busy with something
// else. Beyond it all is looked at instead.
const newsLimit = 100000

// handle keeps an event for the next review, and asks for that. It waits for nothing.
func (i *Interface) handle(e event) {
	switch e.kind {
	case linkChanged:
		i.setReady(e.link)
	case added, deleted:
		if _, managed := i.managed[e.address.prefix.Addr()]; !managed {
			return
		}
		e.address.seen = time.Now()
	case claimed:
		if _, managed := i.managed[e.claimed]; !managed {
			return
		}
	case unheard:
		i.log.Warn("cannot listen on the interface; claims of other machines are not heard; trying again", zap.Error(e.err))
		return
	}
	i.news.Lock()
	if len(i.news.events) >= newsLimit {
		i.news.events = []event{{kind: missed}}
	}
	i.news.events = append(i.news.events, e)
	i.news.Unlock()
	i.wakeUp()
}

// hear takes the events since the last call, and reports whether one of them is more
// than what this process did itself. What is true then is asked of the kernel, because
// an event may be older than what was done since.
func (i *Interface) hear(now time.Time) (news bool) {
	i.news.Lock()
	events := i.news.events
	i.news.events = nil
	i.news.Unlock()
	for _, e := range events {
		a := e.address.prefix.Addr()
		b := i.held[a]
		switch e.kind {
		case linkChanged:
			news = true
			if !e.link.up { // perhaps up again by now
				i.excuse()
			}
		case missed:
			news = true
		case claimed:
			news = i.disputed(e.claimed, e.mac) || news
		case added:
			news = news || e.address.on != i.link.index || b == nil || !b.bound || !b.fits(e.address)
		case deleted:
			news = news || e.address.on != i.link.index || b != nil || len(i.present[a]) > 0
			if e.expired && b != nil && now.Sub(b.forgiven) >= fightGap {
				b.excused, b.forgiven = true, now
			}
		}
	}
	return news
}

// disputed notes that a machine claims an address that is held here, and reports
// whether that is news.
func (i *Interface) disputed(a netip.Addr, mac net.HardwareAddr) bool {
	b := i.held[a]
	if b == nil || b.claimant != nil || bytes.Equal(mac, i.link.mac) {
		return false
	}
	b.claimant = mac
	return true
}
