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
	// auditInterval is how often the records of all instances are read although
	// nothing is odd, and doubtInterval how often while the filter is doubted.
	auditInterval = time.Hour
	doubtInterval = 10 * time.Minute
	// auditReads bounds the reads of an audit at the same time: claims go first.
	auditReads = 8
	// auditTries is how many audits in a row must fail before one counts as made: a
	// request that is refused once may be answered after the next observation.
	auditTries = 3
)

var (
	// errNotListed tells of a list of all instances that cannot be complete.
	errNotListed = errors.New("the list of all instances does not have this one")
	errDoubt     = errors.New("it does not have this host, or too many others")
)

var _ providers.Auditor = (*Client)(nil)

// AuditDue is readable when the records of all instances should be read.
func (c *Client) AuditDue() <-chan struct{} {
	c.audits.Store(true)
	return c.auditDue
}

// auditHelps tells whether an audit can still tell which instances have an elastic IP
// since this host was attached: no audit was made since then.
func (c *Client) auditHelps(eip string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.audits.Load() && c.memory.audited <= c.memory.moves[eip]
}

// wantAudit asks for an audit if it is time for one. With peers there is none, as
// each observation reads the records of all of them.
func (c *Client) wantAudit(views map[string]*view, me instance) {
	if c.peers != nil {
		return
	}
	doubt, news := false, false
	for _, v := range views {
		if c.doubted(v, me) {
			doubt = true
			news = news || c.auditHelps(v.object.id)
		}
	}
	if doubt {
		c.doubt.Fail(filterDoubted, errDoubt)
	}
	c.mu.Lock()
	if c.memory.auditedAt.IsZero() {
		c.memory.auditedAt = time.Now()
	}
	age := time.Since(c.memory.auditedAt)
	c.mu.Unlock()
	if !news && !(doubt && age >= doubtInterval) && age < auditInterval {
		return
	}
	select {
	case c.auditDue <- struct{}{}:
	default: // asked for already
	}
}

// Audit reads the records of all instances, once for all elastic IPs. The next
// Observe reads the records of those again that have an elastic IP, and the next
// Claim detaches them if they still have it.
func (c *Client) Audit(ctx context.Context) {
	c.mu.Lock()
	c.memory.number++
	began := c.memory.number
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
		return // the result is not wanted any more
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
		c.memory.failed = 0
	} else {
		c.memory.failed++
	}
	again := c.memory.failed > 0 && c.memory.failed < auditTries
	if !again {
		c.memory.audited, c.memory.auditedAt = began, time.Now()
		if err == nil {
			c.memory.suspects = suspects
		}
	}
	c.mu.Unlock()
	if again {
		c.Journal.Debug("cannot read the records of all instances yet; trying again after the next observation", zap.Error(err))
		return
	}
	if err != nil {
		c.unaudited.Fail(auditFailed, err)
		return
	}
	c.unaudited.Clear()
	c.Journal.Debug("read the records of all instances", zap.Int("instances", len(ids)),
		zap.String("elastic_ips", strings.Join(slices.Sorted(maps.Keys(suspects)), " ")))
}
