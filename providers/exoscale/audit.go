package exoscale

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"berth/providers"
)

const (
	// auditInterval is how often all instances are looked through although nothing
	// is odd, and doubtInterval how often while the filter stays doubted.
	auditInterval = time.Hour
	doubtInterval = 10 * time.Minute
	// auditReads bounds the reads of an audit at the same time: claims go first.
	auditReads = 8
	// auditTries is how many audits in a row must fail before one counts as made:
	// what is refused once may be answered at the next look.
	auditTries = 3
)

// errNotListed tells of a list of all instances that cannot be complete.
var errNotListed = errors.New("the list of all instances does not have this one")

var _ providers.Auditor = (*Client)(nil)

// AuditDue is readable when all instances should be looked through.
func (c *Client) AuditDue() <-chan struct{} {
	c.audits.Store(true)
	return c.auditDue
}

// auditHelps tells whether an audit can still tell who has an elastic IP since
// this host was attached to it.
func (c *Client) auditHelps(eip string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.audits.Load() && c.holding.audited <= c.holding.moves[eip]
}

// wantAudit asks for an audit if it is time for one. With peers there is none, as
// each look reads the records of all of them.
func (c *Client) wantAudit(looks map[string]*look, me instance) {
	if c.peers != nil {
		return
	}
	doubt, news := false, false
	for _, l := range looks {
		if c.doubted(l, me) {
			doubt = true
			news = news || c.auditHelps(l.object.id)
		}
	}
	if doubt {
		c.warnOnce("the API's list of instances by address cannot be relied on; all instances are looked through instead")
	}
	c.mu.Lock()
	if c.holding.auditedAt.IsZero() {
		c.holding.auditedAt = time.Now()
	}
	age := time.Since(c.holding.auditedAt)
	c.mu.Unlock()
	if !news && !(doubt && age >= doubtInterval) && age < auditInterval {
		return
	}
	select {
	case c.auditDue <- struct{}{}:
	default: // asked for already
	}
}

// Audit reads the records of all instances, once for all elastic IPs. Who else has
// one of them is looked at by the next Observe, and detached by the next Claim if
// that is still so.
func (c *Client) Audit(ctx context.Context) {
	c.mu.Lock()
	c.holding.number++
	began := c.holding.number
	self := c.self.instance
	objects := c.objects
	c.mu.Unlock()

	suspects := map[string]map[string]bool{}
	ids, err := c.instances(ctx, opAll)
	if err == nil && !slices.Contains(ids, self) {
		err = errNotListed
	}
	records := make([]instance, len(ids))
	if err == nil {
		err = parallel(ctx, auditReads, len(ids), func(ctx context.Context, i int) (err error) {
			records[i], err = c.peer(ctx, ids[i])
			return err
		})
	}
	if ctx.Err() != nil {
		return // nobody wants to know any more
	}
	ours := map[string]bool{}
	for _, o := range objects {
		ours[o.id] = true
	}
	for _, record := range records {
		for eip := range record.eips {
			if ours[eip] && record.id != self {
				if suspects[eip] == nil {
					suspects[eip] = map[string]bool{}
				}
				suspects[eip][record.id] = true
			}
		}
	}
	vanished := slices.ContainsFunc(records, func(record instance) bool { return record.gone }) // though it was listed just now
	c.mu.Lock()
	if err == nil && !vanished {
		c.holding.failed = 0
	} else {
		c.holding.failed++
	}
	again := c.holding.failed > 0 && c.holding.failed < auditTries
	if !again {
		c.holding.audited, c.holding.auditedAt = began, time.Now()
		if err == nil {
			c.holding.suspects = suspects
		}
	}
	c.mu.Unlock()
	if again {
		c.log.Debug("cannot look through all instances yet; trying again at the next look", zap.String("provider", name), zap.Error(err))
		return
	}
	if err != nil {
		c.log.Warn("cannot look through all instances; other holders of an elastic IP may stay unseen", zap.String("provider", name), zap.Error(err))
		return
	}
	c.log.Debug("looked through all instances", zap.String("provider", name), zap.Int("instances", len(ids)),
		zap.String("elastic_ips", strings.Join(slices.Sorted(maps.Keys(suspects)), " ")))
}
