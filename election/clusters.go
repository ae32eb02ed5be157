package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// clusters is what the endpoints answered when they were asked for which cluster they
// speak.
type clusters struct {
	answers []error        // nil for one that speaks for the known cluster
	stands  bool           // the known cluster has answered
	others  map[uint64]int // how many endpoints speak for each other cluster
	most    uint64         // that for which most speak, 0 without any
	strays  []string       // endpoints that speak for others
}

// compareClusters asks all endpoints after one of them has answered for another
// cluster, and decides which cluster counts.
func (m *Member) compareClusters(ctx context.Context) {
	h := m.Etcd.history
	sent := h.now()
	c := m.askClusters(ctx)
	h.decide(sent, c, m.observer.longestLease())
}

func (m *Member) askClusters(ctx context.Context) clusters {
	c := clusters{answers: make([]error, len(m.Etcd.endpoints)), others: map[uint64]int{}}
	var asked sync.WaitGroup
	for i := range c.answers {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, compareInterval)
			defer cancel()
			client, err := m.Etcd.client(i)
			if err == nil {
				err = m.Etcd.history.check(ctx, client)
			}
			c.answers[i] = err
		})
	}
	asked.Wait()
	for i, err := range c.answers {
		var o *otherCluster
		switch {
		case err == nil:
			c.stands = true
		case errors.As(err, &o):
			c.strays = append(c.strays, m.Etcd.options.Endpoints[i])
			if c.others[o.got]++; c.others[o.got] > c.others[c.most] {
				c.most = o.got
			}
		}
	}
	return c
}

// decide decides which cluster counts. The known one stands while it answers anywhere.
// Another takes its place if most endpoints answer for that, or some do and none for the
// known one, for as long as the longest lease.
func (h *history) decide(sent moment, c clusters, longest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case sent.era != h.era:
	case c.stands && c.most == 0:
		// The endpoint of another cluster may have been too slow to answer now.
		if h.rounds = max(0, h.rounds-1); h.rounds > 0 {
			h.suspect()
		}
		if !slices.ContainsFunc(c.answers, func(err error) bool { return err != nil }) {
			h.strays.Clear()
		}
	case c.stands:
		h.rounds = 0
		select { // the answers above do not make another comparison necessary
		case <-h.suspected:
		default:
		}
		h.strays.Fail(etcdEndpointsStray, &otherCluster{c.most, h.past.Cluster}, zap.Strings("endpoints", c.strays))
	case c.most == 0: // no endpoint has answered
		h.suspect()
	case 2*c.others[c.most] > len(c.answers) || time.Since(h.stood) >= longest:
		h.end(c.most, 0, fmt.Errorf("it is cluster %x, after %x was seen", c.most, h.past.Cluster))
	default:
		h.suspect()
	}
}
